"""Parameters and GFLOPs of the whole detector, backbone by width: python -m detector.network.profile

Counted as the paper counts its backbones (`backbones/counting.py`): M = 2^20 parameters, GFLOPs = MACs / 2^30.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass

from backbones.attention import CATALOGUE
from backbones.counting import count_macs, count_params
from backbones.resnet import ARCHS, check_backbone, goes_with
from backbones.spec import AttentionSpec
from detector.network.build import build_detector
from detector.network.settings import NetworkSettings
from system.command import Parser, count, exit_status

WIDTHS = (0.25, 0.5, 1.0)


@dataclass(frozen=True)
class Cost:
    """params of the whole detector, params of its backbone, MACs of one image through the whole."""

    params: int
    backbone_params: int
    macs: int


def cost(settings: NetworkSettings, num_classes: int, size: int | tuple[int, int]) -> Cost:
    """Of one image, square or (height, width); on the meta device, so that nothing is computed."""
    network = build_detector(settings, num_classes).to("meta")
    return Cost(count_params(network), count_params(network.backbone), count_macs(network, size))


def table(attention: str, num_classes: int, size: int) -> str:
    """One row a backbone and width; `neck + heads` is what the detector adds to the backbone."""
    lines = [
        f"YOLOv3 with {attention} backbones, {num_classes} classes, {size} x {size}",
        "",
        "| backbone | width | params (M) | of it neck + heads | GFLOPs |",
        "|---|---|---|---|---|",
    ]
    for arch in (arch for arch in ARCHS if goes_with(arch, AttentionSpec.parse(attention))):
        for width in WIDTHS:
            row = cost(NetworkSettings(arch=arch, attention=attention, width=width), num_classes, size)
            params, added = row.params / 2**20, (row.params - row.backbone_params) / 2**20
            lines.append(f"| {arch} | {width:g} | {params:.2f} | {added:.2f} | {row.macs / 2**30:.2f} |")
    return "\n".join(lines)


def main(arguments: list[str] | None = None) -> int:
    parser = Parser(prog="python -m detector.network.profile", description=__doc__.splitlines()[0])
    names = ", ".join(CATALOGUE)
    parser.add_argument("--attention", default="emca-se", help=f"of the backbones, NAME[:option=value,...]: {names}")
    parser.add_argument("--classes", type=count, default=8, help="number of classes")
    parser.add_argument("--size", type=count, default=448, help="side of the square input, a multiple of 32")
    options = parser.parse_args(arguments)

    def work() -> None:
        spec = AttentionSpec.parse(options.attention)
        if not any(goes_with(arch, spec) for arch in ARCHS):
            check_backbone(ARCHS[0], spec)  # says why, in one line
        print(table(options.attention, options.classes, options.size))

    return exit_status(work)


if __name__ == "__main__":
    sys.exit(main())
