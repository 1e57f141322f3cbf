"""Results as data: KITTI, COCO and MOTChallenge files, JSON lines, CSV."""

from __future__ import annotations

import csv
import json
from contextlib import ExitStack
from pathlib import Path

from data.formats.kitti import write_labels
from detector.inference.detections import BOX_DECIMALS, SCORE_DECIMALS, to_labels, to_objects
from detector.video.sink import FrameFiles, Result, Sink
from system.files import giving_up, naming, replacing


class KittiSink(FrameFiles):
    """kitti/<stem>.txt in KITTI's result format, an empty file where nothing was found."""

    def write(self, result: Result) -> None:
        write_labels(self.place(result.stem, ".txt"), to_labels(result.detections, result.classes))


class GrowingFile:
    """A text file that grows under another name, and appears under its own when it is closed."""

    def __init__(self, path: Path) -> None:
        with ExitStack() as stack:
            partial = stack.enter_context(replacing(path))
            self._file = stack.enter_context(open(partial, "w", encoding="utf-8", newline="\n"))
            self._whole = stack.pop_all()

    def write(self, text: str) -> None:
        with giving_up(self._whole):
            self._file.write(text)

    def close(self) -> None:
        self._whole.close()


class CocoSink(Sink):
    """coco.json: COCO's results of the whole run, an object a line. `image_id` is the number that names the picture."""

    def __init__(self, path: Path) -> None:
        self._file = GrowingFile(path)
        self._between = "[\n"

    def write(self, result: Result) -> None:
        stem = result.stem
        for entry in result.detections.to_coco(int(stem) if stem.isdecimal() else stem):
            self._file.write(self._between + json.dumps(entry, ensure_ascii=False))
            self._between = ",\n"

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


class JsonSink(Sink):
    """detections.jsonl: one line a frame, written as it is known, so that a crash loses no finished frame."""

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

    def close(self) -> None:
        self._file.close()


class CsvSink(Sink):
    """detections.csv: one line an object."""

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

    def close(self) -> None:
        self._file.close()
