"""Image files as a source: decoded ahead by a few threads, handed out in order."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from data.images import ImageError, read_image
from detector.video.frames import Frame, Kind, SourceError
from detector.video.journal import Journal

READERS = 3  # OpenCV decodes outside Python's lock; a few threads keep up with a GPU
AHEAD = 2 * READERS


def _read(path: Path) -> NDArray[np.uint8]:
    """uint8 [H, W, 3] RGB: grey repeated, 16 bit scaled to 8, alpha dropped, turned upright by its EXIF tag."""
    try:
        if path.stat().st_size == 0:
            raise SourceError("the file is empty (0 bytes)")
        return read_image(path, upright=True)
    except FileNotFoundError:
        raise SourceError("no such file") from None
    except ImageError as error:
        raise SourceError(str(error).removeprefix(f"{path}: ")) from None
    except SourceError:
        raise
    except OSError as error:
        raise SourceError(f"cannot be read: {error.strerror or error}") from None


@dataclass(frozen=True, slots=True)
class ImageFile:
    path: Path
    source: str
    name: str


class Images:
    """A run of image files, each a source of one frame. Broken ones go to the journal, the others go on."""

    kind: Kind = "image"

    def __init__(self, files: Sequence[ImageFile]) -> None:
        self.files = files
        self.source = files[0].source
        self.name = files[0].name

    def expected_frames(self) -> int:
        return len(self.files)

    def probe(self) -> None:
        """One image that can be read is enough."""
        first: SourceError | None = None
        for file in self.files:
            try:
                _read(file.path)
                return
            except SourceError as error:
                first = first or error
        if first:
            raise first

    def frames(self, journal: Journal, stop: threading.Event) -> Iterator[Frame]:
        waiting: deque[tuple[ImageFile, Future[NDArray[np.uint8]]]] = deque()
        todo = iter(self.files)
        with ThreadPoolExecutor(READERS, thread_name_prefix="read-image") as pool:
            while not stop.is_set():
                while len(waiting) < AHEAD and (file := next(todo, None)) is not None:
                    waiting.append((file, pool.submit(_read, file.path)))
                if not waiting:
                    return
                file, future = waiting.popleft()
                try:
                    image = future.result()
                except SourceError as error:
                    journal.failed(file.source, str(error))
                    continue
                yield Frame(file.source, file.name, "image", 0, 0.0, image)
