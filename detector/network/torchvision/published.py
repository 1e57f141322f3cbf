"""The state dict of a detector of torchvision's as weights of ours: of fasterrcnn_resnet50_fpn, maskrcnn_resnet50_fpn,
and of its RetinaNet where P6 is made from C5.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor
from torchvision.models.detection import FasterRCNN_ResNet50_FPN_Weights

from backbones.resnet import ARCHITECTURES
from backbones.weight_file import WeightsError, read_weight_file
from detector.network.build import build_detector
from detector.network.settings import NetworkSettings

EPS = 1e-5  # of our BatchNorm
_COCO = tuple(FasterRCNN_ResNet50_FPN_Weights.COCO_V1.meta["categories"])  # 91, "__background__" first, some "N/A"
_UNUSED = ("__background__", "N/A")
_RENAMED = {"backbone.body.": "backbone.", "backbone.fpn.": "fpn."}


@dataclass(frozen=True)
class Published:
    """Settings of the network, its classes in the order of its labels, and its weights by our names."""

    network: NetworkSettings
    classes: tuple[str, ...]
    weights: Mapping[str, Tensor]


def read_published(path: Path) -> Published:
    """A file of `torch.save(model.state_dict(), path)`. One of 91 classes is taken to know COCO's; of another they are
    called class_1 and so on, as it keeps no names.
    """
    state = read_weight_file(path)
    kind = _kind(state, path)
    weights = {_renamed(name): value for name, value in state.items()}
    settings = NetworkSettings(kind=kind, arch=_arch(weights, path), attention="none")
    if not any(name.endswith("num_batches_tracked") for name in weights):
        weights = _with_our_eps(weights)
    classes = _classes(weights, kind)
    network = build_detector(settings, len(classes))
    try:
        network.load_state_dict(weights)  # its parts know the names that older versions gave
    except RuntimeError as fault:
        first = next((line.strip() for line in str(fault).splitlines()[1:] if line.strip()), str(fault))
        expected = "fasterrcnn_resnet50_fpn, maskrcnn_resnet50_fpn, a RetinaNet with P6 from C5, heads without norm"
        mend = f"expected {expected}; network.pretrained={path} takes its backbone alone"
        raise WeightsError(f"{path}: its weights do not fit ours ({first:.120}); {mend}") from None
    return Published(settings, classes, network.state_dict())


def _kind(state: object, path: Path) -> str:
    names = set(state) if isinstance(state, Mapping) else set()
    if not names or not all(isinstance(value, Tensor) for value in state.values()):  # type: ignore[attr-defined]
        raise WeightsError(f"{path}: holds no state dict (tensors by name); use torch.save(model.state_dict(), path)")
    if "roi_heads.mask_predictor.mask_fcn_logits.weight" in names:
        return "mask_rcnn"
    if "roi_heads.box_predictor.cls_score.weight" in names:
        return "faster_rcnn"
    if "head.classification_head.cls_logits.weight" in names:
        return "retinanet"
    raise WeightsError(f"{path}: not torchvision's Faster R-CNN, Mask R-CNN or RetinaNet; files of ours end in .pt")


def _renamed(name: str) -> str:
    for theirs, ours in _RENAMED.items():
        if name.startswith(theirs):
            return ours + name.removeprefix(theirs)
    return name


def _arch(weights: Mapping[str, Tensor], path: Path) -> str:
    """The ResNet with as many blocks of this kind."""
    is_bottleneck = "backbone.layer1.0.conv3.weight" in weights
    depths = tuple(
        len({name.split(".")[2] for name in weights if name.startswith(f"backbone.layer{stage}.")})
        for stage in (1, 2, 3, 4)
    )
    for arch, (block, blocks) in ARCHITECTURES.items():
        if (block.expansion > 1, blocks) == (is_bottleneck, depths):
            return arch
    raise WeightsError(f"{path}: its backbone is none of {', '.join(ARCHITECTURES)}; of these detectors can be read")


def _with_our_eps(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """torchvision's published files have FrozenBatchNorm, which counts no batches, with eps 0: ours then adds what was
    taken off here."""
    return {name: value - EPS if name.endswith("running_var") else value for name, value in weights.items()}


def _classes(weights: Mapping[str, Tensor], kind: str) -> tuple[str, ...]:
    """Of what has rows. COCO's numbers have gaps, and a RetinaNet of COCO has rows for the background: what is there
    is never right."""
    last = "head.classification_head.cls_logits" if kind == "retinanet" else "roi_heads.box_predictor.cls_score"
    rows = len(weights[f"{last}.bias"]) // (9 if kind == "retinanet" else 1)
    numbers = range(0 if kind == "retinanet" else 1, rows)
    if rows != len(_COCO):
        return tuple(f"class_{k}" for k in numbers)
    return tuple(f"unused_{k}" if _COCO[k] in _UNUSED else _COCO[k] for k in numbers)
