"""Where results go: pictures, videos and data files. Every sink names its files after the source's unique name."""

from __future__ import annotations

import contextlib
import csv
import json
import os
import sys
import threading
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import av
import cv2
import numpy as np

from data.formats.kitti import write_labels
from data.images import ImageError, write_image
from detector.inference.detections import BOX_DECIMALS, SCORE_DECIMALS, Detections, to_labels, to_objects
from detector.video.encoder import VideoEncoder
from detector.video.frames import Frame, SourceError
from system.files import naming, replacing

SAVES = ("image", "video", "kitti", "json", "csv", "coco", "mot")


@dataclass(frozen=True, slots=True)
class Result:
    """One frame and what was found in it; `ids` run beside the detections when tracking."""

    frame: Frame
    detections: Detections
    classes: Sequence[str]
    ids: Sequence[int | None] | None = None

    @property
    def stem(self) -> str:
        """Name of this frame's own files: an image's name, or the video's with the frame number as in KITTI."""
        return self.frame.name if self.frame.kind == "image" else f"{self.frame.name}/{self.frame.index:06d}"


class Sink(Protocol):
    wants_drawing: bool  # False: sees the frame before boxes are drawn into it

    def write(self, result: Result) -> None: ...

    def end(self, name: str) -> None:
        """No more frames will come of the source called `name`."""

    def close(self) -> None: ...


class FrameFiles:
    """Base of the sinks that write files frame by frame and have nothing to finish."""

    wants_drawing = False

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def end(self, name: str) -> None:
        pass

    def close(self) -> None:
        pass

    def place(self, stem: str, suffix: str) -> Path:
        path = self.folder / f"{stem}{suffix}"
        if not path.resolve().is_relative_to(self.folder.resolve()):  # stem has names from files that others wrote
            raise SourceError(f"{stem}{suffix} lies outside {self.folder}; nothing is written there")
        path.parent.mkdir(parents=True, exist_ok=True)
        return path


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


class KittiSink(FrameFiles):
    """kitti/<stem>.txt in KITTI's result format, an empty file where nothing was found."""

    def write(self, result: Result) -> None:
        write_labels(self.place(result.stem, ".txt"), to_labels(result.detections, result.classes))


class GrowingFile:
    """A text file that grows under another name, and appears under its own when it is closed."""

    def __init__(self, path: Path) -> None:
        with ExitStack() as stack:
            partial = stack.enter_context(replacing(path))
            file = stack.enter_context(open(partial, "w", encoding="utf-8", newline="\n"))
            self._whole = stack.pop_all()
        self.write = file.write

    def close(self) -> None:
        self._whole.close()


class CocoSink:
    """coco.json: COCO's results of the whole run, an object a line. `image_id` is the number that names the picture."""

    wants_drawing = False

    def __init__(self, path: Path) -> None:
        self._file = GrowingFile(path)
        self._between = "[\n"

    def write(self, result: Result) -> None:
        stem = result.stem
        for entry in result.detections.to_coco(int(stem) if stem.isdecimal() else stem):
            self._file.write(self._between + json.dumps(entry, ensure_ascii=False))
            self._between = ",\n"

    def end(self, name: str) -> None:
        pass

    def close(self) -> None:
        self._file.write("[]\n" if self._between == "[\n" else "\n]\n")
        self._file.close()


class MotSink(FrameFiles):
    """mot/<name>.txt of every video, mot.txt of all pictures together, in MOTChallenge's format: frame, id, left, top,
    width, height, score, -1, -1, -1. Frames, ids and pixels count from 1 there.
    """

    def __init__(self, folder: Path, of_pictures: Path) -> None:
        super().__init__(folder)
        self._of_pictures = of_pictures
        self._pictures = 0
        self._files: dict[str, GrowingFile] = {}

    def write(self, result: Result) -> None:
        frame, found = result.frame, result.detections
        is_picture = frame.kind == "image"
        self._pictures += is_picture
        number = self._pictures if is_picture else frame.index + 1
        file = self._file("" if is_picture else frame.name)
        for (x1, y1, x2, y2), score, track in zip(
            found.boxes.tolist(), found.scores.tolist(), result.ids or [None] * len(found), strict=True
        ):
            if track is not None:
                place = ",".join(f"{v:.{BOX_DECIMALS}f}" for v in (x1 + 1, y1 + 1, x2 - x1, y2 - y1))
                file.write(f"{number},{track},{place},{score:.{SCORE_DECIMALS}f},-1,-1,-1\n")

    def end(self, name: str) -> None:
        if (file := self._files.pop(name, None)) is not None:
            file.close()

    def close(self) -> None:
        for name in list(self._files):
            self.end(name)

    def _file(self, name: str) -> GrowingFile:
        if name not in self._files:
            self._files[name] = GrowingFile(self.place(name, ".txt") if name else self._of_pictures)
        return self._files[name]


