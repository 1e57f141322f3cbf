"""A detector that needs no weights, and tiny files to feed it."""

from __future__ import annotations

import time
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from detector.inference.detections import Detections

CLASSES = ("Car", "Pedestrian")


class BrightSpot:
    """Finds the bounding box of what is brighter than 200 in red: a Car. One box a frame, score 0.9."""

    classes = CLASSES

    def __init__(self, seconds: float = 0.0, fail_at: int | None = None, ahead: int = 1) -> None:
        self.timings = {"preprocess": 0.0, "network": 0.0, "postprocess": 0.0, "images": 0.0}
        self.seconds = seconds
        self.fail_at = fail_at
        self.ahead = ahead
        self.begun = self.most_begun = 0
        self.calls: list[int] = []

    def start(self, images):
        self.begun += 1
        self.most_begun = max(self.begun, self.most_begun)
        return lambda: self.predict(images)

    def predict(self, images):
        self.begun -= 1
        time.sleep(self.seconds)
        self.calls.append(len(images))
        if self.fail_at is not None and sum(self.calls) > self.fail_at:
            raise RuntimeError("the network broke")
        self.timings["network"] += self.seconds
        self.timings["images"] += len(images)
        return [self._find(image) for image in images]

    def _find(self, image):
        assert image.dtype == np.uint8 and image.ndim == 3 and image.shape[2] == 3
        rows, columns = np.nonzero(image[..., 0] > 200)
        if not len(rows):
            return Detections(np.zeros((0, 4), np.float32), np.zeros(0, np.float32), np.zeros(0, np.int64))
        box = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
        return Detections(np.array([box], np.float32), np.array([0.9], np.float32), np.zeros(1, np.int64))


def picture(number: int = 0, height: int = 96, width: int = 160) -> np.ndarray:
    """Dark, with a red 24 x 16 object that moves right by 2 pixels a frame."""
    image = np.full((height, width, 3), 40, np.uint8)
    left = 8 + 2 * number % (width - 40)
    image[40:56, left : left + 24] = (250, 30, 30)
    return image


def make_video(
    path: Path, frames: int = 12, rate: int = 10, pts=None, size=(96, 160), codec="libx264", **container
) -> Path:
    """`pts`: milliseconds of each frame, for a variable frame rate."""
    with av.open(str(path), "w", **container) as out:
        stream = out.add_stream(codec, rate=rate)
        stream.height, stream.width, stream.pix_fmt = *size, "yuv420p"
        if codec == "libx264":
            stream.options = {"preset": "ultrafast", "threads": "3"}  # the same stream whatever the cores
        if pts is not None:
            stream.codec_context.time_base = Fraction(1, 1000)
        for number in range(frames):
            frame = av.VideoFrame.from_ndarray(picture(number, *size), format="rgb24")
            if pts is not None:
                frame.pts, frame.time_base = pts[number], Fraction(1, 1000)
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    return path


def decode(path: Path) -> tuple[list[np.ndarray], list[float], float]:
    """Frames, their times and the duration in seconds, as a player sees them."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        frames = list(container.decode(stream))
        return (
            [frame.to_ndarray(format="rgb24") for frame in frames],
            [float(frame.pts * stream.time_base) for frame in frames],
            float(stream.duration * stream.time_base),
        )
