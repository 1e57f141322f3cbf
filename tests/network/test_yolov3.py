from __future__ import annotations

import math

import pytest
import torch
from network_pieces import ANCHORS, TinyBackbone, lively, tiny
from torch import nn

from backbones import build_backbone
from detector.network.yolov3.boxes import Coder
from detector.network.yolov3.network import YOLOv3


def pictures(batch=2, height=64, width=96):
    generator = torch.Generator().manual_seed(1)
    return torch.randint(0, 256, (batch, 3, height, width), dtype=torch.uint8, generator=generator)


@pytest.mark.parametrize("size", [(32, 32), (64, 96), (160, 32)])
@pytest.mark.parametrize("num_classes", [1, 8])
def test_any_multiple_of_32_gives_maps_at_strides_8_16_32(size, num_classes):
    with torch.no_grad():
        raw_maps = tiny(num_classes).eval()(pictures(2, *size))
    assert [tuple(m.shape) for m in raw_maps] == [
        (2, 3 * (5 + num_classes), size[0] // s, size[1] // s) for s in (8, 16, 32)
    ]


@pytest.mark.parametrize("shape", [(1, 3, 100, 96), (1, 3, 96, 100), (1, 1, 96, 96), (3, 96, 96)])
def test_other_inputs_are_refused_in_one_line(shape):
    with pytest.raises(ValueError, match="multiples of 32") as error:
        tiny()(torch.zeros(shape))
    assert str(list(shape)) in str(error.value) and "\n" not in str(error.value)


def test_wrong_parts_are_refused():
    with pytest.raises(ValueError, match="anchors"):
        YOLOv3(TinyBackbone(), 3, ANCHORS.view(9, 2))
    with pytest.raises(ValueError, match="at least 1 class"):
        YOLOv3(TinyBackbone(), 0, ANCHORS)
    backbone = TinyBackbone()
    backbone.strides = (4, 8, 16)
    with pytest.raises(ValueError, match="strides 8, 16, 32"):
        YOLOv3(backbone, 3, ANCHORS)


def test_neck_and_heads_have_redmons_channels():
    network = tiny(8, width=1.0)
    assert [c.out_channels for c in network.neck5.modules() if isinstance(c, nn.Conv2d)] == [512, 1024, 512, 1024, 512]
    assert [c.out_channels for c in network.neck4.modules() if isinstance(c, nn.Conv2d)] == [256, 512, 256, 512, 256]
    assert [c.out_channels for c in network.neck3.modules() if isinstance(c, nn.Conv2d)] == [128, 256, 128, 256, 128]
    assert [head[0][0].out_channels for head in network.heads] == [256, 512, 1024]
    assert [head[1].out_channels for head in network.heads] == [39, 39, 39]
    assert network.neck4[0][0].in_channels == 256 + 24  # the lateral of stride 32 and C4
    assert network.neck3[0][0].in_channels == 128 + 16


def test_neck_and_heads_weigh_what_pencil_and_paper_say():
    def block(i, o, k):
        return i * o * k * k + 2 * o

    def five(i, n):
        return block(i, n, 1) + 2 * block(n, 2 * n, 3) + 2 * block(2 * n, n, 1)

    def head(n):
        return block(n, 2 * n, 3) + (2 * n + 1) * 39

    expected = five(40, 512) + block(512, 256, 1) + five(256 + 24, 256) + block(256, 128, 1) + five(128 + 16, 128)
    expected += head(128) + head(256) + head(512)
    network = tiny(8, width=1.0)
    counted = sum(p.numel() for p in network.parameters()) - sum(p.numel() for p in network.backbone.parameters())
    assert counted == expected


@pytest.mark.parametrize(("width", "channels"), [(0.25, 128), (0.3, 152), (0.01, 8), (2.0, 1024)])
def test_width_scales_to_multiples_of_8(width, channels):
    assert tiny(width=width).neck5[0][0].out_channels == channels


def test_a_fresh_network_expects_as_many_objects_as_a_kitti_frame_has():
    network = tiny(8).eval()
    with torch.no_grad():
        raw_maps = network(pictures(1, 448, 448))
    chances = [raw.view(3, 13, *raw.shape[2:])[:, 4].sigmoid() for raw in raw_maps]
    assert sum(c.sum().item() for c in chances) == pytest.approx(5.4, rel=0.25)
    per_level = [c.sum().item() for c in chances]
    assert max(per_level) < 1.5 * min(per_level)
    classes = torch.cat([raw.view(3, 13, -1)[:, 5:].flatten() for raw in raw_maps]).sigmoid()
    assert classes.mean().item() == pytest.approx(1 / 8, rel=0.1)


def test_bytes_and_floats_of_one_picture_give_the_same_maps():
    network, images = tiny().eval(), pictures()
    for a, b in zip(network(images), network(images.float()), strict=True):
        assert torch.equal(a, b)


def test_pictures_are_normalised_as_for_imagenet_and_left_as_they_were():
    class Recorder(TinyBackbone):
        def forward(self, x):
            self.seen = x.detach().clone()
            return super().forward(x)

    backbone = Recorder()
    network = YOLOv3(backbone, 3, ANCHORS, 0.25).eval()
    images = pictures().float()
    before = images.clone()
    network(images)
    assert torch.equal(images, before)
    by_hand = (before[0, 1, 5, 7].item() / 255 - 0.456) / 0.224
    assert backbone.seen[0, 1, 5, 7].item() == pytest.approx(by_hand, abs=1e-5)


def test_autocast_runs_the_network_in_low_precision():
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        assert all(raw.dtype == torch.bfloat16 for raw in tiny().eval()(pictures()))


def test_a_double_network_stays_double():
    assert all(raw.dtype == torch.float64 for raw in tiny().double().eval()(pictures()))


def test_channels_last_gives_the_same_maps():
    network, images = lively(tiny()).eval(), pictures()
    with torch.no_grad():
        plain = network(images)
        turned = network.to(memory_format=torch.channels_last)(images.to(memory_format=torch.channels_last))
    for a, b in zip(plain, turned, strict=True):
        assert b.is_contiguous(memory_format=torch.channels_last)
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-4)


