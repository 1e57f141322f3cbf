"""torchvision's detectors on our backbones: torchvision's own detections and losses, ignore regions, classes."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch
from network_pieces import targets_of
from torch import Tensor, nn
from torchvision.models.detection import FasterRCNN, FasterRCNN_ResNet50_FPN_Weights, MaskRCNN, RetinaNet
from torchvision.models.detection._utils import overwrite_eps
from torchvision.models.detection.backbone_utils import _resnet_fpn_extractor
from torchvision.models.detection.faster_rcnn import fasterrcnn_resnet50_fpn
from torchvision.models.detection.retinanet import retinanet_resnet50_fpn
from torchvision.models.resnet import resnet18
from torchvision.ops.boxes import box_iou
from torchvision.ops.feature_pyramid_network import LastLevelP6P7
from torchvision.ops.misc import FrozenBatchNorm2d

from backbones import build_backbone
from backbones.pretrained import load_pretrained
from backbones.weight_file import WeightsError
from data.batches import Targets
from data.masks import decode
from data.resize import fit
from detector.export.graph import ImagesToBoxes, write_onnx
from detector.inference.card import Card
from detector.inference.decode import detect
from detector.inference.onnx_runtime import OnnxBackend
from detector.inference.pytorch import TorchBackend
from detector.inference.trained import load_trained
from detector.network.build import build_detector
from detector.network.model import DetectionModel
from detector.network.settings import NetworkSettings
from detector.network.start import start_from
from detector.network.torchvision.parts import covered, judgeable
from detector.network.torchvision.published import EPS, _renamed

KINDS = ("faster_rcnn", "mask_rcnn", "retinanet")
SIZE = (96, 160)
SAME = fit(SIZE, SIZE, "stretch")
LOW = 0.005  # score from which on boxes are compared
COCO = FasterRCNN_ResNet50_FPN_Weights.COCO_V1.meta["categories"]
OBJECTS = [(0, 1, 20, 10, 90, 60), (0, 0, 100, 20, 150, 90), (1, 2, 5, 5, 70, 90)]


def theirs(kind: str, rows: int, norm: type[nn.Module] = nn.BatchNorm2d) -> nn.Module:
    """torchvision's detector on its ResNet-18 (or the one of ResNet-50 that it has a name for), with `rows` rows of
    classes, awake, and frugal. Inputs of SIZE are not resized."""
    torch.manual_seed(0)
    size = {"min_size": SIZE[0], "max_size": SIZE[1]}
    low = {"score_thresh": LOW} if kind == "retinanet" else {"box_score_thresh": LOW, "box_detections_per_img": 30}
    if kind == "retinanet":
        top = LastLevelP6P7(512, 256)
        fpn = _resnet_fpn_extractor(resnet18(norm_layer=norm), 5, returned_layers=[2, 3, 4], extra_blocks=top)
        network: nn.Module = RetinaNet(fpn, rows, **size, **low)
        last = network.head.classification_head.cls_logits
        nn.init.normal_(last.weight, std=0.05)
        nn.init.normal_(network.head.regression_head.bbox_reg.weight, std=0.02)
    else:
        if kind == "fasterrcnn_resnet50_fpn":
            network = fasterrcnn_resnet50_fpn(weights=None, weights_backbone=None, num_classes=rows, **size, **low)
        else:
            fpn = _resnet_fpn_extractor(resnet18(norm_layer=norm), 5)
            network = (MaskRCNN if kind == "mask_rcnn" else FasterRCNN)(fpn, rows, **size, **low)
        last = network.roi_heads.box_predictor.cls_score
        nn.init.normal_(last.weight, std=0.1)
        be_frugal(network)
    nn.init.normal_(last.bias, std=0.5)
    for module in network.modules():
        if isinstance(module, norm):
            nn.init.uniform_(module.running_var, 0.5, 4)
            nn.init.normal_(module.running_mean, std=0.1)
            nn.init.uniform_(module.weight, 0.3, 0.7)
    return network.eval()


def be_frugal(network: nn.Module) -> None:
    """Fewer proposals, of which heads learn from fewer: their layers are the largest by far."""
    network.rpn._pre_nms_top_n = network.rpn._post_nms_top_n = {"training": 100, "testing": 100}
    network.roi_heads.fg_bg_sampler.batch_size_per_image = 32


def images(count: int = 1) -> Tensor:
    generator = torch.Generator().manual_seed(3)
    coarse = torch.randint(0, 256, (count, 3, 6, 10), generator=generator).float()
    return nn.functional.interpolate(coarse, SIZE, mode="bicubic").clamp(0, 255).round().byte()


def with_masks(targets: Targets) -> Targets:
    """Each object fills the left half of its box."""
    masks = torch.zeros(len(targets.boxes), *SIZE, dtype=torch.uint8)
    for mask, (x1, y1, x2, y2) in zip(masks, targets.boxes.int().tolist(), strict=True):
        mask[y1:y2, x1 : (x1 + x2) // 2] = 1
    return Targets(targets.boxes, targets.labels, targets.image, targets.ignore, targets.ignore_image, masks)


def as_theirs(targets: Targets, first_label: int) -> list[dict[str, Tensor]]:
    assert targets.masks is not None
    return [
        {
            "boxes": targets.boxes[targets.image == k],
            "labels": targets.labels[targets.image == k] + first_label,
            "masks": targets.masks[targets.image == k],
        }
        for k in range(2)
    ]


def small(kind: str, classes: int = 3, seed: int = 0, attention: str = "none") -> DetectionModel:
    torch.manual_seed(seed)
    network = build_detector(NetworkSettings(kind=kind, attention=attention), classes)
    if kind != "retinanet":
        be_frugal(network)
    return network


@pytest.mark.parametrize("kind", [*KINDS, "fasterrcnn_resnet50_fpn"])
def test_a_file_of_torchvisions_gives_torchvisions_detections(kind, tmp_path):
    network = theirs(kind, rows=91)
    torch.save(network.state_dict(), tmp_path / "theirs.pth")
    trained = load_trained(tmp_path / "theirs.pth")
    ours = trained.build()
    if kind != "retinanet":
        be_frugal(ours)
    picture = images()
    with torch.no_grad():
        (expected,) = network(list(picture.float() / 255))
        count = len(expected["scores"])
        (found,) = detect(ours, ours(picture), [SAME], conf=LOW, iou=0.5, limit=count, candidates=10**6)
    assert 20 < count == len(found), "too few to prove anything"
    torch.testing.assert_close(torch.from_numpy(found.scores), expected["scores"], rtol=0, atol=1e-5)
    labels = expected["labels"] - (0 if kind == "retinanet" else 1)
    if kind == "mask_rcnn":
        assert found.masks is not None
        drawn = np.stack([decode(mask) for mask in found.masks[:20]])
        assert 0.1 < drawn.mean() / (expected["masks"][:20, 0] > 0).float().mean() < 0.9, "too even to prove anything"
        assert (drawn != (expected["masks"][:20, 0] > 0.5).numpy()).mean() < 1e-4
    same = (expected["boxes"][:, None] - torch.from_numpy(found.boxes)).abs().amax(-1) < 1e-5 * max(SIZE)
    same &= labels[:, None] == torch.from_numpy(found.labels)
    assert same[:-1].any(1).all()  # in any order: some scores differ by less than 1e-5; the last may be one of several
    body = ("faster_rcnn", "resnet50") if kind == "fasterrcnn_resnet50_fpn" else (kind, "resnet18")
    assert (trained.config.network.kind, trained.config.network.arch) == body
    assert trained.classes[-90:][:14] == (*COCO[1:12], "unused_12", *COCO[13:15])


@pytest.mark.parametrize("kind", KINDS)
def test_the_losses_are_torchvisions(kind):
    first = 0 if kind == "retinanet" else 1
    network = theirs(kind, rows=3 + first).train()
    network.transform._skip_resize = True  # it draws a size even where there is one
    ours = small(kind).train()
    ours.load_state_dict({_renamed(name): value for name, value in network.state_dict().items()})
    targets = with_masks(targets_of(OBJECTS))
    torch.manual_seed(1)
    expected = network(list(images(2).float() / 255), as_theirs(targets, first))
    torch.manual_seed(1)  # of the samples that both draw
    losses = ours.loss(ours(images(2), targets), targets)
    total = losses.pop("total")
    parts = sorted(value.item() for value in expected.values())
    assert sorted(value.item() for value in losses.values()) == pytest.approx(parts, rel=1e-4)
    assert total.item() == pytest.approx(sum(parts), rel=1e-4)
    total.backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in ours.parameters())


def test_the_published_files_have_no_eps_in_their_batch_norm(tmp_path):
    network = theirs("faster_rcnn", rows=3, norm=FrozenBatchNorm2d)
    overwrite_eps(network, 0.0)  # as torchvision does with its COCO weights
    for module in network.modules():
        if isinstance(module, FrozenBatchNorm2d):
            module.running_var.mul_(0.001)  # where eps matters
            module.weight.mul_(0.03)
    state = {name.replace("head.conv.0.0", "head.conv"): value for name, value in network.state_dict().items()}
    torch.save(state, tmp_path / "theirs.pth")  # with the names that they have there
    trained = load_trained(tmp_path / "theirs.pth")
    assert trained.classes == ("class_1", "class_2")
    picture = images().float()
    with torch.no_grad():
        expected = network.backbone.body((picture / 255 - 0.5) / 0.25)["3"]
        ours = trained.build().backbone((picture / 255 - 0.5) / 0.25)[-1]
    torch.testing.assert_close(ours, expected, rtol=1e-4, atol=1e-5)
    assert build_backbone("resnet18", "none").bn1.eps == EPS


def test_a_backbone_is_taken_from_torchvisions_detector(tmp_path):
    network = theirs("retinanet", rows=3)
    torch.save(network.state_dict(), tmp_path / "theirs.pth")
    backbone = build_backbone("resnet18", "se")
    report = load_pretrained(backbone, tmp_path / "theirs.pth")
    assert all("attention" in name for name in report.fresh)
    torch.testing.assert_close(backbone.layer4[1].conv2.weight, network.backbone.body.layer4[1].conv2.weight)


def test_files_that_are_none_of_these_detectors_are_one_line(tmp_path):
    def refused(state: object, match: str) -> None:
        torch.save(state, tmp_path / "x.pth")
        with pytest.raises(WeightsError, match=match) as caught:
            load_trained(tmp_path / "x.pth")
        assert "\n" not in str(caught.value)

    refused({"format": 1}, "holds no state dict")
    refused(resnet18().state_dict(), "not torchvision's Faster R-CNN")
    with torch.device("meta"):
        other_neck = retinanet_resnet50_fpn(weights=None, weights_backbone=None, num_classes=2)  # P6 from P5
    state = {name: torch.zeros(value.shape) for name, value in other_neck.state_dict().items()}
    refused(state, r"p6.weight.* network.pretrained=.* takes its backbone alone")


@pytest.mark.parametrize("kind", KINDS)
def test_a_class_of_the_same_name_keeps_its_rows(kind):
    old, new = small(kind, 3, seed=0), small(kind, 2, seed=1)
    before = {name: new.state_dict()[name].clone() for name in new.class_rows()}
    report = start_from(new, ("Bus", "Car"), old.state_dict(), ("Car", "Truck", "Cyclist"), "old.pt")
    assert (report.fresh, report.new) == ((), ("Bus",))
    places = {"bbox_pred": (4, 1), "cls_logits": (1, 0)}  # rows of a place, places before the first class
    for name, was in before.items():
        rows, first = next((value for key, value in places.items() if key in name), (1, 1))
        groups = 9 if kind == "retinanet" else 1
        there = old.state_dict()[name].unflatten(0, (groups, first + 3, rows))
        here, fresh = (one.unflatten(0, (groups, first + 2, rows)) for one in (new.state_dict()[name], was))
        torch.testing.assert_close(here[:, first + 1], there[:, first])  # Car
        torch.testing.assert_close(here[:, first], fresh[:, first])  # Bus
        torch.testing.assert_close(here[:, :first], there[:, :first])  # the background


def test_what_lies_in_an_ignore_region_and_is_no_objects_is_not_judged():
    places = torch.tensor([[0.0, 0, 10, 10], [20, 0, 30, 10], [24, 0, 34, 10], [60, 0, 70, 10]])
    regions = torch.tensor([[18.0, -5, 29, 20]])
    assert covered(places, regions, 0.5).tolist() == [False, True, False, False]
    assert covered(places, regions, 0.4).tolist() == [False, True, True, False]
    target = {"boxes": torch.tensor([[21.0, 0, 31, 10]]), "ignore": regions}
    assert judgeable(places, target, 0.4).tolist() == places[[0, 1, 2, 3]].tolist()  # both overlap the object by half
    target["boxes"] = target["boxes"][:0]
    assert judgeable(places, target, 0.4).tolist() == places[[0, 3]].tolist()


@pytest.mark.parametrize("kind", ["faster_rcnn", "retinanet"])
def test_a_region_that_covers_an_empty_image_leaves_nothing_to_learn(kind):
    """Whatever is said there is neither right nor wrong; without the region all of it is background."""
    torch.manual_seed(0)
    network = small(kind).train()
    everywhere = targets_of([], [(0, -2000, -2000, 2000, 2000), (1, -2000, -2000, 2000, 2000)])

    def classes(targets: Targets) -> float:
        losses = network.loss(network(images(2), targets), targets)
        return sum(losses[name].item() for name in ("classes", "objectness") if name in losses)

    if kind == "retinanet":
        assert classes(everywhere) == 0
    else:
        labels, _ = network.rpn.assign_targets_to_anchors(
            [torch.tensor([[1.0, 2, 3, 4]]).repeat(5, 1)],
            [{"boxes": torch.zeros(0, 4), "ignore": everywhere.ignore[:1]}],
        )
        assert labels[0].tolist() == [0, -1, -1, -1, -1]
        losses = network.loss(network(images(2), everywhere), everywhere)
        assert all(value.isfinite() for value in losses.values())
    assert classes(targets_of()) > 0.001


@pytest.mark.parametrize("kind", KINDS)
def test_under_autocast_boxes_and_losses_stay_float32(kind):
    network = small(kind, attention="emca-se").train()
    targets = with_masks(targets_of(OBJECTS))
    with torch.autocast("cpu", torch.bfloat16):
        outputs = network(images(2), targets)
    losses = network.loss(outputs, targets)
    assert {value.dtype for value in losses.values()} == {torch.float32}
    assert all(value.isfinite() for value in losses.values())
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        outputs = network.eval()(images(2))
        found = network.candidates(outputs, conf=0.0)
    assert all(one.boxes.dtype == one.scores.dtype == torch.float32 for one in found)
    drawn = detect(network, outputs, [SAME, SAME], conf=0.0, iou=0.5, limit=3)
    assert all(len(one) == 3 and (one.masks is not None) == (kind == "mask_rcnn") for one in drawn)


def test_training_without_targets_and_masks_where_they_are_needed_are_told():
    with pytest.raises(ValueError, match="images and targets together"):
        small("faster_rcnn").train()(images())
    with pytest.raises(ValueError, match="learns from masks"):
        small("mask_rcnn").train()(images(2), targets_of(OBJECTS))


def test_two_stages_are_not_exported_and_say_what_is(tmp_path):
    card = Card(("a", "b", "c"), SIZE, "letterbox", "fp32")
    with pytest.raises(ValueError, match=r"train network\.kind=retinanet or yolov3, which can"):
        write_onnx(ImagesToBoxes(small("faster_rcnn")), card, None, tmp_path / "x.onnx")


@pytest.mark.slow
def test_an_exported_retinanet_gives_the_same_detections(tmp_path):
    pytest.importorskip("onnxscript")
    network = theirs("retinanet", rows=3)
    ours = small("retinanet").eval()
    ours.load_state_dict({_renamed(name): value for name, value in network.state_dict().items()})
    card = Card(("a", "b", "c"), SIZE, "letterbox", "fp32", ours.averages)
    write_onnx(ImagesToBoxes(ours).eval(), card, None, tmp_path / "x.onnx")
    pictures = images(2).permute(0, 2, 3, 1).contiguous().numpy()
    found = []
    for backend in (
        OnnxBackend(tmp_path / "x.onnx", "auto", 1),
        TorchBackend(ours, "abc", "letterbox", SIZE, "cpu", "fp32"),
    ):
        found.append(backend.finish(backend.run(pictures), [SAME, SAME], 0.7, 0.5))
    for exported, plain in zip(*found, strict=True):
        assert len(plain) > 10
        np.testing.assert_allclose(exported.scores, plain.scores, atol=1e-4)
        np.testing.assert_allclose(exported.boxes, plain.boxes, atol=0.01)
        assert exported.labels.tolist() == plain.labels.tolist()


@pytest.mark.slow
@pytest.mark.parametrize("attention", ["none", "se", "emca-se"])
@pytest.mark.parametrize("kind", KINDS)
def test_two_pictures_are_learnt_by_heart(kind, attention):
    """Blocks and ellipses in three colours: all are found, nothing else, and what Mask R-CNN draws is their shape."""
    pictures, objects, shapes = blocks()
    targets = replace(targets_of(objects), masks=torch.from_numpy(shapes))
    network = small(kind, attention=attention).train()
    optimizer = torch.optim.AdamW(network.parameters(), 1e-3, weight_decay=0.01)
    steps = 60
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda k: min((k + 1) / 10, (1 - k / steps) * 2, 1))
    for _ in range(steps):
        network.loss(network(pictures, targets), targets)["total"].backward()
        nn.utils.clip_grad_norm_(network.parameters(), 10)
        optimizer.step()
        optimizer.zero_grad()
        schedule.step()
    network.eval()
    with torch.no_grad():
        found = detect(network, network(pictures), [SAME, SAME], conf=0.5, iou=0.5)
    for k, seen in enumerate(found):
        mine = [row for row, one in enumerate(objects) if one[0] == k]
        assert sorted(seen.labels.tolist()) == sorted(objects[row][1] for row in mine)
        overlap = box_iou(torch.tensor([objects[row][2:] for row in mine]).float(), torch.from_numpy(seen.boxes))
        assert overlap.amax(1).min() > 0.7
        if seen.masks is not None:
            for row, match in zip(mine, overlap.argmax(1).tolist(), strict=True):
                drawn, shape = decode(seen.masks[match]) > 0, shapes[row] > 0
                assert (drawn & shape).sum() / (drawn | shape).sum() > 0.6


def blocks() -> tuple[Tensor, list[tuple[int, ...]], np.ndarray]:
    """Two pictures, three objects each (image, label, x1, y1, x2, y2), and their masks; those of label 1 are round."""
    rng = np.random.default_rng(0)
    pictures = rng.integers(80, 120, (2, *SIZE, 3), dtype=np.uint8)
    objects, shapes = [], []
    for k in range(6):
        image, label = k // 3, k % 3
        width, height = [(44, 26), (30, 46), (34, 34)][label]
        x, y = 4 + (k * 2 % 3) * 52 + int(rng.integers(4)), int(rng.integers(4, SIZE[0] - height - 4))
        shape = np.zeros(SIZE, np.uint8)
        if label == 1:
            cv2.ellipse(shape, (x + width // 2, y + height // 2), (width // 2, height // 2), 0, 0, 360, 1, -1)
        else:
            shape[y : y + height, x : x + width] = 1
        pictures[image][shape > 0] = [(200, 40, 40), (40, 200, 40), (40, 40, 220)][label]
        objects.append((image, label, x, y, x + width, y + height))
        shapes.append(shape)
    return torch.from_numpy(pictures).permute(0, 3, 1, 2), objects, np.stack(shapes)
