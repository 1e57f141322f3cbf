"""Parameters and GFLOPs of whole detectors, and the paper's Tables 6 and 8: python -m detector.network.profile

Counted as the paper counts its backbones (`backbones/counting.py`): M = 2^20 parameters, GFLOPs = MACs / 2^30. Tables 6
and 8 have another rule: 10^6 parameters, only those that are trained where stem and stage 1 are frozen.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from backbones.attention import CATALOGUE
from backbones.counting import count_macs, count_params
from backbones.resnet import ARCHS, check_backbone, goes_with
from backbones.spec import AttentionSpec
from detector.network.build import KINDS, build_detector
from detector.network.model import DetectionModel
from detector.network.settings import NetworkSettings
from system.command import Parser, count, exit_status
from training.parameters import freeze
from training.settings import TrainSettings

WIDTHS = (0.25, 0.5, 1.0)
COCO_CLASSES = 80

# Tables 6 and 8 of the paper, on ResNet-50, in 10^6 parameters: by kind, then by attention.
ROWS = {"ResNet-50": "none", "+ SE": "se:placement=all", "+ ECA": "eca:placement=all"}
OF_EMCA = {"+ EMCA-SE": "emca-se", "+ EMCA-ECA": "emca-eca"}
PRINTED = {
    "faster_rcnn": (41.53, 44.02, 41.53, 42.56, 41.53),
    "mask_rcnn": (44.18, 46.67, 44.18, 45.13, 44.18),
    "retinanet": (37.74, 40.23, 37.74, 38.88, 37.74),
}


@dataclass(frozen=True)
class Cost:
    """params of the whole detector, params of its backbone, MACs of one image through the whole."""

    params: int
    backbone_params: int
    macs: int


def cost(settings: NetworkSettings, num_classes: int, size: int | tuple[int, int]) -> Cost:
    """Of one image, square or (height, width); on the meta device, so that nothing is computed."""
    network = build_detector(settings, num_classes).to("meta")
    return Cost(count_params(network), count_params(network.backbone), count_macs(_Layers(network), size))


class _Layers(nn.Module):
    """A detector as the counter calls it."""

    def __init__(self, network: DetectionModel) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Any:
        return self.network.layers(images)


def table(kind: str, attention: str, num_classes: int, size: int) -> str:
    """One row a backbone, of YOLOv3 one a width too; `neck + heads` is what the detector adds to the backbone."""
    lines = [
        f"{kind} with {attention} backbones, {num_classes} classes, {size} x {size}",
        "",
        "| backbone | width | params (M) | of it neck + heads | GFLOPs |",
        "|---|---|---|---|---|",
    ]
    for arch in (arch for arch in ARCHS if goes_with(arch, AttentionSpec.parse(attention))):
        for width in WIDTHS if kind == "yolov3" else (1.0,):
            settings = NetworkSettings.model_validate(
                {"kind": kind, "arch": arch, "attention": attention, "width": width}
            )
            row = cost(settings, num_classes, size)
            params, added = row.params / 2**20, (row.params - row.backbone_params) / 2**20
            lines.append(f"| {arch} | {width:g} | {params:.2f} | {added:.2f} | {row.macs / 2**30:.2f} |")
    return "\n".join(lines)


def trained_params(kind: str, attention: str) -> int:
    """Of a detector of COCO's classes on ResNet-50 whose stem and stage 1 are frozen."""
    settings = NetworkSettings.model_validate({"kind": kind, "arch": "resnet50", "attention": attention})
    with torch.device("meta"):
        network = build_detector(settings, COCO_CLASSES)
    freeze(network.backbone, TrainSettings(freeze_stem=True))
    return sum(parameter.numel() for parameter in network.parameters() if parameter.requires_grad)


def table_6() -> str:
    """Ours, and what the paper prints in brackets where it differs."""
    variants = ROWS | OF_EMCA
    lines = [
        "Tables 6 and 8 of the paper: 10^6 parameters that are trained, stem and stage 1 frozen, COCO's 80 classes",
        "",
        f"| ResNet-50 | {' | '.join(PRINTED)} |",
        f"|---|{'---|' * len(PRINTED)}",
    ]
    for row, (name, attention) in enumerate(variants.items()):
        cells = []
        for kind, printed in PRINTED.items():
            params = f"{trained_params(kind, attention) / 1e6:.2f}"
            cells.append(params if params == f"{printed[row]:.2f}" else f"{params} (printed {printed[row]:.2f})")
        lines.append(f"| {name} | {' | '.join(cells)} |")
    reason = (
        "By its definition EMCA-SE adds .69 to the one backbone that all three have. The printed cells add 1.03, .95\n"
        "and 1.14 to it: they contradict one another."
    )
    return "\n".join([*lines, "", reason])


def main(arguments: list[str] | None = None) -> int:
    parser = Parser(prog="python -m detector.network.profile", description=__doc__.splitlines()[0])
    names = ", ".join(CATALOGUE)
    parser.add_argument("--kind", choices=tuple(KINDS), default="yolov3", help="of the first table's detectors")
    parser.add_argument("--attention", default="emca-se", help=f"of the backbones, NAME[:option=value,...]: {names}")
    parser.add_argument("--classes", type=count, default=8, help="number of classes")
    parser.add_argument("--size", type=count, default=448, help="side of the square input, a multiple of 32")
    options = parser.parse_args(arguments)

    def work() -> None:
        spec = AttentionSpec.parse(options.attention)
        if not any(goes_with(arch, spec) for arch in ARCHS):
            check_backbone(ARCHS[0], spec)  # says why, in one line
        print(table(options.kind, options.attention, options.classes, options.size), table_6(), sep="\n\n")

    return exit_status(work)


if __name__ == "__main__":
    sys.exit(main())
