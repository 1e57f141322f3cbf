from __future__ import annotations

import pytest
import torch
from network_pieces import ANCHORS, lively, tiny
from places import GIVE_MAPS, smallest
from torch import nn
from toys import TOYS

from backbones import build_backbone
from backbones.attention import CATALOGUE
from backbones.attention.seat import Seat, block_path
from detector.inference.fuse import fuse
from detector.network.yolov3.network import YOLOv3


def norms(network):
    return [name for name, module in network.named_modules() if isinstance(module, nn.BatchNorm2d)]


@pytest.mark.parametrize("attention", GIVE_MAPS)
def test_folding_changes_nothing_but_the_number_of_operations(attention):
    torch.manual_seed(0)
    network = lively(YOLOv3(build_backbone(smallest(attention), attention), 3, ANCHORS, 0.125)).eval()
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    fused = fuse(network)
    images = torch.randint(0, 256, (2, 3, 64, 96), dtype=torch.uint8)
    with torch.no_grad():
        for a, b in zip(network(images), fused(images), strict=True):
            assert a.std() > 0.01
            torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-4)
    # What attention makes of its convolutions is no convolution: the BatchNorm behind it stays.
    stay = network.backbone.replaced if CATALOGUE[attention].seat is Seat.CONVOLUTION else ()
    assert norms(fused) == [f"backbone.{block_path(place)}.{place.norm}" for place in stay]
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items()), (
        "the original changed"
    )


@pytest.mark.parametrize("arch", ["resnet18", "resnet50"])
@pytest.mark.parametrize("attention", ["toy-convolution", "toy-norm-relu"])
def test_folding_leaves_the_relu_behind_a_3x3_or_its_replacement_as_it_was(attention, arch, monkeypatch):
    monkeypatch.setitem(CATALOGUE, attention, TOYS[attention])
    torch.manual_seed(0)
    backbone = build_backbone(arch, f"{attention}:placement=first").eval()
    images = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        for a, b in zip(backbone(images), fuse(backbone)(images), strict=True):
            torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-4)


def test_a_network_in_training_mode_is_folded_for_evaluation():
    network = lively(tiny()).train()
    fused = fuse(network)
    assert network.training and not fused.training
    images = torch.randint(0, 256, (1, 3, 32, 32), dtype=torch.uint8)
    with torch.no_grad():
        for a, b in zip(network.eval()(images), fused(images), strict=True):
            torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-4)


def test_a_convolution_that_feeds_two_norms_is_left_alone():
    class Fork(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.left, self.right = nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.BatchNorm2d(4)

        def forward(self, x):
            x = self.conv(x)
            return self.left(x) + 2 * self.right(x)

    fork = Fork().eval()
    fork.left.running_mean.fill_(3)
    images = torch.randn(1, 3, 8, 8)
    assert torch.equal(fuse(fork)(images), fork(images))


def test_a_norm_behind_something_else_is_left_alone():
    network = nn.Sequential(
        nn.Conv2d(3, 4, 1), nn.ReLU(), nn.BatchNorm2d(4), nn.Conv2d(4, 4, 1), nn.BatchNorm2d(4)
    ).eval()
    fused = fuse(network)
    assert norms(fused) == ["2"]
    images = torch.randn(1, 3, 8, 8)
    torch.testing.assert_close(fused(images), network(images))
