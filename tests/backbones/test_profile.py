from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from backbones import paper
from backbones.profile import G, M, Variant, main, measure_fps, profile, select, table, variants

ROOT = Path(__file__).resolve().parents[2]
TABLE = json.loads((ROOT / "tests/golden/attention/table_counts.json").read_text())


def variant(row: dict[str, object]) -> Variant:
    """A row of the paper's tables ("SE-first", "EMCA-srm S/N=i1") as a variant of ours."""
    arch, name = f"resnet{row['depth']}", str(row["row"])
    if name == "ResNet":
        return Variant(arch, "none", None, None)
    if name.startswith("EMCA-"):
        excitation, coverage = name.removeprefix("EMCA-").split(" S/N=")
        of_ours = {"00": "0,0", "11": "1,1", "1N": "1,N", "i1": "i-1,1"}
        return Variant(arch, f"emca-{excitation}", "first", of_ours[coverage])
    attention, placement = name.lower().split("-")
    return Variant(arch, attention, placement, None)


@pytest.mark.parametrize("row", TABLE, ids=lambda row: f"{row['row']} {row['depth']}")
def test_counts_equal_the_papers_tables(row: dict[str, object]) -> None:
    ours = profile(variant(row))
    assert ours.params == row["true_params"]
    # The published code pools the stem even where coverage 0,0 reads nothing of it; ours computes (and counts) nothing.
    unread_stem = 64 * (56 * 56 + 1) if ours.coverage == "0,0" and ours.attention != "emca-srm" else 0
    assert ours.macs == row["thop_macs"] - unread_stem
    if row["printed_G"] is not None:
        assert round(ours.gflops, 3) == row["printed_G"]
    if "srm" not in ours.attention:  # the paper's SRM counts leave out a layer
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
    assert len(rows) == len(set(rows)) == 5 * (1 + 6 * 3 + 1 + 3 * 5)
    assert {(r.arch, r.attention, r.placement, r.coverage) for r in select("resnet18", "emca-se", "first", "1,N")} == {
        ("resnet18", "emca-se", "first", "1,N")
    }


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
    assert [row.placement for row in rows] == ["all", "first", "last"]
    assert all(row.fps is not None and row.fps > 0 and row.fps_ratio is not None for row in rows)
    (plain,) = measure_fps([profile(Variant("resnet18", "none", None, None))], rounds=2)
    assert plain.fps_ratio == 1.0
