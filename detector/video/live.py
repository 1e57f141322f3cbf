"""Live sources: network streams and webcams. The newest frame wins; what nobody had time for is dropped and counted."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from fractions import Fraction
from typing import Protocol

import av
import cv2
import numpy as np
from numpy.typing import NDArray

from detector.video.container import nominal_rate, open_video, to_rgb
from detector.video.frames import Frame, Kind, NotThere, Selection, SourceError, Stamp
from detector.video.journal import Journal

TICKS = Fraction(1, 90_000)  # a live source is stamped by the time its frames arrive
POLL_S = 0.1
LONGEST_PAUSE_S = 8.0
BELIEVABLE_DRIFT_S = 2.0

Picture = Callable[[], NDArray[np.uint8]]  # converts on demand: frames that get dropped cost no conversion


class Camera(Protocol):
    """Where live pictures come from: each call of `pictures` connects once and ends with that connection."""

    where: str

    def probe(self) -> None:
        """As of a Source."""

    def pictures(self, timeout: float, stop: threading.Event) -> Iterator[tuple[float | None, float, Picture]]:
        """(seconds on the stream's own clock or None, nominal frame rate, picture). SourceError when it breaks."""


class NetworkCamera:
    """RTSP, HTTP and whatever else FFmpeg's protocols reach."""

    def __init__(self, url: str, where: str) -> None:
        self.url = url
        self.where = where

    def probe(self) -> None:
        """Nothing is known before its turn: many cameras serve one connection at a time."""

    def pictures(self, timeout: float, stop: threading.Event) -> Iterator[tuple[float | None, float, Picture]]:
        options = {}
        if self.url.startswith("rtsp"):
            options["rtsp_transport"] = "tcp"  # UDP loses packets, and frames tear
        container, stream = open_video(self.url, options, timeout)
        with container:
            stream.thread_type = "SLICE"  # frame threads would hold back as many frames as there are threads
            rate = float(nominal_rate(stream))
            try:
                for packet in container.demux(stream):
                    if stop.is_set():
                        return
                    try:
                        pictures = packet.decode()
                    except av.error.InvalidDataError:
                        continue  # joined in the middle of a group of pictures, or a packet got lost
                    for picture in pictures:
                        yield picture.time, rate, lambda picture=picture: to_rgb(picture)  # type: ignore[misc]
            except av.error.ExitError:
                raise SourceError(f"no data for {timeout:.2g} s") from None
            except av.error.FFmpegError as error:
                raise SourceError(f"connection broke: {error.strerror}") from None
        raise SourceError("the other side closed the stream")


class Webcam:
    """A camera of this machine by its number. OpenCV opens it, as PyAV's wheels come without camera drivers."""

    def __init__(self, index: int) -> None:
        self.index = index
        self.where = f"camera {index}"
        self._opened: cv2.VideoCapture | None = None  # by probe, as opening takes a camera seconds

    def probe(self) -> None:
        self._opened = self._open()

    def _open(self) -> cv2.VideoCapture:
        log = cv2.utils.logging
        level = log.setLogLevel(log.LOG_LEVEL_SILENT)  # every backend that cannot open it would say so in its own lines
        try:
            capture = cv2.VideoCapture(self.index)
        finally:
            log.setLogLevel(level)
        if not capture.isOpened():
            raise NotThere("cannot be opened: is it connected, and may this user read it?")
        return capture

    def pictures(self, timeout: float, stop: threading.Event) -> Iterator[tuple[float | None, float, Picture]]:
        capture, self._opened = self._opened or self._open(), None
        try:
            rate = capture.get(cv2.CAP_PROP_FPS)
            while not stop.is_set():
                ok, bgr = capture.read()
                if not ok:
                    raise SourceError("gives no more pictures")
                yield None, rate if 0 < rate <= 1000 else 25.0, lambda bgr=bgr: cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB)  # type: ignore[misc]
        finally:
            capture.release()


