"""What an exported file says of itself, so that detect.py needs nothing else. Torch-free."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

FORMAT = "kitti-attention-detector-graph/1"


class WeightsError(ValueError):
    """Weights that cannot be used; the message names the file and what to do."""


@dataclass(frozen=True, slots=True)
class Card:
    """Class names, input size (height, width), resize policy, and the arithmetic or storage the file was made for:
    fp32, bf16, fp16 or int8. Normalisation and decoding are part of the graph and need no words.
    """

    classes: tuple[str, ...]
    size: tuple[int, int]
    policy: str
    precision: str

    def to_properties(self) -> dict[str, str]:
        """As the strings that ONNX's metadata_props and OpenVINO's rt_info hold."""
        return {
            "format": FORMAT,
            "classes": json.dumps(self.classes),
            "size": json.dumps(self.size),
            "resize": self.policy,
            "precision": self.precision,
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
        height, width = (int(side) for side in json.loads(properties["size"]))
        classes = tuple(str(name) for name in json.loads(properties["classes"]))
        return Card(classes, (height, width), properties["resize"], properties["precision"])
    except (KeyError, TypeError, ValueError) as fault:
        raise WeightsError(f"{path}: its metadata is damaged ({fault}); export it again") from None
