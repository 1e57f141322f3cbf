"""Every attention of the catalogue in the detector: two steps with finite gradients, or one line that refuses it."""

from __future__ import annotations

import pytest
import torch
from network_pieces import targets_of

from backbones.attention import CATALOGUE
from detector.config import Config
from detector.network.build import build_detector
from training.config import ConfigError

OF_CLASSIFIERS = [name for name, entry in CATALOGUE.items() if entry.seat.is_of_classifier]


def config(attention: str) -> Config:
    arch = "resnet50" if attention == "epsa" else "resnet18"
    return Config().override([f"network.attention={attention}", f"network.arch={arch}", "network.width=0.125"])


@pytest.mark.parametrize("attention", [name for name in CATALOGUE if name not in OF_CLASSIFIERS])
def test_it_trains_in_the_detector(attention: str) -> None:
    torch.manual_seed(0)
    settings = config(attention)
    network = build_detector(settings.network, 8, settings.loss).train()
    optimizer = torch.optim.SGD(network.parameters(), 0.001)
    targets = targets_of([(0, 0, 10, 10, 40, 40), (1, 5, 5, 5, 60, 60)])
    for _ in range(2):
        optimizer.zero_grad()
        images = torch.randint(0, 256, (2, 3, 64, 96), dtype=torch.uint8)
        network.loss(network(images), targets)["total"].backward()
        gradients = {name: parameter.grad for name, parameter in network.named_parameters()}
        assert [name for name, grad in gradients.items() if grad is None or not grad.isfinite().all()] == []
        optimizer.step()


@pytest.mark.parametrize("attention", OF_CLASSIFIERS)
def test_what_only_a_classifier_has_is_refused_in_one_line(attention: str) -> None:
    with pytest.raises(ConfigError, match="only a classifier has a place for it") as caught:
        config(attention)
    assert "\n" not in str(caught.value)