class _Slot:
    """Holds the newest item for one taker. `put` replaces what was not taken, and counts it."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._item: tuple[int, float, float, Picture] | None = None
        self._end: SourceError | None = None
        self.dropped = 0

    def put(self, item: tuple[int, float, float, Picture]) -> None:
        with self._changed:
            self.dropped += self._item is not None
            self._item = item
            self._changed.notify()

    def close(self, reason: SourceError) -> None:
        with self._changed:
            self._end = reason
            self._changed.notify()

    def take(self, stop: threading.Event) -> tuple[int, float, float, Picture] | None:
        """The newest item, waiting for one; None once `stop` is set. Raises the reason once closed and empty."""
        with self._changed:
            while self._item is None:
                if stop.is_set():
                    return None
                if self._end is not None:
                    raise self._end
                self._changed.wait(POLL_S)
            item, self._item = self._item, None
            return item


class LiveSource:
    """A camera as a source. Reconnects with growing pauses; gives up after `patience` seconds without a frame."""

    kind: Kind = "live"

    def __init__(self, camera: Camera, name: str, selection: Selection, patience: float) -> None:
        self.camera = camera
        self.source = camera.where
        self.name = name
        self.selection = selection
        self.patience = patience

    def probe(self) -> None:
        self.camera.probe()

    def expected_frames(self) -> int | None:
        return self.selection.max_frames

    def frames(self, journal: Journal, stop: threading.Event) -> Iterator[Frame]:
        want, slot, done = self.selection, _Slot(), threading.Event()
        grabber = threading.Thread(target=self._grab, args=(slot, journal, done), name="grab", daemon=True)
        grabber.start()
        taken, last_pts = 0, -1
        try:
            while (item := slot.take(stop)) is not None:
                index, time_s, rate, picture = item
                if time_s >= want.end:
                    return
                pts = max(last_pts + 1, round(time_s / TICKS))
                last_pts = pts
                nominal = Fraction(rate).limit_denominator(1001)
                stamp = Stamp(pts, round(1 / (nominal * TICKS)), TICKS, nominal)
                yield Frame(self.source, self.name, "live", index, time_s, picture(), stamp)
                taken += 1
                if taken == want.max_frames:
                    return
        finally:
            done.set()
            if slot.dropped:
                journal.drop(self.source, slot.dropped)

    def _grab(self, slot: _Slot, journal: Journal, done: threading.Event) -> None:
        """Runs in a thread of its own: keeps connecting and puts every wanted frame into the slot."""
        want, index, pause, time_s = self.selection, 0, 0.5, 0.0
        started: float | None = None  # when the first frame came
        last_frame = time.monotonic()
        while not done.is_set():
            offset: float | None = None  # stream clock -> seconds since the first frame, anew for each connection
            try:
                for clock, rate, picture in self.camera.pictures(min(10.0, self.patience / 3), done):
                    last_frame = time.monotonic()
                    started = last_frame if started is None else started
                    arrived = shown = last_frame - started
                    if clock is not None:
                        if offset is None or abs(offset + clock - arrived) > BELIEVABLE_DRIFT_S:
                            offset = arrived - clock
                        shown = offset + clock
                    time_s = max(time_s, shown)  # a new offset may lie before what was shown
                    if time_s >= want.start and index % want.every == 0:
                        slot.put((index, time_s, rate, picture))
                    index += 1
                    pause = 0.5
                return
            except SourceError as error:
                if isinstance(error, NotThere) and started is None:
                    slot.close(error)
                    return
                waited = time.monotonic() - last_frame
                if waited >= self.patience:
                    seen = f"gave up after {waited:.0f} s without a frame" if started else "cannot be reached"
                    slot.close(SourceError(f"{seen}: {error}"))
                    return
                rest = min(pause, max(0.05, self.patience - waited))
                journal.warn(f"{self.source}: {error}; trying again in {rest:.2g} s")
                done.wait(rest)
                pause = min(2 * pause, LONGEST_PAUSE_S)
            except Exception as error:  # a thread must not die in silence
                slot.close(SourceError(f"{type(error).__name__}: {error}"))
                return
