"""Stable ids through a video, from the `trackers` package; one tracker a source.

ByteTrack: Zhang et al., ECCV 2022. BoT-SORT: Aharon et al., 2022, which also undoes the camera's motion between frames.
"""

from __future__ import annotations

import importlib
from collections import defaultdict
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from detector.inference.detections import Detections

NEEDS = "--track needs the package trackers: pip install 'trackers>=2.6'"
TRACKERS = {"bytetrack": "ByteTrackTracker", "botsort": "BoTSORTTracker"}
DEFAULT_TRACKER = "bytetrack"
LOST_S = 1.0  # an object may be hidden this long and keep its id


def require_trackers() -> None:
    """Import the package now, which takes a second, or say what to install."""
    try:
        importlib.import_module("trackers")
    except ImportError as error:
        raise ValueError(f"{NEEDS} ({error})") from None


class Tracker:
    """Ids for the objects of one source, from 1 up; frames must come in order.

    Objects are matched by place and motion, not class: a van taken for a car in some frames stays one object.
    """

    def __init__(self, rate: float, conf: float, kind: str = DEFAULT_TRACKER) -> None:
        require_trackers()
        import trackers

        sure = max(conf, 0.4)  # from here up an object may start a track; less sure ones only continue one
        self._sees = kind == "botsort"
        self._tracker: Any = getattr(trackers, TRACKERS[kind])(
            lost_track_buffer=round(30 * LOST_S),  # counted in frames of 30 a second, rescaled by frame_rate
            frame_rate=max(1.0, rate),
            track_activation_threshold=sure,
            high_conf_det_threshold=sure,
            minimum_consecutive_frames=2,
        )
        self._votes: dict[int, dict[int, float]] = defaultdict(lambda: defaultdict(float))

    def update(self, detections: Detections, image: NDArray[np.uint8]) -> list[int | None]:
        """One id a detection of this image [H, W, 3] RGB, in their order; None for an object not seen twice yet."""
        import supervision

        order = np.arange(len(detections))
        tracked = self._tracker.update(
            supervision.Detections(
                xyxy=detections.boxes.reshape(-1, 4).astype(np.float64),
                confidence=detections.scores,
                data={"order": order},
            ),
            frame=cv2.cvtColor(image, cv2.COLOR_RGB2BGR) if self._sees else None,
        )
        ids: list[int | None] = [None] * len(detections)
        if len(tracked) == 0 or tracked.tracker_id is None:
            return ids
        for position, track in zip(tracked.data["order"], tracked.tracker_id, strict=True):
            if track < 0:
                continue
            ids[position] = int(track) + 1  # people count from 1
            self._votes[int(track)][int(detections.labels[position])] += float(detections.scores[position])
        return ids

    def tracks_per_class(self, number_of_classes: int) -> list[int]:
        """How many objects were followed; each counts for the class it was called most, weighted by score."""
        counts = [0] * number_of_classes
        for votes in self._votes.values():
            counts[max(votes, key=votes.__getitem__)] += 1
        return counts
