"""Results as pictures: drawn images, crops, videos, windows."""

from __future__ import annotations

import contextlib
import os
import sys
import threading
from pathlib import Path

import av
import cv2
import numpy as np

from data.images import ImageError, write_image
from detector.video.encoder import VideoEncoder
from detector.video.frames import SourceError
from detector.video.sink import FrameFiles, Result, Sink


class ImageSink(FrameFiles):
    """image/<stem>.jpg with boxes drawn: of image files, and of video frames unless videos are saved as videos."""

    wants_drawing = True

    def __init__(self, folder: Path, image_files_only: bool) -> None:
        super().__init__(folder)
        self.image_files_only = image_files_only

    def write(self, result: Result) -> None:
        if self.image_files_only and result.frame.kind != "image":
            return
        write_jpeg(self.place(result.stem, ".jpg"), result.frame.image)


class CropSink(FrameFiles):
    """crops/<class>/<stem>_<n>.jpg: every object cut out of the clean picture."""

    def write(self, result: Result) -> None:
        height, width = result.frame.image.shape[:2]
        for number, (box, label) in enumerate(zip(result.detections.boxes, result.detections.labels, strict=True)):
            x1, y1 = np.floor(np.maximum(box[:2], 0)).astype(int)
            x2, y2 = np.ceil(np.minimum(box[2:], (width, height))).astype(int)
            if x2 > x1 and y2 > y1:
                path = self.place(f"{result.classes[label]}/{result.stem}_{number}", ".jpg")
                write_jpeg(path, result.frame.image[y1:y2, x1:x2])


class VideoSink(Sink):
    """video/<name>.mp4 with boxes drawn, one for every video and live source."""

    wants_drawing = True

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._encoders: dict[str, VideoEncoder] = {}
        self._refused: set[str] = set()  # sources whose frames no H.264 can hold: said once

    def write(self, result: Result) -> None:
        frame = result.frame
        if frame.stamp is None:
            return  # an image
        encoder = self._encoders.get(frame.name)
        if encoder is None:
            if frame.name in self._refused:
                return
            encoder = VideoEncoder(self.folder / f"{frame.name}.mp4", frame.image, frame.stamp)
            try:
                encoder.write(frame.image, frame.stamp)
            except av.error.FFmpegError as error:
                self._refused.add(frame.name)
                with contextlib.suppress(av.error.FFmpegError):
                    encoder.close()
                size = f"{frame.image.shape[1]} x {frame.image.shape[0]}"
                mend = "--save json keeps its detections"
                raise SourceError(f"its frames of {size} cannot be saved as H.264 ({error.strerror}); {mend}") from None
            self._encoders[frame.name] = encoder
            return
        encoder.write(frame.image, frame.stamp)

    def end(self, name: str) -> None:
        if (encoder := self._encoders.pop(name, None)) is not None:
            encoder.close()

    def close(self) -> None:
        for name in list(self._encoders):
            self.end(name)


class WindowSink(Sink):
    """A window per source; q, Esc or closing a window stops the run. Must live in the main thread, as windows do."""

    wants_drawing = True

    def __init__(self, stop: threading.Event) -> None:
        self._stop = stop

    def write(self, result: Result) -> None:
        title = "images" if result.frame.kind == "image" else result.frame.source
        cv2.imshow(title, cv2.cvtColor(result.frame.image, cv2.COLOR_RGB2BGR))
        if cv2.waitKey(1) & 0xFF in (ord("q"), 27) or cv2.getWindowProperty(title, cv2.WND_PROP_VISIBLE) < 1:
            self._stop.set()

    def close(self) -> None:
        cv2.destroyAllWindows()


def require_window() -> None:
    """Say so before any work is done; without a display, OpenCV's window toolkit would end the process."""
    gui = next((line for line in cv2.getBuildInformation().splitlines() if line.strip().startswith("GUI:")), "")
    if gui.split(":")[-1].strip() in ("", "NONE"):
        raise ValueError("--show: this OpenCV is headless; drop --show, or pip install --force-reinstall opencv-python")
    if sys.platform.startswith("linux") and not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
        raise ValueError("--show: no display here (DISPLAY is not set); drop --show and look at the saved files")


def write_jpeg(path: Path, image: np.ndarray) -> None:
    """image [H, W, 3] RGB; the file appears whole or not at all."""
    try:
        write_image(path, image)
    except ImageError:
        size = f"{image.shape[1]} x {image.shape[0]}"
        raise SourceError(f"a picture of {size} cannot be saved as JPEG; --save json keeps its detections") from None
