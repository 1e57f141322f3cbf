"""A video file (or a finite video at a URL) as a source: every frame once, in order, with its own timestamp."""

from __future__ import annotations

import contextlib
import heapq
import os
import threading
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av
import av.container
import av.video.stream

from detector.video.container import nominal_rate, open_video, to_rgb
from detector.video.frames import Frame, Kind, Selection, SourceError, Stamp
from detector.video.journal import Journal

URL_TIMEOUT_S = 15.0


class VideoFile:
    kind: Kind = "video"

    def __init__(self, location: str, source: str, name: str, selection: Selection) -> None:
        self.location = location
        self.source = source
        self.name = name
        self.selection = selection

    def probe(self) -> None:
        if "://" not in self.location:  # a server is asked once, when its turn comes
            self._open()[0].close()

    def expected_frames(self) -> int | None:
        try:
            container, stream = self._open()
        except SourceError:
            return 0
        with container:
            length = _length_s(container, stream)
            if length is None:
                return None
            seen = max(0.0, min(length, self.selection.end) - self.selection.start)
            frames = round(seen * nominal_rate(stream) / self.selection.every)
        return frames if self.selection.max_frames is None else min(frames, self.selection.max_frames)

    def frames(self, journal: Journal, stop: threading.Event) -> Iterator[Frame]:
        container, stream = self._open()
        with container:
            stream.thread_type = "AUTO"
            yield from self._selected(container, stream, journal, stop)

    def _open(self) -> tuple[av.container.InputContainer, av.video.stream.VideoStream]:
        if "://" in self.location:
            return open_video(self.location, timeout=URL_TIMEOUT_S)
        path = Path(self.location)
        if not path.exists():
            raise SourceError("no such file")
        if path.is_file() and path.stat().st_size == 0:
            raise SourceError("the file is empty (0 bytes)")
        # An absolute path cannot be taken for a protocol, and a playlist in disguise cannot reach over the network.
        return open_video(os.path.abspath(path), options={"protocol_whitelist": "file"})

    def _selected(
        self,
        container: av.container.InputContainer,
        stream: av.video.stream.VideoStream,
        journal: Journal,
        stop: threading.Event,
    ) -> Iterator[Frame]:
        want, base, rate = self.selection, stream.time_base, nominal_rate(stream)
        assert base is not None  # every demuxed stream has one
        step = max(1, round(1 / (rate * base)))
        numbers = _Numbers(self._seek(container, stream, base))
        origin, pts, in_window, taken, end_s = stream.start_time, None, 0, 0, 0.0
        for picture in _decode(container, stream, numbers, self.source, journal):
            if stop.is_set():
                return
            if picture.pts is not None:
                pts = picture.pts if pts is None else max(picture.pts, pts + 1)  # the encoder wants them to rise
            else:
                pts = (origin or 0) if pts is None else pts + step  # raw streams carry no timestamps
            origin = pts if origin is None else origin
            index = numbers.number(picture.pts)
            duration = picture.duration or step
            time_s, end_s = float((pts - origin) * base), float((pts + duration - origin) * base)
            if time_s >= want.end:
                return
            if time_s < want.start:
                continue
            in_window += 1
            if (in_window - 1) % want.every:
                continue
            stamp = Stamp(pts, duration * want.every, base, rate / want.every)
            yield Frame(self.source, self.name, "video", index, time_s, to_rgb(picture), stamp)
            taken += 1
            if taken == want.max_frames:
                return
        if pts is None:
            raise SourceError("no frame can be decoded: the file is damaged or was cut off")
        self._warn_if_cut(container, stream, end_s, journal)
        if not in_window:
            journal.warn(f"{self.source}: ends at {end_s:.1f} s, before --start {want.start:g} s; no frames")

    def _seek(
        self, container: av.container.InputContainer, stream: av.video.stream.VideoStream, base: Fraction
    ) -> list[int]:
        """Jump to the key frame before --start. Returns the pts of the frames up to there, to number frames by.

        Reading packets without decoding them is some hundred times faster than decoding.
        """
        if self.selection.start == 0 or "://" in self.location:
            return []
        target = (stream.start_time or 0) + round(self.selection.start / base)
        stamps: list[int] = []
        for packet in container.demux(stream):
            if packet.pts is None and packet.size:
                stamps = []  # frames without timestamps: nothing to seek by, so decode from the beginning
                break
            if packet.pts is not None and not packet.is_discard:
                stamps.append(packet.pts)
            if packet.dts is not None and packet.dts > target:
                break
        container.seek(target if stamps else (stream.start_time or 0), backward=True, stream=stream)
        return stamps

    def _warn_if_cut(
        self,
        container: av.container.InputContainer,
        stream: av.video.stream.VideoStream,
        end_s: float,
        journal: Journal,
    ) -> None:
        length = _length_s(container, stream)
        # Where only the container states a length, its sound may outlast its picture a little.
        tolerance = 0.5 if stream.duration is not None else 2.0
        if length is not None and end_s < length - tolerance:
            journal.warn(f"{self.source}: cut off or damaged: frames up to {end_s:.1f} s of {length:.1f} s are done")


class _Numbers:
    """Numbers frames by the timestamps of all packets, so that those after a frame lost to damage keep their number.

    A packet is read before its frame comes out, and so are those of all frames shown before it: the number of a frame
    is how many packets with an earlier timestamp were read.
    """

    def __init__(self, passed: list[int]) -> None:
        self._waiting = sorted(passed)  # a heap
        self._passed = frozenset(passed)  # read once more after the seek
        self._next = 0

    def saw(self, packet: av.Packet) -> None:
        if packet.pts is not None and not packet.is_discard and packet.pts not in self._passed:
            heapq.heappush(self._waiting, packet.pts)

    def number(self, pts: int | None) -> int:
        while pts is not None and self._waiting and self._waiting[0] < pts:
            heapq.heappop(self._waiting)
            self._next += 1
        if self._waiting and self._waiting[0] == pts:
            heapq.heappop(self._waiting)
        self._next += 1
        return self._next - 1


def _decode(
    container: av.container.InputContainer,
    stream: av.video.stream.VideoStream,
    numbers: _Numbers,
    source: str,
    journal: Journal,
) -> Iterator[av.VideoFrame]:
    """Every frame that can be decoded. A damaged packet costs its frame; a damaged container ends the video."""
    damaged = 0
    packets = container.demux(stream)
    while True:
        try:
            packet = next(packets)
        except StopIteration:
            break
        except av.error.FFmpegError as error:
            journal.warn(f"{source}: cannot be read further ({error.strerror}); frames up to here are done")
            with contextlib.suppress(av.error.FFmpegError):
                yield from stream.codec_context.decode(None)  # what the decoder's threads still hold
            break
        numbers.saw(packet)
        try:
            yield from packet.decode()
        except av.error.FFmpegError:
            damaged += 1
    if damaged:
        journal.warn(f"{source}: damaged in {damaged} places; frames there are missing")


def _length_s(container: av.container.InputContainer, stream: av.video.stream.VideoStream) -> float | None:
    if stream.duration is not None and stream.time_base is not None:
        return float(stream.duration * stream.time_base)
    return None if container.duration is None else container.duration / 1_000_000