class VideoSink:
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


class JsonSink:
    """detections.jsonl: one line a frame, written as it is known, so that a crash loses no finished frame."""

    wants_drawing = False

    def __init__(self, path: Path) -> None:
        self._file = open(path, "w", encoding="utf-8", newline="\n")  # noqa: SIM115 - open as long as the sink

    def write(self, result: Result) -> None:
        frame, found = result.frame, result.detections
        objects = to_objects(found, result.classes)
        if result.ids is not None:
            for entry, track in zip(objects, result.ids, strict=True):
                entry["id"] = track
        line = {
            "source": frame.source,
            "frame": frame.index,
            "time_s": round(frame.time_s, 6),
            "width": frame.image.shape[1],
            "height": frame.image.shape[0],
            "detections": objects,
        }
        with naming(self._file.name):
            self._file.write(json.dumps(line, ensure_ascii=False) + "\n")
            self._file.flush()

    def end(self, name: str) -> None:
        pass

    def close(self) -> None:
        self._file.close()


class CsvSink:
    """detections.csv: one line an object."""

    wants_drawing = False
    COLUMNS = ("source", "frame", "time_s", "class", "score", "x1", "y1", "x2", "y2")

    def __init__(self, path: Path, with_ids: bool) -> None:
        self._file = open(path, "w", encoding="utf-8", newline="")  # noqa: SIM115 - open as long as the sink
        self._rows = csv.writer(self._file, lineterminator="\n")
        self._rows.writerow((*self.COLUMNS, "id") if with_ids else self.COLUMNS)

    def write(self, result: Result) -> None:
        frame, found = result.frame, result.detections
        rows = []
        for index, (box, score, label) in enumerate(zip(found.boxes, found.scores, found.labels, strict=True)):
            row = [frame.source, frame.index, round(frame.time_s, 6), result.classes[label], round(float(score), 6)]
            row += [round(float(v), 3) for v in box]
            if result.ids is not None:
                track = result.ids[index]
                row.append("" if track is None else track)
            rows.append(row)
        with naming(self._file.name):
            self._rows.writerows(rows)
            self._file.flush()

    def end(self, name: str) -> None:
        pass

    def close(self) -> None:
        self._file.close()


class WindowSink:
    """A window per source; q, Esc or closing a window stops the run. Must live in the main thread, as windows do."""

    wants_drawing = True

    def __init__(self, stop: threading.Event) -> None:
        self._stop = stop

    def write(self, result: Result) -> None:
        title = "images" if result.frame.kind == "image" else result.frame.source
        cv2.imshow(title, cv2.cvtColor(result.frame.image, cv2.COLOR_RGB2BGR))
        if cv2.waitKey(1) & 0xFF in (ord("q"), 27) or cv2.getWindowProperty(title, cv2.WND_PROP_VISIBLE) < 1:
            self._stop.set()

    def end(self, name: str) -> None:
        pass

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


def make_sinks(
    folder: Path, saves: Sequence[str], crops: bool, show: bool, with_ids: bool, part: str, stop: threading.Event
) -> list[Sink]:
    """The sinks asked for. `part` ("" or ".rank1") keeps files shared by processes apart until they merge."""
    sinks: list[Sink] = []
    if crops:
        sinks.append(CropSink(folder / "crops"))
    if "kitti" in saves:
        sinks.append(KittiSink(folder / "kitti"))
    if "json" in saves:
        sinks.append(JsonSink(folder / f"detections{part}.jsonl"))
    if "csv" in saves:
        sinks.append(CsvSink(folder / f"detections{part}.csv", with_ids))
    if "coco" in saves:
        sinks.append(CocoSink(folder / f"coco{part}.json"))
    if "mot" in saves:
        sinks.append(MotSink(folder / "mot", folder / f"mot{part}.txt"))
    if "image" in saves:
        sinks.append(ImageSink(folder / "image", image_files_only="video" in saves))
    if "video" in saves:
        sinks.append(VideoSink(folder / "video"))
    if show:
        sinks.append(WindowSink(stop))
    return sinks
