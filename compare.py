#!/usr/bin/env python3
"""Train several variants by one recipe, into one table: python compare.py configs/compare-cifar10.yaml"""

from __future__ import annotations

import sys


def main() -> int:
    from classifier.compare import ClassificationJudge
    from detector.compare import DetectionJudge
    from system.command import door
    from training.compare import Judges, command

    # A recipe without a `task:` is of the first.
    judges: Judges = {"detection": DetectionJudge(), "classification": ClassificationJudge()}
    about = "Train several variants, of a detector or of a classifier, by one recipe, into one table."
    return command(judges, door("compare"), about, "configs/compare-kitti.yaml or configs/compare-cifar10.yaml")


if __name__ == "__main__":
    sys.exit(main())