def test_every_parameter_learns():
    network = YOLOv3(build_backbone("resnet18", "emca-se"), 3, ANCHORS, 0.25)
    for head in network.heads:  # of 0.01 they start with, deep gradients would be faint
        nn.init.normal_(head[-1].weight)
    sum(raw.square().sum() for raw in network(pictures())).backward()
    silent = [
        n for n, p in network.named_parameters() if p.grad is None or not p.grad.isfinite().all() or not p.grad.any()
    ]
    assert silent == []


@pytest.mark.parametrize("arch", ["resnet18", "resnet50"])
def test_real_backbones_fit(arch):
    network = YOLOv3(build_backbone(arch, "emca-se"), 8, ANCHORS, 0.25).eval()
    with torch.no_grad():
        assert [tuple(m.shape) for m in network(pictures(1, 32, 64))] == [(1, 39, 4, 8), (1, 39, 2, 4), (1, 39, 1, 2)]


def test_weights_carry_the_anchors():
    network = YOLOv3(TinyBackbone(), 3, ANCHORS * 2, 0.25)
    other = tiny()
    other.load_state_dict(network.state_dict())
    assert torch.equal(other.anchors, ANCHORS * 2)


def test_the_whole_network_compiles_into_one_graph():
    """The graph is captured whole by Dynamo (a break would raise); generating code for it is the backend's business."""
    torch._dynamo.reset()
    network = YOLOv3(build_backbone("resnet18", "emca-se"), 3, ANCHORS, 0.25).eval()
    images = pictures()
    with torch.no_grad():
        compiled = torch.compile(network, fullgraph=True, backend="eager")(images)
        plain = network(images)
    for a, b in zip(plain, compiled, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-5)


@pytest.mark.slow
def test_the_compiled_network_computes_and_learns_the_same():
    torch._dynamo.reset()
    network = lively(tiny())
    compiled = torch.compile(network, fullgraph=True)
    images = pictures()
    gradients = []
    for model in (network, compiled):
        network.zero_grad()
        sum(raw.square().mean() for raw in model(images)).backward()
        gradients.append([p.grad.clone() for p in network.parameters()])
    for a, b in zip(*gradients, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-4)


def test_decoded_network_by_hand():
    network = tiny(2, coder=Coder(2.0)).eval()
    images = pictures(1, 32, 32)
    with torch.no_grad():
        boxes, scores = network.decode(network(images))
        raw = network(images)[2][0, :, 0, 0].tolist()  # stride 32 has one cell: the last three predictions
    assert boxes.shape == (1, 63, 4) and scores.shape == (1, 63, 2)

    def sigmoid(t):
        return 1 / (1 + math.exp(-t))

    x, y = (32 * (2 * sigmoid(t) - 0.5) for t in raw[14:16])
    w, h = 102 * math.exp(raw[16]), 214 * math.exp(raw[17])
    by_hand = [x - w / 2, y - h / 2, x + w / 2, y + h / 2]
    assert boxes[0, -1].tolist() == pytest.approx(by_hand, rel=1e-5, abs=1e-3)
    assert scores[0, -1].tolist() == pytest.approx([sigmoid(raw[18]) * sigmoid(raw[k]) for k in (19, 20)], rel=1e-5)
