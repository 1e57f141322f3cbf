"""Image files in: RGB arrays, or an error that names the file."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from PIL import Image, UnidentifiedImageError


class ImageError(ValueError):
    """An image file that cannot be decoded whole."""


def read_image(path: str | Path, upright: bool = False) -> np.ndarray:
    """uint8 [h, w, 3] RGB of a .png or .jpg file. A truncated file is an error: decoders fill the rest with grey.

    `upright` obeys a camera's "turn me" mark; off for labelled images, as labels are in stored pixels.
    """
    data = Path(path).read_bytes()
    if (data.startswith(b"\x89PNG") and b"IEND" not in data[-64:]) or (
        data.startswith(b"\xff\xd8") and b"\xff\xd9" not in data[-1024:]
    ):
        raise ImageError(f"{path}: the image file is cut short ({len(data)} bytes); copy or download it again")
    flags = cv2.IMREAD_COLOR_RGB | (0 if upright else cv2.IMREAD_IGNORE_ORIENTATION)
    image = cv2.imdecode(np.frombuffer(data, np.uint8), flags) if data else None
    if image is None:
        raise ImageError(f"{path}: not an image that can be decoded; copy or download it again")
    return image


def image_size(path: str | Path) -> tuple[int, int]:
    """(height, width) from the file's header, without decoding the pixels."""
    try:
        with Image.open(path) as image:
            return image.height, image.width
    except UnidentifiedImageError:
        raise ImageError(f"{path}: not an image that can be decoded; copy or download it again") from None
