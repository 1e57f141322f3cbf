"""H.264 in mp4 that plays in a browser, with the timestamps of the source."""

from __future__ import annotations

import os
from contextlib import ExitStack
from fractions import Fraction
from pathlib import Path

import av
import av.container
import av.video.stream
import cv2
import numpy as np
from numpy.typing import NDArray

from detector.video.frames import Stamp
from system.files import giving_up, replacing

_BT601 = 6  # SMPTE 170M: the matrix of OpenCV's RGB -> YUV; written into the file so that players undo the same one
_LIMITED_RANGE = 1
# No B-frames: with them an mp4 orders frames by decoding time, and the duration of a variable frame rate gets lost.
# Preset and quality by python -m benchmarks.stages: beside superfast at 24 a file looks the same and is a quarter
# larger, for a third less work. Ultrafast leaves out deblocking and the large transform, which cost little.
X264 = {"preset": "ultrafast", "crf": "26", "bf": "0", "x264-params": "deblock=1:8x8dct=1"}


class VideoEncoder:
    """Frames [H, W, 3] RGB in, one mp4 out, which appears under its name when it is closed and can be played.

    Browsers play 4:2:0 colour only, and that needs even sides: an odd side gets one more row or column, a copy of the
    last one. Frames of another size than the first (a stream that changed) are resized to it.
    """

    def __init__(self, path: Path, image: NDArray[np.uint8], stamp: Stamp) -> None:
        self.path = path
        self._size = image.shape[:2]
        self._base = stamp.time_base
        self._first: int | None = None
        self._last = -1
        height, width = (side + side % 2 for side in self._size)
        path.parent.mkdir(parents=True, exist_ok=True)
        with ExitStack() as stack:
            partial = stack.enter_context(replacing(path))
            self._container: av.container.OutputContainer = av.open(
                os.path.abspath(partial), "w", format="mp4", options={"movflags": "+faststart"}
            )
            self._whole = stack.pop_all()  # shows the file when it is left without a fault
        self._stream: av.video.stream.VideoStream = self._container.add_stream(
            "libx264", rate=stamp.rate.limit_denominator(60_000), options=X264
        )
        self._stream.width, self._stream.height, self._stream.pix_fmt = width, height, "yuv420p"
        context = self._stream.codec_context
        context.time_base = stamp.time_base
        context.colorspace, context.color_range = _BT601, _LIMITED_RANGE

    def write(self, image: NDArray[np.uint8], stamp: Stamp) -> None:
        if image.shape[:2] != self._size:
            image = np.asarray(cv2.resize(image, self._size[::-1], interpolation=cv2.INTER_AREA), dtype=np.uint8)
        bottom, right = (side % 2 for side in self._size)
        if bottom or right:
            image = np.asarray(cv2.copyMakeBorder(image, 0, bottom, 0, right, cv2.BORDER_REPLICATE), dtype=np.uint8)
        # OpenCV converts three times as fast as FFmpeg's scaler does.
        yuv = np.asarray(cv2.cvtColor(image, cv2.COLOR_RGB2YUV_I420), dtype=np.uint8)
        frame = av.VideoFrame.from_ndarray(yuv, format="yuv420p")
        self._first = stamp.pts if self._first is None else self._first
        self._last = frame.pts = max(self._last + 1, self._rescale(stamp.pts - self._first, stamp.time_base))
        frame.duration = max(1, self._rescale(stamp.duration, stamp.time_base))
        frame.time_base = self._base
        frame.colorspace, frame.color_range = _BT601, _LIMITED_RANGE
        with giving_up(self._whole):
            self._container.mux(self._stream.encode(frame))

    def close(self) -> None:
        """Flush what the encoder holds back, write the index, show the file under its name."""
        with self._whole:
            try:
                self._container.mux(self._stream.encode(None))
            finally:
                self._container.close()

    def _rescale(self, ticks: int, base: Fraction) -> int:
        return ticks if base == self._base else round(ticks * base / self._base)
