"""A little of `python -m tests.faults.fuzz` in every run of the tests, and much of it in the slow ones."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from tests.faults.data_sets import DATA_SETS
from tests.faults.fuzz import READERS, fuzz
from tests.faults.graphs import GRAPHS

FEW = {"image": 150, "archive": 150, "transfer": 40, "onnx": 40, "openvino": 20, "video": 25}
FEW |= dict.fromkeys(DATA_SETS, 100)


@pytest.mark.parametrize("reader", READERS)
def test_whatever_bytes_come_the_end_is_a_result_or_our_error(reader: str, tmp_path: Path) -> None:
    outcomes = tried(reader, FEW.get(reader, 200), 0, tmp_path)
    assert len(outcomes) > 1  # some of it could be read, some not


@pytest.mark.slow
@pytest.mark.parametrize("reader", READERS)
def test_and_so_it_is_for_thousands(reader: str, tmp_path: Path) -> None:
    tried(reader, 20 * FEW.get(reader, 200), 1, tmp_path)


def tried(reader: str, tries: int, seed: int, folder: Path) -> Counter[str]:
    if reader in GRAPHS:
        for package in ("onnx", "onnxruntime", "openvino"):
            pytest.importorskip(package)
    outcomes, failures = fuzz(reader, tries, seed, folder)
    assert not failures, "\n".join(failures)
    return outcomes
