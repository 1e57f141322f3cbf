"""python -m data.scenes ROOT [--frames N] [--video FILE] [--seed S] [--format kitti|yolo|coco]"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from pathlib import Path

from data.convert import check_free, convert
from data.formats import WRITTEN, open_source
from data.scenes.annotate import SMALLEST
from data.scenes.write import check_clip, make_clip, make_coco_scenes, make_scenes
from system.command import Parser, count, exit_status


def main(arguments: list[str] | None = None) -> int:
    parser = Parser(prog="python -m data.scenes", description="Make driving scenes out of nothing.")
    parser.add_argument("root", metavar="ROOT", help="folder of the dataset: new, empty, or made by this command")
    parser.add_argument(
        "--frames", type=int, default=300, metavar="N", help="pictures to draw (default 300; 0: only the video)"
    )
    parser.add_argument(
        "--video", metavar="FILE", help="also write a dashcam clip, FILE.mp4, and FILE_labels/ beside it"
    )
    parser.add_argument(
        "--video-frames",
        type=int,
        default=100,
        metavar="N",
        help="length of the clip, at 10 frames a second (default 100)",
    )
    parser.add_argument(
        "--seed", type=int, default=0, metavar="S", help="the same seed makes the same files (default 0)"
    )
    parser.add_argument(
        "--val-share", type=float, default=0.2, metavar="P", help="share of the frames for validation (default 0.2)"
    )
    parser.add_argument(
        "--workers",
        type=count,
        default=os.cpu_count() or 1,
        metavar="N",
        help="processes that draw (default: one a core)",
    )
    parser.add_argument(
        "--min-height",
        type=float,
        default=SMALLEST,
        metavar="PX",
        help=f"annotate objects from this height on, make the rest DontCare (default {SMALLEST:g}; KITTI easy: 40)",
    )
    parser.add_argument(
        "--format",
        choices=WRITTEN,
        default="kitti",
        help="format of the pictures' data set (default kitti); coco has masks",
    )
    options = parser.parse_args(arguments)
    return exit_status(lambda: _run(options))


def _run(options: argparse.Namespace) -> None:
    if options.video:
        check_clip(Path(options.video), options.video_frames)
    if options.format == "coco":
        root = Path(options.root).absolute()
        check_free(root)
        words = options.frames, options.seed, options.val_share, options.workers
        print(make_coco_scenes(root, *words, smallest=options.min_height))
    elif options.format != "kitti":
        _make_converted(options)
    elif options.frames or not options.video:
        _make(options.root, options)
    if options.video:
        make_clip(options.video, options.video_frames, options.seed, smallest=options.min_height)


def _make(root: str, options: argparse.Namespace) -> None:
    words = options.frames, options.seed, options.val_share, options.workers
    make_scenes(root, *words, smallest=options.min_height)


def _make_converted(options: argparse.Namespace) -> None:
    """Beside ROOT in KITTI's layout first, so that the pictures need no copying."""
    root = Path(options.root).absolute()
    check_free(root)
    root.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=root.parent, prefix=f".{root.name}.") as folder:
        _make(folder, options)
        print(convert(open_source(folder), root, options.format, {}, "hard"))


if __name__ == "__main__":
    sys.exit(main())
