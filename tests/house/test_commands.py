"""Every command in README and docs is one that its program takes, and those that need little are run.

Taken: the program is there, its own parser takes the words, and its config takes the settings. Run: the commands of
RUN_PAGES, but for forms and NOT_RUN, in their order, in a folder that has generated data under the pages' names.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from contextlib import chdir
from importlib import import_module
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import yaml
from commands import Command, code, commands
from foreign import coco, picture, roboflow
from small_dataset import make_dataset

import train
import training.compare
import training.run
from data.scenes.write import make_clip
from detector.config import Config
from detector.inference.trained import Trained
from detector.network.build import build_detector

ROOT = Path(__file__).parents[2]
SHOWN = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
SHOWN += [ROOT / "weights/README.md", ROOT / "examples/README.md"]
RUN_PAGES = [ROOT / "README.md", *(ROOT / "docs" / f"{name}.md" for name in ("data", "detect", "finetune"))]
NOT_RUN = {
    "data.download": "fetches gigabytes",
    "train": "trains for minutes to days",
    "compare": "trains for days",
    "benchmarks": "measures for minutes",
    "detector.export": "takes minutes, and packages that not everybody has",
    "kitti-": "is there once installed: test_install.py runs these",
    "torchrun": "starts processes: tests/video and tests/detector do",
    "make": "installs",
    "pip": "installs",
    "python3": "installs",
}
TO_FETCH = "cifar10"  # a data set of which nothing is generated here
NEEDS_A_NETWORK = ("detect", "evaluate", "backbones")  # for the slow suite


def door_of(command: Command) -> tuple[str, list[str]]:
    """The module of a program of ours, and its words."""
    program, *words = command.words
    if program == "torchrun":
        from torch.distributed.run import get_args_parser

        parsed = get_args_parser().parse_args(words)
        words = [parsed.training_script, *parsed.training_script_args]
    elif program.startswith("kitti-"):
        assert f"\n{program} =" in (ROOT / "pyproject.toml").read_text(), f"no command {program}"
        return program.removeprefix("kitti-"), words
    if words[0] == "-m":
        assert find_spec(words[1]), f"no module {words[1]}"
        return words[1], words[2:]
    assert (ROOT / words[0]).is_file(), f"no file {words[0]}"
    return words[0].removesuffix(".py"), words[1:]


def call(name: str, words: list[str], patch: pytest.MonkeyPatch, ends: bool = False) -> None:
    """As a process of its own would; `ends`: only up to where the words are read."""
    door = import_module(f"{name}.__main__" if (ROOT / name.replace(".", "/") / "__main__.py").is_file() else name)
    patch.setattr(sys, "argv", [name, *words])
    if ends and not hasattr(door, "exit_status"):
        patch.setattr(argparse.ArgumentParser, "parse_args", parse_and_end)
    elif ends and name not in ("train", "compare"):
        patch.setattr(door, "exit_status", lambda work: 0)
    try:
        status = door.main()
    except SystemExit as ended:
        status = ended.code
    assert status == 0, f"exit status {status}"


PARSE = argparse.ArgumentParser.parse_args


def parse_and_end(parser: argparse.ArgumentParser, *words: Any) -> None:
    PARSE(parser, *words)
    sys.exit(0)


def take_settings(tasks: Any, config: str | None, settings: list[str], resume: str | None, name: str | None) -> int:
    """In place of a training: its config takes the settings. A config that is not ours is the reader's."""
    if config and (config.startswith("configs/") or "." not in config):
        training.run._resolve(tasks, config, settings, None)
    else:
        Config().override(settings)
    return 0


def take_comparison(judges: Any, path: Path, settings: list[str], only: Any, seeds: Any) -> int:
    training.compare.read(judges, path, settings, seeds)
    return 0


def take(command: Command, patch: pytest.MonkeyPatch) -> None:
    program, *words = command.words
    if program == "make":
        assert all(re.search(rf"^{word}:", (ROOT / "Makefile").read_text(), re.MULTILINE) for word in words)
    elif program == "pip":
        assert all((ROOT / file).is_file() for flag, file in pairwise(words) if flag == "-r")
    elif program != "python3":
        name, words = door_of(command)
        if words and name.partition(".")[0] not in ("pytest", "tests"):
            patch.setattr(train, "check_words", lambda *_: None)
            patch.setattr(training.run, "train_run", take_settings)
            patch.setattr(training.compare, "compare", take_comparison)
            call("compare" if name == "detector.compare" else name, words, patch, ends=True)


