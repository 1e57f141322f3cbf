#!/usr/bin/env python3
"""Train several variants by one recipe, into one table: python compare.py configs/compare-cifar10.yaml"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from classifier.config import Config as ClassifierConfig
from detector.config import Config as DetectorConfig
from system.command import door
from training.comparison import command
from training.config import RunConfig

# A recipe without a `task:` is of the first.
CONFIGS: dict[str, type[RunConfig]] = {"detection": DetectorConfig, "classification": ClassifierConfig}


def _compare(comparison: Path, overrides: Sequence[str], only: Sequence[str], seeds: Sequence[int]) -> int:
    from classifier.compare import ClassificationJudge
    from detector.compare import DetectionJudge
    from training.compare import Judges, compare

    judges: Judges = {"detection": DetectionJudge(), "classification": ClassificationJudge()}
    return compare(judges, comparison, overrides, only, seeds)


def main() -> int:
    about = "Train several variants, of a detector or of a classifier, by one recipe, into one table."
    return command(
        CONFIGS, _compare, door("compare"), about, "configs/compare-kitti.yaml or configs/compare-cifar10.yaml"
    )


if __name__ == "__main__":
    sys.exit(main())
