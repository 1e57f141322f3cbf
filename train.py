#!/usr/bin/env python3
"""Train a detector. The settings come from a YAML file and from section.key=value on the command line."""

from __future__ import annotations

import argparse
import sys


def main() -> int:
    from detector.config import settings_help

    parser = argparse.ArgumentParser(
        description="Train a detector on a KITTI-layout data set.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog=(
            "examples:\n"
            "  python train.py configs/kitti.yaml data.root=datasets/kitti\n"
            "  python train.py configs/kitti.yaml network.attention=se network.placement=all optimizer.lr=0.05\n"
            "  python train.py --resume runs/kitti\n"
            "  torchrun --nproc-per-node 2 train.py configs/kitti.yaml\n\n"
            "settings (name = default, type, meaning):\n" + settings_help()
        ),
    )
    parser.add_argument("config", nargs="?", metavar="CONFIG", help="a file of configs/; may be left out with --resume")
    parser.add_argument("overrides", nargs="*", metavar="section.key=value", help="settings that differ")
    parser.add_argument("--resume", metavar="RUN_DIR", help="go on where this run folder's last.pt stopped")
    parser.add_argument("--name", help="name of the run folder (default: the config's name)")
    arguments = parser.parse_intermixed_args()
    if arguments.config and "=" in arguments.config:  # with --resume, overrides may come without a file
        arguments.overrides.insert(0, arguments.config)
        arguments.config = None

    from training.run import train_run
    from training.trainer import TrainingError

    try:
        return train_run(arguments.config, arguments.overrides, arguments.resume, arguments.name)
    except (ValueError, OSError, TrainingError) as fault:
        print(f"error: {fault}", file=sys.stderr)
        return 2 if isinstance(fault, (ValueError, OSError)) else 1
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
