"""Read, infer, draw and write: three stages beside each other, joined by short queues.

    readers (one for all files, one a live source) -> frames -> infer -> results -> draw and write (caller's thread)

Wall time comes close to that of the slowest stage, memory does not grow with the length of a video, and order is kept.
Writing stays in the caller's thread because windows and Ctrl-C belong to the main one.
"""

from __future__ import annotations

import queue
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Generic, Protocol, TypeVar

import av
import cv2
import numpy as np
from numpy.typing import NDArray

from detector.inference.ahead import in_order
from detector.inference.detections import Detections
from detector.inference.drawing import draw
from detector.video.frames import Frame, Source, SourceError
from detector.video.journal import Journal
from detector.video.sink import Result, Sink
from detector.video.tracking import Tracker

POLL_S = 0.1  # how soon a waiting stage notices that the others are gone


class Detector(Protocol):
    """What the pipeline needs of a predictor. timings: seconds summed in preprocess, network, postprocess.
    ahead: how many calls of `start` to have begun before the first is asked for its detections."""

    @property
    def classes(self) -> tuple[str, ...]: ...

    @property
    def timings(self) -> Mapping[str, float]: ...

    @property
    def ahead(self) -> int: ...

    def start(self, images: list[NDArray[np.uint8]], /) -> Callable[[], list[Detections]]: ...


@dataclass(frozen=True, slots=True)
class SourceEnd:
    """Travels behind the last frame of a source."""

    name: str


@dataclass(frozen=True, slots=True)
class Found:
    frame: Frame
    detections: Detections


T = TypeVar("T")


class Channel(Generic[T]):
    """A bounded queue between two stages that lets go of both ends once `halt` is set."""

    def __init__(self, depth: int, halt: threading.Event) -> None:
        self._queue: queue.Queue[T] = queue.Queue(depth)
        self._halt = halt

    def put(self, item: T) -> None:
        while not self._halt.is_set():
            try:
                return self._queue.put(item, timeout=POLL_S)
            except queue.Full:
                continue
        return None

    def get(self, stop: threading.Event | None = None) -> T | None:
        """The next item; None once halted, or once `stop` is set."""
        while not self._halt.is_set() and not (stop is not None and stop.is_set()):
            try:
                return self._queue.get(timeout=POLL_S)
            except queue.Empty:
                continue
        return None

    def get_ready(self) -> T | None:
        """An item that is already there, or None."""
        try:
            return self._queue.get_nowait()
        except queue.Empty:
            return None


@dataclass
class Report:
    """What a run did. seconds: of each stage's own work, summed."""

    frames: int = 0
    wall_s: float = 0.0
    detections: Counter[str] = field(default_factory=Counter)
    tracks: Counter[str] | None = None
    seconds: dict[str, float] = field(default_factory=dict)


class _End:
    """Behind everything."""


_END = _End()
_Item = Frame | SourceEnd | _End


def _joined(items: Sequence[_Item], detections: Callable[[], list[Detections]]) -> list[Found | SourceEnd]:
    """Frames with what was found in them, ends of sources between them."""
    found = iter(detections())
    return [
        Found(item, next(found)) if isinstance(item, Frame) else item for item in items if not isinstance(item, _End)
    ]