@pytest.mark.parametrize("page", SHOWN, ids=lambda page: page.stem)
def test_every_command_is_taken(page: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    monkeypatch.chdir(ROOT)
    wrong = []
    for command in commands(page):
        with monkeypatch.context() as patch:
            try:
                take(command, patch)
            except Exception as fault:
                wrong.append(f"{command}\n  {capsys.readouterr().err or fault}")
    assert not wrong, "\n".join(wrong)


def test_a_wrong_command_is_found(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    monkeypatch.chdir(ROOT)
    for wrong in (
        "python tain.py configs/kitti.yaml",
        "python train.py configs/kiti.yaml",
        "python train.py configs/kitti.yaml optimizer.rate=1",
        "python train.py --resume runs/kitti train.epochs=1",
        "torchrun --nproc-per-node 2 train.py configs/kitti.yaml --fast",
        "python compare.py configs/compare-kitti.yaml optimizer.rate=1",
        "python -m data.doctr ROOT",
        "python -m data.doctor ROOT --fast",
        "python -m benchmarks.video CLIP --fast",
        "python evaluate.py --weights W --data ROOT --split val --conf 3",
        "kitti-evaluate --weights W",
        "kitti-doctor W",
        "make dmeo",
        "pip install -r requirement.txt",
    ):
        with monkeypatch.context() as patch, pytest.raises((AssertionError, ValueError)):
            take(Command("here", wrong.split()), patch)


def test_what_stands_in_python_and_yaml_is_such() -> None:
    for page in SHOWN:
        for block in code(page, "python"):
            compile(block, page.name, "exec")
        for block in code(page, "yaml"):
            Config.parse(yaml.safe_load(block), page.name)


def weights(path: Path, *classes: str) -> None:
    config = Config.parse({"network": {"width": 0.125}, "data": {"classes": classes}, "phases": [{"size": 64}]}, "here")
    path.parent.mkdir(parents=True)
    Trained(config, classes, build_detector(config.network, len(classes)).state_dict()).save(path)


def bdd100k(root: Path) -> None:
    boxes = picture(np.random.default_rng(0), root / "images/100k/train/0000f77c.jpg")
    corners = [dict(zip(("x1", "y1", "x2", "y2"), box[1:], strict=True)) for box in boxes]
    names = ("person", "rider", "other vehicle")
    labels = [{"id": str(k), "category": name, "box2d": corners[k % 2]} for k, name in enumerate(names)]
    (root / "labels/det_20").mkdir(parents=True)
    (root / "labels/det_20/det_train.json").write_text(json.dumps([{"name": "0000f77c.jpg", "labels": labels}]))


def as_the_pages_call_it(folder: Path) -> None:
    """What a reader has who types the commands."""
    for name in ("kitti", "mine"):
        root = make_dataset(folder / "datasets" / name, size=(96, 320))
        (root / "ImageSets/val.txt").write_text("000000\n000003\n")
        (root / "ImageSets/train.txt").write_text("000001\n000002\n")
    coco(folder / "my-data")
    roboflow(folder / "roboflow-export")
    bdd100k(folder / "bdd100k")
    weights(folder / "runs/finetune/best.pt", "Car", "Bus")
    weights(folder / "runs/mine/best.pt", "bus", "traffic light")
    make_clip(folder / "drive.mp4", frames=2, progress=False)
    cv2.imwrite(str(folder / "street.jpg"), cv2.imread(str(folder / "datasets/kitti/training/image_2/000000.png")))


@pytest.mark.parametrize("with_network", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_what_needs_little_runs(
    with_network: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    as_the_pages_call_it(tmp_path)
    ran = 0
    for page in RUN_PAGES:
        for command in commands(page):
            if command.is_form or command.words[0].startswith(tuple(NOT_RUN)):
                continue
            name, words = door_of(command)
            if not words or name.startswith(tuple(NOT_RUN)) or TO_FETCH in str(command):
                continue
            if name.startswith(NEEDS_A_NETWORK) != with_network:
                continue
            with chdir(tmp_path), monkeypatch.context() as patch:
                try:
                    call(name, words, patch)
                except Exception as fault:
                    raise AssertionError(f"{command}\n{capsys.readouterr().err or fault}") from None
            ran += 1
    assert ran == (10 if with_network else 5)
    if with_network:
        with chdir(tmp_path):
            exec(code(ROOT / "README.md", "python")[0], {"print": lambda *_: None})
        assert (tmp_path / "found.jpg").exists() and list(tmp_path.glob("runs/detect/drive*/video/drive.mp4"))
