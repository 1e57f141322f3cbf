"""How many cars cross a line? Detections of ours, ids from `trackers`, the line from `supervision`.

    python -m examples.count_cars drive.mp4                          # a line down the middle
    python -m examples.count_cars drive.mp4 --line 0 250 1242 250    # x1 y1 x2 y2, in pixels of the video

A car that goes from the line's left to its right, seen along the line, counts as out; the other way as in.
"""

from __future__ import annotations

import argparse

import supervision as sv
from trackers import ByteTrackTracker

from detector import Detector


def count_cars(video: str, weights: str, line: list[int] | None = None) -> tuple[int, int]:
    """(in, out)"""
    detector = Detector(weights, classes=["Car"])
    tracker = ByteTrackTracker(track_activation_threshold=0.4, high_conf_det_threshold=0.4)
    zone = None
    for frame, found in detector.video(video):
        if zone is None:
            height, width = frame.image.shape[:2]
            x1, y1, x2, y2 = line or (width // 2, 0, width // 2, height)
            zone = sv.LineZone(sv.Point(x1, y1), sv.Point(x2, y2), triggering_anchors=[sv.Position.CENTER])
        zone.trigger(tracker.update(found.to_supervision()))
    return (zone.in_count, zone.out_count) if zone else (0, 0)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m examples.count_cars", description="Count cars across a line.")
    parser.add_argument("video")
    parser.add_argument("--weights", default="kitti-light", metavar="W")
    parser.add_argument("--line", type=int, nargs=4, metavar=("X1", "Y1", "X2", "Y2"))
    args = parser.parse_args()
    into, out = count_cars(args.video, args.weights, args.line)
    print(f"cars in: {into}, out: {out}")


if __name__ == "__main__":
    main()
