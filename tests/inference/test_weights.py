"""Names of shipped models, and what is said where one is missing or damaged."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from detector.inference import weights
from detector.inference.backend import open_backend
from detector.inference.predictor import Predictor
from detector.inference.trained import load_trained
from detector.inference.weights import SHIPPED, Shipped, WeightsError, default_weights, is_checkpoint


@pytest.fixture()
def shelf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A shelf of one model, `toy`."""
    (tmp_path / "toy.pt").write_bytes(b"weights")
    monkeypatch.setattr(weights, "FOLDER", tmp_path)
    monkeypatch.setitem(SHIPPED, "toy", Shipped("", (64, 64), "toy.pt", hashlib.sha256(b"weights").hexdigest()))
    return tmp_path


def test_a_name_is_its_file_and_a_path_is_left_alone(shelf: Path) -> None:
    assert SHIPPED["toy"].path() == shelf / "toy.pt"
    assert is_checkpoint(Path("toy"))
    assert is_checkpoint(Path("runs/toy.pt"))
    assert not is_checkpoint(Path("no-such-model"))


def test_one_other_byte_is_told(shelf: Path) -> None:
    (shelf / "toy.pt").write_bytes(b"Weights")
    with pytest.raises(WeightsError, match="damaged or replaced"):
        SHIPPED["toy"].path()
    (shelf / "toy.pt").unlink()
    with pytest.raises(WeightsError, match="is not there"):
        SHIPPED["toy"].path()


@pytest.mark.parametrize(("is_installed", "mend"), [(True, "pip install --force-reinstall"), (False, "git checkout")])
def test_what_helps_is_told(shelf: Path, monkeypatch: pytest.MonkeyPatch, is_installed: bool, mend: str) -> None:
    monkeypatch.setattr(weights, "IS_INSTALLED", is_installed)
    (shelf / "toy.pt").unlink()
    with pytest.raises(WeightsError, match=mend):
        SHIPPED["toy"].path()


def test_a_processor_gets_the_fast_model_and_a_gpu_the_accurate_one() -> None:
    assert default_weights("cpu") == "kitti-light"
    assert default_weights("cuda:1") == "kitti"


@pytest.mark.parametrize("name", SHIPPED)
def test_the_shipped_models_are_there_and_find_at_their_size(name: str) -> None:
    assert SHIPPED[name].path().stat().st_size < 40e6
    trained = load_trained(name)
    assert trained.config.size == SHIPPED[name].size
    backend = open_backend(name, "cpu", "fp32", threads=1)
    assert (backend.size, backend.classes) == (SHIPPED[name].size, trained.classes)
    grey = np.full((375, 1242, 3), 114, np.uint8)
    assert len(Predictor(backend).predict(grey)) == 0


def test_help_lists_them_and_says_where_their_card_is() -> None:
    command = [sys.executable, "detect.py", "x.jpg", "--weights", "help"]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert all(f"{name} " in said for name in SHIPPED)
    assert "weights/README.md" in said
