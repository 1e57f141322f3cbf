from __future__ import annotations

import itertools
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from backbones import paper
from backbones.attention import CATALOGUE
from backbones.pixels import MEAN, STD
from backbones.profile import (
    NUM_CLASSES,
    G,
    M,
    Variant,
    fitting_batch,
    main,
    measure_fps,
    median_seconds,
    profile,
    select,
    table,
    variants,
)
from backbones.resnet import ARCHS, goes_with
from backbones.spec import AttentionSpec
from backbones.whole_pass import Photos, WholePass

ROOT = Path(__file__).resolve().parents[2]
TABLE = json.loads((ROOT / "tests/golden/attention/table_counts.json").read_text())


def variant(row: dict[str, object]) -> Variant:
    """A row of the paper's tables ("SE-first", "EMCA-srm S/N=i1") as a variant of ours."""
    return Variant(f"resnet{row['depth']}", AttentionSpec.parse(text_of(str(row["row"]))))


def text_of(name: str) -> str:
    if name == "ResNet":
        return "none"
    if name.startswith("EMCA-"):
        excitation, coverage = name.removeprefix("EMCA-").split(" S/N=")
        of_ours = {"00": "0,0", "11": "1,1", "1N": "1,N", "i1": "i-1,1"}
        return f"emca-{excitation}:coverage={of_ours[coverage]}"
    attention, placement = name.lower().split("-")
    return f"{attention}:placement={placement}"


@pytest.mark.parametrize("row", TABLE, ids=lambda row: f"{row['row']} {row['depth']}")
def test_counts_equal_the_papers_tables(row: dict[str, object]) -> None:
    v = variant(row)
    ours = profile(v)
    assert ours.params == row["true_params"]
    # The published code pools the stem even where coverage 0,0 reads nothing of it; ours computes (and counts) nothing.
    unread_stem = 64 * (56 * 56 + 1) if v.coverage == "0,0" and v.attention != "emca-srm" else 0
    assert ours.macs == row["thop_macs"] - unread_stem
    if row["printed_G"] is not None:
        assert round(ours.gflops, 3) == row["printed_G"]
    if "srm" not in v.attention:  # the paper's SRM counts leave out a layer
        assert round(ours.params_M, 3) == row["printed_M"]
    assert (ours.params_M, ours.gflops) == (ours.params / M, ours.macs / G)


def test_the_papers_figures_stand_where_the_paper_prints_them() -> None:
    for row in TABLE:
        v = variant(row)
        key = (v.arch, v.attention, v.placement, v.coverage)
        assert paper.printed(paper.PARAMS_M, *key) == row["printed_M"]
        assert paper.printed(paper.GFLOPS, *key) == row["printed_G"]
    everywhere = [(figures, v) for figures in (paper.PARAMS_M, paper.GFLOPS) for v in variants()]
    count = sum(paper.printed(f, v.arch, v.attention, v.placement, v.coverage) is not None for f, v in everywhere)
    assert count == len(TABLE) + sum(row["printed_G"] is not None for row in TABLE)


def test_every_variant_of_every_depth_has_one_row() -> None:
    rows = variants()
    with_coverage = [name for name, entry in CATALOGUE.items() if "coverage" in entry.options()]
    expected = sum(
        5 if name in with_coverage else len(entry.placements) or 1
        for arch in ARCHS
        for name, entry in CATALOGUE.items()
        if goes_with(arch, AttentionSpec.parse(name), NUM_CLASSES)
    )
    assert len(rows) == len(set(rows)) == expected
    assert {(r.arch, r.attention, r.placement, r.coverage) for r in select("resnet18", "emca-se", "first", "1,N")} == {
        ("resnet18", "emca-se", "first", "1,N")
    }


def test_options_in_the_text_of_an_attention_narrow_its_rows_and_the_others_stand_in_its_label() -> None:
    rows = [(v.attention, v.placement, v.coverage) for v in select("resnet18", "fca:frequencies=low16", None, None)]
    assert rows == [("fca:frequencies=low16", placement, None) for placement in ("all", "first", "last")]
    rows = [(v.attention, v.placement, v.coverage) for v in select("resnet18", "emca-se:coverage=i-1,N", None, None)]
    assert rows == [("emca-se", "first", "i-1,N")]
    figure = profile(select("resnet18", "fca:frequencies=low16", "all", None)[0]).printed(paper.PARAMS_M)
    assert figure is None  # the paper's rows are those of the default options


def test_a_depth_that_an_attention_does_not_go_with_has_no_row() -> None:
    assert [v.arch for v in select(None, "epsa", "all", None)] == ["resnet50", "resnet101", "resnet152"]


def test_the_table_is_aligned_with_the_papers_figure_beside_ours() -> None:
    lines = table([profile(v) for v in select("resnet18", None, "all", None)]).splitlines()
    assert len({len(line) for line in lines}) == 1
    srm = next(line.split() for line in lines if " srm " in line)
    assert srm == ["resnet18", "srm", "all", "-", "11697192", "11.155", "11.152", "1.694", "1.694"]


