"""A little of `python -m tests.faults.fuzz` in every run of the tests, and much of it in the slow ones."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.faults.fuzz import READERS, fuzz

FEW = {"video": 25, "image": 150, "archive": 150}


@pytest.mark.parametrize("reader", READERS)
def test_whatever_bytes_come_the_end_is_a_result_or_our_error(reader: str, tmp_path: Path) -> None:
    outcomes = fuzz(reader, FEW.get(reader, 200), seed=0, folder=tmp_path)
    assert len(outcomes) > 1  # some of it could be read, some not


@pytest.mark.slow
@pytest.mark.parametrize("reader", READERS)
def test_and_so_it_is_for_thousands(reader: str, tmp_path: Path) -> None:
    fuzz(reader, 20 * FEW.get(reader, 200), seed=1, folder=tmp_path)
