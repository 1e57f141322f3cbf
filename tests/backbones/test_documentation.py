"""The pages on attention: their code runs, their names and figures are those of the catalogue and the profile."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from backbones import build_backbone, paper
from backbones.attention import CATALOGUE
from backbones.attention.gate import ChannelGate, Taps, add_scaled
from backbones.attention.place import Place
from backbones.attention.seat import Entry, Seat, in_stages
from backbones.names import PLACEMENTS
from backbones.profile import Profile, profile, variants
from backbones.spec import AttentionSpec

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "backbones.md").read_text()


def entries_of_the_guide() -> dict[str, Entry]:
    section = (ROOT / "CONTRIBUTING.md").read_text().split("## A new attention")[1].split("\n## ")[0]
    *modules, lines = re.findall(r"```python\n(.*?)```", section, re.DOTALL)
    names: dict[str, Any] = {"torch": torch, "nn": nn, "Tensor": Tensor, "Taps": Taps, "PLACEMENTS": PLACEMENTS}
    names |= {kind.__name__: kind for kind in (ChannelGate, add_scaled, Place, Entry, Seat, in_stages)}
    for module in modules:
        exec(module, names)
    return eval("{" + lines + "}", names)


GUIDE = entries_of_the_guide()


def test_the_guide_has_an_attention_for_every_seat_of_a_backbone_but_the_variant_of_the_3x3() -> None:
    of_backbones = {seat for seat in Seat if not seat.is_of_classifier}
    assert {entry.seat for entry in GUIDE.values()} == of_backbones - {Seat.CONVOLUTION_NORM_RELU}


@pytest.mark.parametrize("arch", ["resnet18", "resnet50"])
@pytest.mark.parametrize("name", GUIDE)
def test_every_attention_of_the_guide_builds_a_backbone_that_trains(
    name: str, arch: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(CATALOGUE, name, GUIDE[name])
    torch.manual_seed(0)
    backbone = build_backbone(arch, AttentionSpec.parse(name))
    sum(m.square().mean() for m in backbone(torch.randn(2, 3, 64, 64))).backward()
    attended = [p for path in backbone.attention_paths for p in backbone.get_submodule(path).parameters()]
    assert attended and all(p.grad is not None and p.grad.isfinite().all() for p in attended)


def test_every_attention_is_in_the_documentation() -> None:
    assert [name for name in CATALOGUE if f"`{name}`" not in PAGE and f"| {name} |" not in PAGE] == []


def row_of(rows: list[Profile | None]) -> str:
    """One line of the table: three depths of one variant, None for a depth that it does not go with."""
    first = next(row.variant for row in rows if row is not None)
    names = (first.attention, first.placement or "–", first.coverage or "–")
    figures = [figure for row in rows for figure in (("–", "–") if row is None else figures_of(row))]
    return f"| {' | '.join((*names, *figures))} |"


def figures_of(row: Profile) -> tuple[str, ...]:
    counted = ((row.params_M, row.printed(paper.PARAMS_M)), (row.gflops, row.printed(paper.GFLOPS)))
    return tuple(f"{ours:.3f}" + (f" ({printed:.3f})" if printed is not None else "") for ours, printed in counted)


FAST = ("none", "gc", "fca")
EACH = [pytest.param(name, marks=() if name in FAST else pytest.mark.slow) for name in CATALOGUE]


@pytest.mark.parametrize("attention", EACH)
def test_the_table_in_the_documentation_is_what_the_profile_counts(attention: str) -> None:
    by_depth = [{v.spec: v for v in variants((arch,), (attention,))} for arch in paper.COLUMNS]
    for spec in max(by_depth, key=len):
        same = [of_depth.get(spec) for of_depth in by_depth]
        assert row_of([None if v is None else profile(v) for v in same]) in PAGE
