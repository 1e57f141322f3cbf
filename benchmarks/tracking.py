"""How well does --track keep objects apart? python -m benchmarks.tracking [--weights W] [--clip FILE ...]

Drives through drawn streets, where it is known who is who. Every tracker gets the same detections, and is scored by
MOTA and IDF1 (CLEAR MOT and identity metrics, at an overlap of .5) of the cars, in the implementation of the `trackers`
package. Vans, trucks and what is too far to be labelled count neither way. With --shake the camera shakes as on a bad
road. Of real clips, which have no labels, it is counted how many tracks there are and how long they last.
"""

from __future__ import annotations

import argparse
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from trackers.eval import box_ioa, box_iou, compute_clear_metrics, compute_identity_metrics

from data.scenes.painter import render
from data.scenes.write import clip_world
from detector.inference.detections import Detections
from detector.inference.predictor import Predictor
from detector.video.frames import Selection
from detector.video.journal import Journal
from detector.video.tracking import TRACKERS, Tracker
from detector.video.video_file import VideoFile

CONF = 0.25
FPS = 10
NAME, LOOKS_ALIKE = "Car", ("Van", "Truck", "Tram", "Misc")
Boxes = NDArray[np.float64]


@dataclass(frozen=True)
class Moment:
    """image [H, W, 3] RGB, the boxes [n, 4] of the cars in it and who they are [n], regions [m, 4] to leave alone."""

    image: NDArray[np.uint8]
    boxes: Boxes
    identities: NDArray[np.int64]
    ignored: Boxes

    def moved(self, right: int, down: int, margin: int) -> Moment:
        """What is left of it in a window `margin` smaller on every side, moved by so many pixels."""
        left, top = margin + right, margin + down
        height, width = self.image.shape[0] - 2 * margin, self.image.shape[1] - 2 * margin
        image = np.ascontiguousarray(self.image[top : top + height, left : left + width])
        boxes, ignored = (_cut(boxes - (left, top, left, top), width, height) for boxes in (self.boxes, self.ignored))
        seen = _areas(boxes) > 0.3 * np.maximum(_areas(self.boxes), 1)
        return Moment(image, boxes[seen], self.identities[seen], np.concatenate([ignored, boxes[~seen]]))


def drive(seed: int, frames: int) -> Iterator[Moment]:
    """The drive that `python -m data.scenes --video` draws, with the identities of its cars."""
    world = clip_world(seed, frames, FPS)
    movers = [mover for mover in world.movers if mover.name == NAME]
    for index in range(frames):
        scene = world.at(index / FPS, instant=index)
        frame = render(scene)
        # a label has no identity, but a place to a centimetre
        places = scene.camera.to_camera(np.array([mover.at(index / FPS).position for mover in movers]))
        cars = [label for label in frame.labels if label.name == NAME]
        who = [int(np.abs(places - label.location).max(axis=1).argmin()) for label in cars]
        others = [label.box for label in frame.labels if label.name in (*LOOKS_ALIKE, "DontCare")]
        yield Moment(frame.image, _boxes([label.box for label in cars]), np.array(who, np.int64), _boxes(others))


def shaken(moments: Sequence[Moment], pixels: int, seed: int) -> list[Moment]:
    """As from a camera that swings by up to so many pixels, half of it between two frames."""
    rng = np.random.default_rng(seed)
    steps, at = rng.uniform(-pixels / 2, pixels / 2, (len(moments), 2)), np.zeros(2)
    swung = []
    for moment, step in zip(moments, steps, strict=True):
        at = np.clip(at + step, -pixels, pixels)
        swung.append(moment.moved(round(at[0]), round(at[1]), pixels))
    return swung


