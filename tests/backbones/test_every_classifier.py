"""Every attention of the catalogue in a classifier: it trains, in half precision too, at an odd size of the image."""

from __future__ import annotations

import pytest
import torch
from torch.nn.functional import cross_entropy

from backbones import build_backbone
from backbones.attention import CATALOGUE


@pytest.mark.parametrize("name", CATALOGUE)
def test_it_trains_and_stays_finite_in_half_precision(name: str) -> None:
    torch.manual_seed(0)
    network = build_backbone("resnet50" if name == "epsa" else "resnet18", name, num_classes=5)
    images, labels = torch.randn(2, 3, 43, 59), torch.tensor([1, 3])
    optimizer = torch.optim.SGD(network.parameters(), 0.001)
    for precision in (None, torch.bfloat16):
        optimizer.zero_grad()
        with torch.autocast("cpu", precision, enabled=precision is not None):
            answers = network(images)
        logits = answers if isinstance(answers, tuple) else (answers,)  # abn answers twice in training
        sum(cross_entropy(each.float(), labels) for each in logits).backward()
        gradients = {key: parameter.grad for key, parameter in network.named_parameters()}
        assert [key for key, grad in gradients.items() if grad is None or not grad.isfinite().all()] == []
        optimizer.step()
    with torch.no_grad(), torch.autocast("cpu", torch.float16):
        assert network.eval()(images[:1]).isfinite().all()
