#!/usr/bin/env python3
"""Train a network. The settings come from a YAML file and from section.key=value on the command line."""

from __future__ import annotations

import argparse
import sys

from classifier.config import Config as ClassifierConfig
from detector.config import Config as DetectorConfig
from system.command import Parser, door, exit_status
from training.config import RunConfig, check_words, settings_help

# A config without a `task:` is of the first.
CONFIGS: dict[str, type[RunConfig]] = {"detection": DetectorConfig, "classification": ClassifierConfig}
EXAMPLES = """examples:
  {here} configs/kitti.yaml data.root=datasets/kitti
  {here} configs/kitti.yaml network.attention=se network.placement=all optimizer.lr=0.05
  {here} configs/cifar10.yaml network.attention=se network.placement=all
  {here} --resume runs/kitti
  torchrun --nproc-per-node 2 --no-python {here} configs/kitti.yaml
"""


def _settings() -> str:
    """All of them, with their meaning."""
    of_classifiers = settings_help(ClassifierConfig, beside=DetectorConfig)
    return (
        f"\nsettings (name = default, type, meaning):\n{settings_help(DetectorConfig)}\n\n"
        f"other settings with task: classification in the file:\n{of_classifiers}"
    )


def main() -> int:
    asked = not {"-h", "--help"}.isdisjoint(sys.argv)
    here = door("train")
    parser = Parser(
        prog=here,
        description="Train a detector (KITTI's layout, YOLO's or COCO's files) or a classifier (class folders).",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog=EXAMPLES.format(here=here) + (_settings() if asked else ""),
    )
    parser.add_argument("config", nargs="?", metavar="CONFIG", help="a file of configs/; may be left out with --resume")
    parser.add_argument("overrides", nargs="*", metavar="section.key=value", help="settings that differ")
    parser.add_argument("--resume", metavar="RUN_DIR", help="go on where this run folder's last.pt stopped")
    parser.add_argument("--name", help="name of the run folder (default: the config's name)")
    arguments = parser.parse_intermixed_args()
    if arguments.config and "=" in arguments.config:  # with --resume, overrides may come without a file
        arguments.overrides.insert(0, arguments.config)
        arguments.config = None

    def work() -> int:
        check_words(CONFIGS, arguments.config, arguments.overrides)  # at once; the rest imports torch
        from classifier.task import ClassificationTask
        from detector.task import DetectionTask
        from training.run import Tasks, train_run

        tasks: Tasks = {DetectionTask.name: DetectionTask, ClassificationTask.name: ClassificationTask}
        return train_run(tasks, arguments.config, arguments.overrides, arguments.resume, arguments.name)

    return exit_status(work)


if __name__ == "__main__":
    sys.exit(main())