def score(moments: Sequence[Moment], found: Sequence[Detections], kind: str) -> dict[str, float]:
    """MOTA, IDF1, switches of identity, and milliseconds a frame."""
    tracker, spent = Tracker(FPS, CONF, kind), 0.0
    truth, tracks, overlaps = [], [], []
    for moment, detections in zip(moments, found, strict=True):
        started = time.perf_counter()
        ids = tracker.update(detections, moment.image)
        spent += time.perf_counter() - started
        cars = np.array([one is not None for one in ids], bool) & (np.array(detections.names) == NAME)
        boxes, names = detections.boxes[cars].astype(float), np.array([one or 0 for one in ids], np.int64)[cars]
        overlap = box_iou(moment.boxes, boxes)
        free = (overlap >= 0.5).any(axis=0) | ~(box_ioa(boxes, moment.ignored) >= 0.5).any(axis=1)
        truth.append(moment.identities)
        tracks.append(names[free])
        overlaps.append(overlap[:, free])
    clear, identity = (
        measure(truth, tracks, overlaps) for measure in (compute_clear_metrics, compute_identity_metrics)
    )
    each = 1000 * spent / len(moments)
    return {"MOTA": clear["MOTA"], "IDF1": identity["IDF1"], "switches": clear["IDSW"], "ms": each}


def look(clip: Path, predictor: Predictor, kind: str, frames: int) -> dict[str, float]:
    """Of a clip without labels: how many tracks, how many frames each lasts, how many less than half a second."""
    source = VideoFile(str(clip), str(clip), clip.stem, Selection(max_frames=frames))
    tracker, lengths = None, Counter[int]()
    rate = 0.0
    for frame in source.frames(Journal(), threading.Event()):
        if tracker is None:
            rate = float(frame.stamp.rate) if frame.stamp else FPS
            tracker = Tracker(rate, CONF, kind)
        lengths.update(one for one in tracker.update(predictor.predict(frame.image), frame.image) if one is not None)
    short = sum(length < rate / 2 for length in lengths.values())
    return {"tracks": len(lengths), "frames a track": float(np.mean(list(lengths.values()) or [0])), "short": short}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.tracking", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--weights", default="kitti", metavar="W", help="(default: %(default)s)")
    parser.add_argument("--seeds", type=int, nargs="*", default=[0, 1, 2], metavar="S", help="a drive each (0 1 2)")
    parser.add_argument("--frames", type=int, default=100, metavar="N", help="of each (default: %(default)s)")
    parser.add_argument("--shake", type=int, nargs="+", default=[0, 12], metavar="PX", help="(default: 0 12)")
    parser.add_argument("--clip", type=Path, nargs="+", default=[], metavar="FILE", help="videos to look at as well")
    parser.add_argument("--device", default="auto")
    args = parser.parse_args()
    predictor = Predictor(args.weights, args.device, conf=CONF)
    print(f"{'':28}{'tracker':12}{'MOTA':>8}{'IDF1':>8}{'switches':>10}{'ms a frame':>12}")
    for seed in args.seeds:
        still = list(drive(seed, args.frames))
        for pixels in args.shake:
            moments = shaken(still, pixels, seed) if pixels else still
            found = [predictor.predict(moment.image) for moment in moments]
            for kind in TRACKERS:
                row = score(moments, found, kind)
                what = f"drive {seed}, " + (f"shaken by {pixels} px" if pixels else "steady")
                print(f"{what:28}{kind:12}{row['MOTA']:8.3f}{row['IDF1']:8.3f}{row['switches']:10d}{row['ms']:12.1f}")
    for clip in args.clip:
        for kind in TRACKERS:
            row = look(clip, predictor, kind, args.frames)
            print(f"{clip.stem[:26]:28}{kind:12}" + ", ".join(f"{name} {value:.4g}" for name, value in row.items()))


def _boxes(rows: Sequence[Sequence[float]]) -> Boxes:
    return np.array(rows, float).reshape(-1, 4)


def _cut(boxes: Boxes, width: int, height: int) -> Boxes:
    return np.clip(boxes, 0, (width, height, width, height))


def _areas(boxes: Boxes) -> Boxes:
    return (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])


if __name__ == "__main__":
    main()
