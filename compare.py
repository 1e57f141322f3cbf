#!/usr/bin/env python3
"""Train several variants by one recipe, into one table: python compare.py configs/compare-cifar10.yaml"""

from __future__ import annotations

import sys

from classifier.config import Config as ClassifierConfig
from detector.config import Config as DetectorConfig
from system.command import door, exit_status
from training.comparison import check_labels, parse_words, read_at_once
from training.config import RunConfig

# A recipe without a `task:` is of the first.
CONFIGS: dict[str, type[RunConfig]] = {"detection": DetectorConfig, "classification": ClassifierConfig}


def main() -> int:
    about = "Train several variants, of a detector or of a classifier, by one recipe, into one table."
    words = parse_words(door("compare"), about, "configs/compare-kitti.yaml or configs/compare-cifar10.yaml")

    def work() -> int:
        comparison, _ = read_at_once(CONFIGS, words.comparison, words.overrides, words.seeds)
        check_labels(words.comparison, comparison, words.only)  # the rest imports torch
        from classifier.compare import ClassificationJudge
        from detector.compare import DetectionJudge
        from training.compare import Judges, compare

        judges: Judges = {"detection": DetectionJudge(), "classification": ClassificationJudge()}
        return compare(judges, words.comparison, words.overrides, words.only, words.seeds)

    return exit_status(work)


if __name__ == "__main__":
    sys.exit(main())
