"""Where the results of a run go."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path

from detector.video.data_files import CocoSink, CsvSink, JsonSink, KittiSink, MotSink
from detector.video.picture_files import CropSink, ImageSink, VideoSink, WindowSink
from detector.video.sink import Sink

SAVES = ("image", "video", "kitti", "json", "csv", "coco", "mot")


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
        sinks.append(MotSink(folder / "mot", folder / "mot.txt"))
    if "image" in saves:
        sinks.append(ImageSink(folder / "image", image_files_only="video" in saves))
    if "video" in saves:
        sinks.append(VideoSink(folder / "video"))
    if show:
        sinks.append(WindowSink(stop))
    return sinks
