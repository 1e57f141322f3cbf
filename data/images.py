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

from system.files import write_bytes

MEND = "copy or download it again"
JPEG_QUALITY = 92
Image.MAX_IMAGE_PIXELS = 2**29  # it takes twice as many, as OpenCV does
LONGEST_SIDE = 32766  # pixels; OpenCV resizes and warps no longer ones
_STDERR, _one_at_a_time = 2, threading.Lock()


class ImageError(ValueError):
    """An image file that cannot be decoded whole."""


def read_image(path: str | Path, upright: bool = False) -> np.ndarray:
    """uint8 [h, w, 3] RGB of a .png or .jpg file. A truncated file is an error: decoders fill the rest with grey.

    `upright` obeys a camera's "turn me" mark; off for labelled images, as labels are in stored pixels.
    """
    return decode_image(Path(path).read_bytes(), str(path), upright)


def decode_image(data: bytes, where: str, upright: bool = False) -> np.ndarray:
    """As `read_image`, of a file's content; `where` it comes from opens the message of an error."""
    if (data.startswith(b"\x89PNG") and b"IEND" not in data[-64:]) or (
        data.startswith(b"\xff\xd8") and b"\xff\xd9" not in data[-1024:]
    ):
        raise ImageError(f"{where}: the image file is cut short ({len(data)} bytes); {MEND}")
    flags = cv2.IMREAD_COLOR_RGB | (0 if upright else cv2.IMREAD_IGNORE_ORIENTATION)
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), flags) if data else None
    except (cv2.error, MemoryError) as fault:  # a header that promises more than OpenCV, or this machine, takes
        raise ImageError(f"{where}: not an image that can be decoded ({_reason(fault)}); {MEND}") from None
    if image is None:
        raise ImageError(f"{where}: not an image that can be decoded; {MEND}")
    _check_sides(where, image.shape[0], image.shape[1])
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


def write_image(path: str | Path, image: np.ndarray) -> None:
    """uint8 [h, w, 3] RGB into a file of the kind that its ending names, whole or not at all."""
    suffix = Path(path).suffix.lower()
    quality = [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY] if suffix in (".jpg", ".jpeg") else []
    try:
        ok, content = cv2.imencode(suffix, cv2.cvtColor(image, cv2.COLOR_RGB2BGR), quality)
    except cv2.error:  # it knows no such ending
        ok = False
    if not ok:
        size = f"{image.shape[1]} x {image.shape[0]}"
        raise ImageError(f"{path}: a picture of {size} cannot be saved so; use an ending such as .jpg or .png")
    write_bytes(path, content.tobytes())


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
