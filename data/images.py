"""Image files in: RGB arrays, or an error that names the file."""

from __future__ import annotations

import os
import tempfile
import threading
import warnings
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, UnidentifiedImageError

MEND = "copy or download it again"
Image.MAX_IMAGE_PIXELS = 2**29  # it takes twice as many, as OpenCV does
LONGEST_SIDE = 32766  # pixels; OpenCV resizes and warps no longer ones
_STDERR, _one_at_a_time = 2, threading.Lock()


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
    _check_sides(path, image.shape[0], image.shape[1])
    return image


def check_image(path: str | Path) -> np.ndarray:
    """As `read_image`, and stricter: a JPEG damaged in its middle is an error too.

    libjpeg fills the gap with grey and only says so on the standard error, which is therefore read.
    """
    with open(path, "rb") as file:
        if file.read(2) != b"\xff\xd8":
            return read_image(path)
    with _one_at_a_time, tempfile.TemporaryFile() as said:
        terminal = os.dup(_STDERR)
        os.dup2(said.fileno(), _STDERR)
        try:
            image = read_image(path)
        finally:
            os.dup2(terminal, _STDERR)
            os.close(terminal)
        said.seek(0)
        warning = next((line for line in said.read().decode(errors="replace").splitlines() if "JPEG" in line), None)
    if warning:
        raise ImageError(f"{path}: the image is damaged ({warning:.80}); {MEND}")
    return image


def image_size(path: str | Path) -> tuple[int, int]:
    """(height, width) from the file's header, without decoding the pixels."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of EXIF that nobody reads
            with Image.open(path) as image:
                height, width = image.height, image.width
    except FileNotFoundError:
        raise
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as fault:  # a header may hold anything
        reason = "" if isinstance(fault, UnidentifiedImageError) else f" ({_reason(fault)})"
        raise ImageError(f"{path}: not an image that can be decoded{reason}; {MEND}") from None
    _check_sides(path, height, width)
    return height, width


def _check_sides(path: str | Path, height: int, width: int) -> None:
    if not 0 < max(height, width) <= LONGEST_SIDE:
        raise ImageError(f"{path}: {width} x {height} pixels, a side must not be longer than {LONGEST_SIDE}; reduce it")


def _reason(fault: BaseException) -> str:
    return " ".join(str(getattr(fault, "err", None) or fault or type(fault).__name__).split())[:120]
