"""Image files in: RGB arrays, or an error that names the file."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from PIL import Image, UnidentifiedImageError

MEND = "copy or download it again"


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
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), flags) if data else None
    except (cv2.error, MemoryError) as fault:  # a header that promises more than OpenCV, or this machine, takes
        raise ImageError(f"{path}: not an image that can be decoded ({_reason(fault)}); {MEND}") from None
    if image is None:
        raise ImageError(f"{path}: not an image that can be decoded; {MEND}")
    return image


def image_size(path: str | Path) -> tuple[int, int]:
    """(height, width) from the file's header, without decoding the pixels."""
    try:
        with Image.open(path) as image:
            return image.height, image.width
    except FileNotFoundError:
        raise
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as fault:  # a header may hold anything
        reason = "" if isinstance(fault, UnidentifiedImageError) else f" ({_reason(fault)})"
        raise ImageError(f"{path}: not an image that can be decoded{reason}; {MEND}") from None


def _reason(fault: BaseException) -> str:
    return " ".join(str(getattr(fault, "err", None) or fault or type(fault).__name__).split())[:120]