def test_json_goes_to_standard_output_and_nothing_else_does(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--arch", "resnet50", "--attention", "emca-se", "--json", "-"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert [row["coverage"] for row in rows] == ["0,0", "1,1", "1,N", "i-1,1", "i-1,N"]
    assert rows[2] == {
        "arch": "resnet50",
        "attention": "emca-se",
        "placement": "first",
        "coverage": "1,N",
        "params": 26253370,
        "params_M": 26253370 / 2**20,
        "macs": 4117763392,
        "gflops": 4117763392 / 2**30,
        "fps": None,
        "fps_ratio": None,
    }


def test_json_goes_to_a_file_beside_the_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "rows.json"
    assert main(["--arch", "resnet18", "--attention", "none", "--json", str(out)]) == 0
    assert json.loads(out.read_text())[0]["params"] == 11689512
    assert "11.148" in capsys.readouterr().out
    assert list(tmp_path.iterdir()) == [out]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--attention", "sea"], "did you mean 'se'?"),
        (["--arch", "resnet18", "--coverage", "2,N"], "Valid: 0,0 | 1,1 | 1,N | i-1,1 | i-1,N"),
        (["--attention", "emca-se", "--placement", "all"], "use --placement first"),
        (["--attention", "emca-se:coverage=0,0", "--coverage", "1,1"], "use --coverage 0,0"),
        (["--attention", "fca:frequencies=high16"], "did you mean"),
        (["--arch", "resnet34", "--attention", "epsa"], "use resnet50, resnet101 or resnet152"),
        (["--attention", "sk:groups=48"], "groups=48 do not divide 64 channels: use a power of 2, at most 64"),
        (["--arch", "resnet18", "--attention", "none", "--json", "/no/such/folder/x.json"], "/no/such/folder/x.json"),
    ],
)
def test_wrong_input_is_one_line_and_status_2(
    arguments: list[str], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert says in printed.err and printed.err.count("\n") == 1


def test_the_door_itself_refuses_an_unknown_option_in_one_line() -> None:
    command = [sys.executable, "-m", "backbones.profile", "--arhc", "resnet18"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.count("\n") == 1


def test_fps_are_measured_against_the_plain_resnet_of_the_same_depth() -> None:
    rows = measure_fps([profile(v) for v in select("resnet18", "se", None, None)], rounds=2)
    assert [row.variant.placement for row in rows] == ["all", "first", "last"]
    assert all(row.fps is not None and row.fps > 0 and row.fps_ratio is not None for row in rows)
    (plain,) = measure_fps([profile(Variant("resnet18", AttentionSpec.parse("none")))], rounds=2)
    assert plain.fps_ratio == 1.0


class Crowded(torch.nn.Module):
    """Has memory for three images."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        if len(images) > 3:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return images


def test_a_batch_that_does_not_fit_is_halved_until_it_does() -> None:
    assert fitting_batch(Crowded(), 16, 32, torch.device("cpu")) == 2
    assert fitting_batch(Crowded(), 3, 32, torch.device("cpu")) == 3


def test_fps_of_a_batch_count_its_images(monkeypatch: pytest.MonkeyPatch) -> None:
    ticks = itertools.count()
    variant = Variant("resnet18", AttentionSpec.parse("none"))
    seconds = median_seconds([variant], 1, size=32, clock=lambda: float(next(ticks)), batch=4)
    assert seconds == {variant: 0.25}  # a second for four


class Seen(torch.nn.Module):
    """Keeps what it is shown."""

    def __init__(self) -> None:
        super().__init__()
        self.images: list[torch.Tensor] = []

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        self.images.append(images)
        return images.mean((2, 3))


def photos(root: Path) -> Path:
    """Five of one colour each, in two folders, all larger than an input."""
    for k in range(5):
        folder = root / ("a" if k < 2 else "b/c")
        folder.mkdir(parents=True, exist_ok=True)
        Image.new("L" if k == 1 else "RGB", (300 + k, 256), 50 * k).save(folder / f"{k}.png")
    return root


@pytest.mark.parametrize("workers", [0, 2])
def test_a_whole_pass_shows_every_picture_once_and_counts_it(workers: int, tmp_path: Path) -> None:
    network, ticks = Seen(), itertools.count()
    passes = WholePass(Photos(photos(tmp_path), 224), 2, workers, torch.device("cpu"))
    for _ in range(2):  # what the workers prepared to get started does not come again
        network.images.clear()
        assert passes.seconds(network, clock=lambda: float(next(ticks))) == 1 / 5
        shown = torch.cat(network.images[1:])  # the first warms up
        assert [len(images) for images in network.images] == [1, 2, 2, 1] and shown.shape == (5, 3, 224, 224)
        expected = (50.0 * torch.arange(5) - MEAN[0]) / STD[0]
        torch.testing.assert_close(shown[:, 0], expected.view(5, 1, 1).expand(5, 224, 224))


def test_a_whole_pass_takes_the_middle_of_a_picture(tmp_path: Path) -> None:
    picture = np.zeros((512, 600, 3), np.uint8)
    picture[32:-32, 76:-76] = 200  # 224/256 of the shorter side
    Image.fromarray(picture).save(tmp_path / "x.png")
    (photo,) = Photos(tmp_path, 224).__getitems__([0])
    assert photo.shape == (3, 224, 224) and (photo[:, 2:-2, 2:-2] == 200).all()


def test_the_command_times_a_whole_pass(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--arch", "resnet18", "--attention", "se", "--placement", "all", "--fps", "--workers", "0"]
    assert main([*words, "--data", str(photos(tmp_path))]) == 0
    printed = capsys.readouterr().out
    assert "256 images at a time, a whole pass over" in " ".join(printed.split()) and "of plain" in printed


def test_a_picture_that_cannot_be_read_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    broken = photos(tmp_path) / "a/broken.png"
    broken.write_bytes(b"no picture")
    words = ["--arch", "resnet18", "--attention", "se", "--fps", "--workers", "1", "--data"]
    assert main([*words, str(tmp_path)]) == 2
    error = capsys.readouterr().err
    assert str(broken) in error and error.count("\n") == 1
    assert main([*words, str(tmp_path / "nowhere")]) == 2
    assert "no pictures in this folder" in capsys.readouterr().err


def test_a_device_that_is_not_there_is_said_in_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--arch", "resnet18", "--attention", "se", "--fps", "--device", "cuda:99"]) == 2
    assert "--device cuda:99: this machine has no such device" in capsys.readouterr().err
