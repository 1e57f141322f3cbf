"""Image files in: RGB arrays, or an error that names the file."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np


class ImageError(ValueError):
    """An image file that cannot be decoded whole."""


def read_image(path: str | Path) -> np.ndarray:
    """uint8 [h, w, 3] RGB of a .png or .jpg file. A truncated file is an error: decoders fill the rest with grey."""
    data = Path(path).read_bytes()
    if (data.startswith(b"\x89PNG") and b"IEND" not in data[-64:]) or (
        data.startswith(b"\xff\xd8") and b"\xff\xd9" not in data[-1024:]
    ):
        raise ImageError(f"{path}: the image file is cut short ({len(data)} bytes); copy or download it again")
    image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR_RGB) if data else None
    if image is None:
        raise ImageError(f"{path}: not an image that can be decoded; copy or download it again")
    return image
