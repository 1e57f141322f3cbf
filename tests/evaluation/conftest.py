from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import pytest

from detector.evaluation.columns import Columns
from detector.evaluation.kitti_files import frames_of, read_folder

CASES = ("case1_small", "case3_limits", "case4_dontcare", "case5_sparse", "case7_perfect", "case8_quirks")


class GoldenCase:
    """One case: its folders, its columns, and the numbers of the official devkit and of pycocotools."""

    def __init__(self, folder: Path) -> None:
        self.labels, self.detections = folder / "label_2", folder / "detections"
        self.expected: dict[str, Any] = json.loads((folder / "expected.json").read_text())

    def columns(self) -> tuple[Columns, Columns]:
        frames = frames_of(self.labels)
        return read_folder(self.labels, frames, scored=False), read_folder(self.detections, frames, scored=True)


@pytest.fixture(scope="session")
def golden_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("golden")
    with zipfile.ZipFile(Path(__file__).parents[1] / "golden" / "kitti_eval" / "cases.zip") as archive:
        archive.extractall(folder)
    return folder


@pytest.fixture(params=CASES)
def golden(request: pytest.FixtureRequest, golden_folder: Path) -> GoldenCase:
    return GoldenCase(golden_folder / request.param)


@pytest.fixture
def sparse(golden_folder: Path) -> GoldenCase:
    return GoldenCase(golden_folder / "case5_sparse")


@pytest.fixture
def small(golden_folder: Path) -> GoldenCase:
    return GoldenCase(golden_folder / "case1_small")
