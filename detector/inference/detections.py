"""What a detector says about one image. Torch-free, so that evaluation and video import it cheaply."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from importlib import import_module
from itertools import compress
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from data.annotation import Rle
from data.formats.kitti import Label, format_label
from data.images import write_image
from data.masks import decode_all, to_json
from detector.inference.drawing import draw
from system.names import check_name

BOX_DECIMALS, SCORE_DECIMALS = 2, 6  # KITTI's and COCO's files
JSON_DECIMALS = 3  # of a box


class Detection(NamedTuple):
    """One object."""

    name: str
    score: float
    box: tuple[float, float, float, float]


@dataclass(frozen=True, slots=True)
class Detections:
    """Best first. boxes [n, 4] x1 y1 x2 y2 in pixels of the original image, scores [n] and labels [n], which count the
    `classes`. `image` [h, w, 3] RGB is there where Python asked, and is what `draw` draws on. `masks` [n], of the
    original image's size, are there where the network gives them.
    """

    boxes: NDArray[np.float32]
    scores: NDArray[np.float32]
    labels: NDArray[np.int64]
    classes: tuple[str, ...] = ()
    image: NDArray[np.uint8] | None = field(default=None, repr=False)
    masks: tuple[Rle, ...] | None = field(default=None, repr=False)

    def __len__(self) -> int:
        return len(self.scores)

    def __iter__(self) -> Iterator[Detection]:
        for name, score, box in zip(self.names, self.scores.tolist(), self.boxes.tolist(), strict=True):
            yield Detection(name, score, tuple(box))

    def __getitem__(self, name: str) -> Detections:
        """Those of one class."""
        return self._where(self.labels == self.classes.index(check_name("class", name, self.classes)))

    @property
    def names(self) -> list[str]:
        """[n] The class of each."""
        return [self.classes[label] for label in self.labels]

    @property
    def each_mask(self) -> Sequence[Rle | None]:
        """[n] The mask of each, None where the network gives none."""
        return [None] * len(self) if self.masks is None else self.masks

    def above(self, score: float) -> Detections:
        """Those with at least this score."""
        return self._where(self.scores >= score)

    def draw(self) -> NDArray[np.uint8]:
        """[h, w, 3] RGB: a copy of the picture with the boxes."""
        if self.image is None:
            raise ValueError("these detections carry no picture to draw on; those of detector.Detector do")
        picture = self.image.copy()
        draw(picture, self, self.classes)
        return picture

    def save(self, path: str | Path) -> None:
        """The drawn picture as a file of the kind that the ending names."""
        write_image(path, self.draw())

    def to_dict(self) -> dict[str, Any]:
        """`detections` as in a line of detect.py's detections.jsonl."""
        return {"detections": to_objects(self, self.classes)}

    def to_kitti(self) -> str:
        """The text of a KITTI result file."""
        return "".join(f"{format_label(label)}\n" for label in to_labels(self, self.classes))

    def to_coco(self, image_id: int | str = 0) -> list[dict[str, Any]]:
        """COCO results: boxes as x, y, width, height; categories count from 1 in the order of the classes; masks, where
        there are any, as run lengths."""
        return [
            {
                "image_id": image_id,
                "category_id": int(label) + 1,
                "bbox": [round(v, BOX_DECIMALS) for v in (x1, y1, x2 - x1, y2 - y1)],
                "score": round(score, SCORE_DECIMALS),
                **({} if mask is None else {"segmentation": to_json(mask)}),
            }
            for (x1, y1, x2, y2), score, label, mask in zip(
                self.boxes.tolist(), self.scores.tolist(), self.labels, self.each_mask, strict=True
            )
        ]

    def to_dataframe(self) -> Any:
        """A pandas.DataFrame with the columns class, score, x1, y1, x2, y2."""
        pandas = _require("pandas", "to_dataframe")
        columns = {"class": pandas.Series(self.names, dtype=str), "score": self.scores}  # text, also of no names
        sides = dict(zip(("x1", "y1", "x2", "y2"), self.boxes.T, strict=True))
        return pandas.DataFrame({**columns, **sides})

    def to_supervision(self) -> Any:
        """A supervision.Detections, for its trackers, zones and annotators."""
        names = np.array(self.names, str)  # text, also of no names
        masks = decode_all(self.masks, self.masks[0].size).view(np.bool_) if self.masks else None
        return _require("supervision", "to_supervision").Detections(
            xyxy=self.boxes,
            mask=masks,
            confidence=self.scores,
            class_id=self.labels,
            data={"class_name": names},
        )

    def _where(self, kept: NDArray[np.bool_]) -> Detections:
        masks = None if self.masks is None else tuple(compress(self.masks, kept))
        return replace(self, boxes=self.boxes[kept], scores=self.scores[kept], labels=self.labels[kept], masks=masks)


def _require(package: str, asked: str) -> Any:
    try:
        return import_module(package)
    except ImportError:
        raise ImportError(f"{asked}() needs {package}: pip install {package}") from None


def to_objects(detections: Detections, classes: Sequence[str]) -> list[dict[str, Any]]:
    """Results as plain values, for JSON."""
    return [
        {
            "class": classes[label],
            "score": round(score, SCORE_DECIMALS),
            "box": [round(side, JSON_DECIMALS) for side in box],
            **({} if mask is None else {"mask": to_json(mask)}),
        }
        for box, score, label, mask in zip(
            detections.boxes.tolist(),
            detections.scores.tolist(),
            detections.labels.tolist(),
            detections.each_mask,
            strict=True,
        )
    ]


def to_labels(detections: Detections, classes: Sequence[str]) -> list[Label]:
    """Results as KITTI writes them: 2 decimals of a pixel; all that a 2D detector does not know stays unknown."""
    return [
        Label(
            classes[label],
            (round(x1, BOX_DECIMALS), round(y1, BOX_DECIMALS), round(x2, BOX_DECIMALS), round(y2, BOX_DECIMALS)),
            score=round(score, SCORE_DECIMALS),
            mask=mask,
        )
        for (x1, y1, x2, y2), score, label, mask in zip(
            detections.boxes.tolist(),
            detections.scores.tolist(),
            detections.labels.tolist(),
            detections.each_mask,
            strict=True,
        )
    ]
