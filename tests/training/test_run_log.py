"""What a terminal of 80 columns shows of a run."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from tqdm import tqdm

from training.run_log import BAR, RunLog, _epoch_lines, _indented

ROW = {"epoch": 100, "height": 256, "width": 832, "lr": 0.00123, "images_per_second": 1234.5, "wait_share": 1.0}
LOSSES = {"loss_box": 12.345, "loss_objectness": 12.345, "loss_classes": 12.345, "loss_total": 37.035}


def test_the_lines_of_an_epoch_fit_and_no_word_is_cut() -> None:
    lines = _epoch_lines({**ROW, **LOSSES}, 100, 60_000).splitlines()
    assert max(map(len, lines)) <= 80
    assert lines[0] == "epoch 100/100  256x832  lr 0.0012  1234.5 img/s  wait 100%  left 1000 min"
    assert lines[1] == "    loss  box 12.345  objectness 12.345  classes 12.345  total 37.035"


def test_a_long_validation_takes_more_lines() -> None:
    said = "mAP50 0.123  AP 0.123  AP40  " + "  ".join(f"traffic-light-{k} 12.3/12.3/12.3" for k in range(5))
    lines = _indented(said).splitlines()
    assert max(map(len, lines)) <= 80 and len(lines) > 1
    assert " ".join(lines).split() == said.split()


def test_a_terminal_gets_long_lines_folded_and_a_file_gets_them_whole(
    tmp_path: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = RunLog(tmp_path, True, None)  # type: ignore[arg-type]
    said = "starting in runs/finetune: " + "resnet18 emca-se, 16.5 M parameters; " * 4
    log.say(said.strip())
    assert capsys.readouterr().err == said.strip() + "\n"
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    log.say(said.strip())
    lines = capsys.readouterr().err.splitlines()
    assert max(map(len, lines)) <= 80 and " ".join(lines).split() == said.split()


def test_the_bar_fits() -> None:
    bar = tqdm.format_meter(
        *(1234, 1235, 6789.0),
        ncols=80,
        prefix="epoch 100/100",
        bar_format=BAR,
        postfix="loss 37.0 256x832 1234.5 img/s",
    )
    assert len(bar) <= 80 and bar.endswith("1234.5 img/s") and "epoch 100/100" in bar
