"""What an exported file says of itself, so that detect.py needs nothing else. Torch-free."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from data.annotation import check_class_names
from data.resize import LARGEST, OF_ONE_SIZE
from detector.inference.seal import BLANK
from detector.inference.weights import WeightsError

FORMAT = "kitti-attention-detector-graph/1"


@dataclass(frozen=True, slots=True)
class Card:
    """Class names, input size (height, width), resize policy, the arithmetic or storage the file was made for: fp32,
    bf16, fp16 or int8, and whether suppression averages boxes. Normalisation and decoding are part of the graph;
    `suppressed` says from which score up, and at which overlap, suppression is too.
    """

    classes: tuple[str, ...]
    size: tuple[int, int]
    policy: str
    precision: str
    averages: bool = True
    suppressed: tuple[float, float] | None = None

    def to_properties(self) -> dict[str, str]:
        """As the strings that ONNX's metadata_props and OpenVINO's rt_info hold."""
        return {
            "format": FORMAT,
            "classes": json.dumps(self.classes),
            "size": json.dumps(self.size),
            "resize": self.policy,
            "precision": self.precision,
            "averages": json.dumps(self.averages),
            "suppressed": json.dumps(self.suppressed),
            "checksum": BLANK,  # for `seal` to fill in
        }


def read_card(properties: Mapping[str, str], path: Path) -> Card:
    """The card in a file's metadata. Raises WeightsError for a file of another maker or version."""
    found = properties.get("format")
    if found != FORMAT:
        says = "no word of its maker in it" if found is None else f"its format is {found!r:.60}"
        raise WeightsError(
            f"{path}: not exported by this version of this project ({says}); "
            "make it from a checkpoint: python -m detector.export W.pt --to onnx|openvino"
        )
    try:
        height, width = json.loads(properties["size"])
        size = check_size((height, width))
        classes = check_class_names(json.loads(properties["classes"]), "classes")
        policy, precision = properties["resize"], properties["precision"]
        if policy not in OF_ONE_SIZE or precision not in ("fp32", "bf16", "fp16", "int8"):
            raise ValueError(f"resize {policy!r:.40}, precision {precision!r:.40}")
        averages = json.loads(properties.get("averages", "true"))  # what files of before all do
        suppressed = json.loads(properties.get("suppressed", "null"))
        if suppressed is not None:
            conf, iou = map(float, suppressed)
            suppressed = (conf, iou)
        return Card(classes, size, policy, precision, bool(averages), suppressed)
    except (KeyError, TypeError, ValueError, RecursionError) as fault:
        raise WeightsError(f"{path}: its metadata is damaged ({fault!s:.160}); export it again") from None


def check_size(size: tuple[object, object]) -> tuple[int, int]:
    """(height, width) of a network input. Raises ValueError for what none can have."""
    height, width = size
    if isinstance(height, int) and isinstance(width, int) and 32 <= height <= LARGEST and 32 <= width <= LARGEST:
        return height, width
    raise ValueError(f"size {size!r:.60}: expected a height and a width from 32 to {LARGEST}")
