"""The detector from Python: `from detector import Detector`. docs/python.md shows all of it."""

from __future__ import annotations

import math
import threading
import time
import urllib.error
import urllib.request
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property, partial
from http.client import HTTPException
from pathlib import Path
from typing import Any, TypeAlias, overload

import numpy as np
from numpy.typing import NDArray
from PIL import Image as pillow
from PIL import ImageOps

from data.images import decode_image, read_image
from data.transfer import within
from detector.inference.ahead import in_order
from detector.inference.detections import Detections
from detector.inference.predictor import Predictor
from detector.inference.thresholds import Thresholds
from detector.inference.weights import is_checkpoint
from detector.video.frames import Frame, Selection, Source, SourceError
from detector.video.journal import Journal
from detector.video.sources import VIDEO_SUFFIXES, find_items, open_sources

Image: TypeAlias = str | Path | pillow.Image | NDArray[np.uint8]

BATCH = 8  # images a network call
URL_TIMEOUT_S = 30.0
URL_BYTES = 100_000_000
STREAM_PATIENCE_S = 30.0


class Detector:
    """Trained weights that look at pictures: `Detector("best.pt")("street.jpg")`.

    conf: the lowest score, or one a class (`{"Car": .5}`; the others keep .25). iou: the overlap at which the weaker
    box goes. classes: find only these. views: of "half" and "mirror". The rest is as in detect.py.
    """

    def __init__(
        self,
        weights: str | Path,
        *,
        conf: float | Mapping[str, float] = 0.25,
        iou: float = 0.45,
        device: str = "auto",
        classes: Sequence[str] = (),
        precision: str = "auto",
        threads: int | None = None,
        views: Sequence[str] | None = None,
    ) -> None:
        views = (views,) if isinstance(views, str) else views
        only = (classes,) if isinstance(classes, str) else tuple(classes)
        limits = Thresholds(named=conf, only=only) if isinstance(conf, Mapping) else Thresholds(conf, only=only)
        self._open = partial(Predictor, weights, device, precision, limits, iou, threads, views=views)
        self._is_exported = not is_checkpoint(Path(weights))
        self._predictor = self._open()

    @property
    def classes(self) -> tuple[str, ...]:
        """What the weights can find."""
        return self._predictor.classes

    @overload
    def __call__(self, source: Image) -> Detections: ...
    @overload
    def __call__(self, source: list[Any] | tuple[Any, ...]) -> list[Detections]: ...

    def __call__(self, source: Image | list[Any] | tuple[Any, ...]) -> Detections | list[Detections]:
        """One picture, or a list of pictures, which share network calls: a file, a URL, a PIL image, an RGB array."""
        if not isinstance(source, (list, tuple)):
            return self._find([source])[0]
        return [found for at in range(0, len(source), BATCH) for found in self._find(source[at : at + BATCH])]

    def video(
        self, source: str | Path | int, *, every: int = 1, start: float = 0.0, end: float = math.inf
    ) -> Iterator[tuple[Frame, Detections]]:
        """Frame by frame what is in a video, camera or stream; `frame` has `image`, `index` and `time_s`.

        source: any SOURCE of detect.py. every: look at every N-th frame. start, end: seconds.
        """
        selection = Selection(every, start, end)
        opened = open_sources(find_items([str(source)], selection), selection, STREAM_PATIENCE_S)
        journal = Journal(echo=warnings.warn)
        for one in opened:
            predictor = self._predictor if one.kind == "live" else self._for_many
            yield from in_order(_begun(one, journal, predictor), predictor.ahead)

    @cached_property
    def _for_many(self) -> Predictor:
        """The one for files. Exported weights on a CPU are loaded again for it, to run frames beside each other."""
        gains = self._is_exported and self._predictor.backend.device_type == "cpu"
        return self._open(many=True) if gains else self._predictor

    def _find(self, sources: Sequence[Image]) -> list[Detections]:
        images = [to_rgb(source) for source in sources]
        found = self._predictor.predict(images)
        return [replace(one, image=image) for one, image in zip(found, images, strict=True)]


def _begun(source: Source, journal: Journal, predictor: Predictor) -> Iterator[Callable[[], tuple[Frame, Detections]]]:
    """A call for every frame. A fault of the source comes in its place, behind the frames before it."""

    def finish(frame: Frame, found: Callable[[], list[Detections]]) -> tuple[Frame, Detections]:
        return frame, replace(found()[0], image=frame.image)

    def fail(fault: SourceError) -> tuple[Frame, Detections]:
        raise SourceError(f"{source.source}: {fault}") from None

    try:
        for frame in source.frames(journal, threading.Event()):
            yield partial(finish, frame, predictor.start([frame.image]))
    except SourceError as fault:
        yield partial(fail, fault)


def to_rgb(source: Any) -> NDArray[np.uint8]:
    """uint8 [h, w, 3], upright, of a picture in any form that `Detector` takes."""
    if isinstance(source, np.ndarray):
        if source.dtype != np.uint8 or source.ndim != 3 or source.shape[2] != 3 or not source.size:
            found = f"{source.dtype} {list(source.shape)}"
            raise ValueError(f"an array of {found}: expected a picture as uint8 [height, width, 3] in RGB")
        return source
    if isinstance(source, pillow.Image):
        if source.mode.startswith(("I", "F")):
            raise ValueError(f"a PIL image of mode {source.mode}: scale its colours to 8 bits and convert('RGB')")
        return np.asarray(ImageOps.exif_transpose(source).convert("RGB"))
    if not isinstance(source, (str, Path)):
        expected = "a path, a URL, a PIL image or an RGB array, or a list of these"
        raise TypeError(f"{type(source).__name__} is no picture: expected {expected}")
    if str(source).lower().startswith(("http://", "https://")):
        return decode_image(_download(str(source)), str(source), upright=True)
    if Path(source).suffix.lower() in VIDEO_SUFFIXES:
        raise ValueError(f"{source}: a video; for frame, found in detector.video({str(source)!r}) goes through it")
    return read_image(source, upright=True)


def _download(url: str) -> bytes:
    """The whole picture within the time, however slowly a server drips."""
    content, deadline = bytearray(), time.monotonic() + URL_TIMEOUT_S
    try:
        with within(URL_TIMEOUT_S, lambda: urllib.request.urlopen(url, timeout=URL_TIMEOUT_S)) as answer:
            while len(content) <= URL_BYTES and (part := answer.read1(1 << 16)):
                content += part
                if time.monotonic() > deadline:
                    raise TimeoutError(f"not there after {URL_TIMEOUT_S:.0f} s")
    except urllib.error.HTTPError as fault:
        raise OSError(f"{url}: the server answers {fault.code} {fault.reason}") from None
    except (OSError, OverflowError, HTTPException, ValueError) as fault:
        raise OSError(f"{url}: cannot be fetched ({getattr(fault, 'reason', None) or fault})") from None
    if len(content) > URL_BYTES:
        raise OSError(f"{url}: more than {URL_BYTES // 10**6} MB; no picture is so large")
    return bytes(content)
