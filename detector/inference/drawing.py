"""Boxes and masks on a picture: class colours, names and scores, sized to read alike on 375 and on 2160 rows."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from data.annotation import Rle
from data.masks import box_of, decode

Colour = tuple[int, int, int]

# RGB. Okabe and Ito's palette (2008), which people with any kind of colour blindness tell apart; its black, invisible
# on a road at night, is a light grey here. Neighbours in meaning (Car and Van, Pedestrian and sitting) share a tone.
COLOURS: dict[str, Colour] = {
    "Car": (86, 180, 233),
    "Van": (0, 114, 178),
    "Truck": (0, 158, 115),
    "Pedestrian": (213, 94, 0),
    "Person_sitting": (230, 159, 0),
    "Cyclist": (240, 228, 66),
    "Tram": (204, 121, 167),
    "Misc": (210, 210, 210),
}
_FONT = cv2.FONT_HERSHEY_SIMPLEX
_CAPITAL_ROWS = 21.0  # height of a capital letter of this font at scale 1
_DARK: Colour = (20, 20, 20)
_LIGHT: Colour = (255, 255, 255)
_OPACITY = 0.45  # of masks


class Found(Protocol):
    """What is drawn: Detections are such, which draw themselves with this file."""

    @property
    def boxes(self) -> NDArray[np.float32]: ...
    @property
    def scores(self) -> NDArray[np.float32]: ...
    @property
    def labels(self) -> NDArray[np.int64]: ...
    @property
    def masks(self) -> Sequence[Rle] | None: ...


def colour_of(name: str) -> Colour:
    """The fixed colour of a KITTI class; another class keeps one of the eight by its name."""
    return COLOURS.get(name) or list(COLOURS.values())[sum(name.encode()) % len(COLOURS)]


def line_width(height: int, width: int) -> int:
    """Pixels: 2 on KITTI's 375 x 1242, 8 on 2160 x 3840; grows with the square root of the area."""
    return max(1, round(0.0028 * math.sqrt(height * width)))


def draw(
    image: NDArray[np.uint8], detections: Found, classes: Sequence[str], ids: Sequence[int | None] | None = None
) -> None:
    """Draws into image [H, W, 3] RGB. Masks before boxes before labels, the surest object last, on top."""
    height, width = image.shape[:2]
    thickness = line_width(height, width)
    order = np.argsort(detections.scores, kind="stable")
    corners = np.rint(np.nan_to_num(detections.boxes)).clip(-1e6, 1e6).astype(int)
    masks = detections.masks or ()
    for index in order[: len(masks)]:
        _fill(image, masks[index], colour_of(classes[detections.labels[index]]), thickness)
    for index in order:
        x1, y1, x2, y2 = (int(v) for v in corners[index])
        colour = colour_of(classes[detections.labels[index]])
        cv2.rectangle(image, (x1, y1), (x2, y2), _DARK, thickness + max(2, thickness // 2))  # an edge on bright ground
        cv2.rectangle(image, (x1, y1), (x2, y2), colour, thickness)
    for index in order:
        name = classes[detections.labels[index]]
        number = "" if ids is None or ids[index] is None else f"#{ids[index]} "
        x1, y1, _, y2 = (int(v) for v in corners[index])
        _draw_label(image, f"{number}{name} {detections.scores[index]:.2f}", (x1, y1, y2), colour_of(name), thickness)


def _fill(image: NDArray[np.uint8], mask: Rle, colour: Colour, thickness: int) -> None:
    """The colour on half of what is seen, and an edge: two people of one class stay two."""
    x1, y1, x2, y2 = map(int, box_of(mask))
    part, seen = image[y1:y2, x1:x2], decode(mask)[y1:y2, x1:x2]
    if not seen.size:
        return
    tinted = cv2.addWeighted(part, 1 - _OPACITY, np.full_like(part, colour), _OPACITY, 0)
    cv2.copyTo(tinted, seen, part)
    outlines, _ = cv2.findContours(seen, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    cv2.drawContours(part, outlines, -1, colour, max(1, thickness // 2))


def _draw_label(
    image: NDArray[np.uint8], text: str, anchor: tuple[int, int, int], colour: Colour, thickness: int
) -> None:
    """A filled tag on top of the box, or inside it where the image ends; never beyond the sides of the image."""
    height, width = image.shape[:2]
    x1, y1, y2 = anchor
    capital = max(8.0, 4 + 0.009 * math.sqrt(height * width))  # 10 rows of 375, 30 of 2160
    scale = capital / _CAPITAL_ROWS
    stroke = max(1, round(capital / 9))
    (text_width, _), _ = cv2.getTextSize(text, _FONT, scale, stroke)
    pad = max(2, round(capital / 4))
    rows, columns = round(capital) + 2 * pad, text_width + 2 * pad
    left = min(max(0, x1 - thickness // 2), max(0, width - columns))
    top = y1 - rows if y1 - rows >= 0 else max(0, y1)
    top = min(top, max(0, height - rows), max(0, y2))
    cv2.rectangle(image, (left, top), (left + columns - 1, top + rows - 1), colour, cv2.FILLED)
    red, green, blue = colour
    ink = _DARK if 0.299 * red + 0.587 * green + 0.114 * blue > 120 else _LIGHT
    cv2.putText(image, text, (left + pad, top + rows - pad - 1), _FONT, scale, ink, stroke, cv2.LINE_AA)
