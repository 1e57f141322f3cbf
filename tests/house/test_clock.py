"""Nothing depends on a clock that a person or a server can set while it runs."""

from __future__ import annotations

import ast
import itertools
import time
from pathlib import Path

import pytest
import torch
from test_imports import MODULES

from tests.training.test_task import Regress, config
from training.checkpoint import load_checkpoint
from training.run import train_in

OF_THE_WALL = {"time", "time_ns", "now", "utcnow", "today", "ctime", "localtime", "gmtime"}
WITH_THE_TIMES_OF_FILES = {"data.cache"}  # which are of that clock


def wall_clocks(path: Path) -> set[str]:
    calls = (node.func for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call))
    names = (call for call in calls if isinstance(call, ast.Attribute) and isinstance(call.value, ast.Name))
    return {f"{call.value.id}.{call.attr}" for call in names if call.value.id in ("time", "datetime", "date")} & {
        f"{module}.{name}" for module in ("time", "datetime", "date") for name in OF_THE_WALL
    }


def test_spans_are_measured_by_a_clock_that_nobody_sets() -> None:
    found = {name: clocks for name, path in MODULES.items() if (clocks := wall_clocks(path))}
    assert found.keys() <= WITH_THE_TIMES_OF_FILES, found


def test_a_training_does_not_mind_a_clock_that_runs_backwards(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    words = ["phases.0.epochs=3", "train.save_minutes=0"]
    assert train_in(tmp_path / "before", Regress(config(tmp_path, *words))) == 0
    backwards = itertools.count(2_000_000_000, -3600)
    monkeypatch.setattr(time, "time", lambda: float(next(backwards)))
    assert train_in(tmp_path / "after", Regress(config(tmp_path, *words))) == 0
    one, other = (load_checkpoint(tmp_path / name / "last.pt") for name in ("before", "after"))
    assert all(torch.equal(value, other.model[name]) for name, value in one.model.items())
    assert 0 < other.training["progress"]["seconds"] < 3600