class Pipeline:
    """One run over `sources`. `stop` ends it early and in order: what is inferred is still written."""

    def __init__(
        self,
        sources: Sequence[Source],
        detector: Detector,
        sinks: Sequence[Sink],
        journal: Journal,
        stop: threading.Event,
        batch: int = 1,
        make_tracker: Callable[[float], Tracker] | None = None,
        progress: Callable[[], object] = lambda: None,
    ) -> None:
        self._files = [source for source in sources if source.kind != "live"]
        self._lives = [source for source in sources if source.kind == "live"]
        self._detector = detector
        self._before = [sink for sink in sinks if not sink.wants_drawing]
        self._after = [sink for sink in sinks if sink.wants_drawing]
        self._journal = journal
        self._stop = stop
        self._batch = batch
        self._make_tracker = make_tracker
        self._progress = progress
        self._halt = threading.Event()  # the writing end is gone: nobody waits for anything any more
        depth = 1 if self._lives else 2 * batch  # what waits in a queue of a live source is lag
        self._ahead = 1 if self._lives else detector.ahead
        self._frames: Channel[_Item] = Channel(depth, self._halt)
        self._results: Channel[Found | SourceEnd | _End] = Channel(depth, self._halt)
        self._failure: BaseException | None = None
        self._lock = threading.Lock()
        self._readers_left = 0
        self._trackers: dict[str, Tracker] = {}
        self.report = Report(tracks=Counter() if make_tracker else None)

    def run(self) -> Report:
        """Raises the error of whichever stage failed first, after closing all sinks."""
        started = time.perf_counter()
        groups = [*([live] for live in self._lives), self._files]  # the files' reader also ends a run without sources
        self._readers_left = len(groups)
        threads = [threading.Thread(target=self._read, args=(group,), name="read", daemon=True) for group in groups]
        inferring = threading.Thread(target=self._infer, name="infer", daemon=True)
        for thread in (*threads, inferring):
            thread.start()
        try:
            self._write_all()
        except BaseException as error:
            self._fail(error)
        finally:
            self._halt.set()
            self._finish()
            inferring.join()  # at most one batch; a reader may hang in a dead connection and is left behind
            for thread in threads:
                thread.join(timeout=1.0)
        self.report.wall_s = time.perf_counter() - started
        for part in ("preprocess", "network", "postprocess"):
            self.report.seconds[part] = self._detector.timings.get(part, 0.0)
        if self._failure is not None:
            raise self._failure
        return self.report

    # --- stages ---

    def _read(self, sources: Sequence[Source]) -> None:
        try:
            for source in sources:
                if self._stop.is_set() or self._halt.is_set():
                    break
                try:
                    self._read_one(source)
                except (SourceError, MemoryError, cv2.error, av.error.FFmpegError) as error:
                    self._journal.failed(source.source, " ".join(str(error).split())[:200] or type(error).__name__)
                self._frames.put(SourceEnd(source.name))
        except BaseException as error:
            self._fail(error)
        finally:
            with self._lock:
                self._readers_left -= 1
                last = self._readers_left == 0
            if last:
                self._frames.put(_END)

    def _read_one(self, source: Source) -> None:
        frames = source.frames(self._journal, self._stop)
        while True:
            started = time.perf_counter()
            frame: Frame | None = next(frames, None)
            self._spend("read", started)
            if frame is None or self._halt.is_set():
                return
            self._frames.put(frame)

    def _infer(self) -> None:
        try:
            for found in in_order(self._begin_all(), self._ahead):
                for item in found:
                    self._results.put(item)
        except BaseException as error:
            self._fail(error)
        finally:
            self._results.put(_END)

    def _begin_all(self) -> Iterator[Callable[[], list[Found | SourceEnd]]]:
        while items := self._gather():
            frames = [item.image for item in items if isinstance(item, Frame)]
            yield partial(_joined, items, self._detector.start(frames) if frames else list)
            if isinstance(items[-1], _End):
                return

    def _gather(self) -> list[_Item]:
        """Items up to a full batch of frames or the end; none once stopped. Live sources are not waited for twice."""
        items: list[_Item] = []
        frames = 0
        while frames < self._batch:
            item = self._frames.get_ready() if self._lives and frames else self._frames.get(self._stop)
            if item is None:
                break
            items.append(item)
            frames += isinstance(item, Frame)
            if isinstance(item, _End):
                break
        return [] if self._stop.is_set() else items

    def _write_all(self) -> None:
        while True:
            item = self._results.get()
            if item is None or isinstance(item, _End):
                return
            if isinstance(item, SourceEnd):
                self._end(item.name)
            else:
                self._write(item.frame, item.detections)

    def _write(self, frame: Frame, detections: Detections) -> None:
        classes = self._detector.classes
        started = time.perf_counter()
        ids = None
        if self._make_tracker:
            ids = self._tracker(frame, self._make_tracker).update(detections, frame.image)
            started = self._spend("track", started)
        result = Result(frame, detections, classes, ids)
        self._save(self._before, result)
        if self._after:
            started = self._spend("write", started)
            draw(frame.image, detections, classes, ids)  # into the frame: the clean picture is done with
            started = self._spend("draw", started)
            self._save(self._after, result)
        self._spend("write", started)
        self.report.frames += 1
        self.report.detections.update(classes[label] for label in detections.labels)
        self._progress()

    def _save(self, sinks: Sequence[Sink], result: Result) -> None:
        """What a sink cannot take of one source is told; the others go on. A full disk ends the run."""
        for sink in sinks:
            try:
                sink.write(result)
            except SourceError as error:
                self._journal.failed(result.frame.source, str(error))

    # --- odds and ends of a run ---

    def _tracker(self, frame: Frame, make: Callable[[float], Tracker]) -> Tracker:
        """All image files together are one sequence, taken for 10 frames a second as in KITTI."""
        key = "" if frame.kind == "image" else frame.name
        if key not in self._trackers:
            self._trackers[key] = make(float(frame.stamp.rate) if frame.stamp else 10.0)
        return self._trackers[key]

    def _end(self, name: str) -> None:
        started = time.perf_counter()
        for sink in (*self._before, *self._after):
            sink.end(name)
        self._spend("write", started)
        self._count_tracks(name)

    def _count_tracks(self, key: str) -> None:
        tracker = self._trackers.pop(key, None)
        if tracker is not None and self.report.tracks is not None:
            classes = self._detector.classes
            self.report.tracks.update(dict(zip(classes, tracker.tracks_per_class(len(classes)), strict=True)))

    def _finish(self) -> None:
        """Close every sink, whatever happens to the others."""
        for key in list(self._trackers):
            self._count_tracks(key)
        for sink in (*self._before, *self._after):
            try:
                sink.close()
            except Exception as error:
                self._fail(error)

    def _fail(self, error: BaseException) -> None:
        """The first failure is the one that is told; it stops every stage."""
        with self._lock:
            self._failure = self._failure or error
        self._stop.set()

    def _spend(self, part: str, started: float) -> float:
        now = time.perf_counter()
        with self._lock:
            self.report.seconds[part] = self.report.seconds.get(part, 0.0) + now - started
        return now
