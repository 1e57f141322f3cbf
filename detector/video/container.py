"""What video files and network streams have in common: opening with PyAV, and decoded frames to upright RGB arrays."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import av
import av.container
import av.video.stream
import cv2
import numpy as np
from numpy.typing import NDArray

from detector.video.frames import SourceError

_TURNS = {90: cv2.ROTATE_90_COUNTERCLOCKWISE, 180: cv2.ROTATE_180, 270: cv2.ROTATE_90_CLOCKWISE}


def open_video(
    location: str, options: dict[str, str] | None = None, timeout: Any = None
) -> tuple[av.container.InputContainer, av.video.stream.VideoStream]:
    """The container and its first video stream; SourceError says in plain words why not."""
    try:
        container = av.open(location, options=options or {}, timeout=timeout, metadata_errors="replace")
    except av.error.ExitError:
        raise SourceError("no answer in time") from None
    except av.error.InvalidDataError:
        raise SourceError("not a video that can be decoded: damaged, cut off, or something else") from None
    except (av.error.FFmpegError, OSError) as error:
        raise SourceError(f"cannot be opened: {getattr(error, 'strerror', None) or error}") from None
    if not container.streams.video:
        container.close()
        raise SourceError(f"holds no video (container {container.format.name})")
    stream = container.streams.video[0]
    if stream.codec_context is None or not stream.codec_context.width:
        container.close()
        raise SourceError("the video's size cannot be found: the file is damaged, or its codec is unknown")
    return container, stream


def to_rgb(frame: av.VideoFrame) -> NDArray[np.uint8]:
    """uint8 [H, W, 3] RGB, turned upright by the container's display matrix (phones film sideways)."""
    # One thread: the converter writes past a row of odd width, over the slice that another thread has just made.
    image = frame.to_ndarray(format="rgb24", threads=1)
    turn = _TURNS.get(round(frame.rotation) % 360)
    return np.asarray(image if turn is None else cv2.rotate(image, turn), dtype=np.uint8)


def nominal_rate(stream: av.video.stream.VideoStream) -> Fraction:
    """Frames a second as the container says, 25 where it says nothing that can be believed."""
    rate = stream.average_rate or stream.guessed_rate
    return Fraction(rate) if rate and 0 < rate <= 1000 else Fraction(25)
