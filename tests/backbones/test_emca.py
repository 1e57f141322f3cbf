from __future__ import annotations

from collections import Counter

import pytest
import torch
from places import place
from torch import Tensor, nn

from backbones import build_backbone
from backbones.attention.emca import Emca, MultiscaleAggregation, places_read
from backbones.attention.place import all_places
from backbones.attention.srm import MeanAndStd, StyleRecalibration

ATTENTIONS = ("emca-se", "emca-eca", "emca-srm")
DEPTHS = {"resnet18": (2, 2, 2, 2), "resnet50": (3, 4, 6, 3)}

# R of stages 1 to 4, counted by hand: 1 for the own map, and what eq. (5) adds; the stem is stage 0 with one block.
REGIONS = {
    ("resnet18", "0,0"): [1, 1, 1, 1],
    ("resnet18", "1,1"): [2, 2, 2, 2],
    ("resnet18", "1,N"): [2, 3, 3, 3],
    ("resnet18", "i-1,1"): [2, 3, 4, 5],
    ("resnet18", "i-1,N"): [2, 4, 6, 8],
    ("resnet50", "0,0"): [1, 1, 1, 1],
    ("resnet50", "1,1"): [2, 2, 2, 2],
    ("resnet50", "1,N"): [2, 4, 5, 7],
    ("resnet50", "i-1,1"): [2, 3, 4, 5],
    ("resnet50", "i-1,N"): [2, 5, 9, 15],
}


def mabs(backbone: nn.Module) -> list[MultiscaleAggregation]:
    return [stage[0].attention.mab for stage in backbone.stages()]


@pytest.mark.parametrize(("arch", "coverage"), REGIONS)
def test_each_stage_reads_its_coverage_region(arch: str, coverage: str) -> None:
    expected = REGIONS[arch, coverage]
    firsts = [at for at in all_places(DEPTHS[arch], 1) if at.stage and at.block == 1]
    assert [1 + len(places_read(at, coverage)) for at in firsts] == expected
    read: list[int] = []
    with torch.device("meta"):
        backbone = build_backbone(arch, f"emca-se:coverage={coverage}")
        for mab in filter(None, mabs(backbone)):
            mab.register_forward_pre_hook(lambda module, inputs: read.append(len(inputs[0])))
        backbone(torch.zeros(1, 3, 64, 64))
    assert read == ([] if coverage == "0,0" else expected)


# Maps whose pool is taken, as (stage, block), the stem being (0, 1): first blocks for their own gate, others if tapped.
OWN = {(1, 1), (2, 1), (3, 1), (4, 1)}
READ = {
    "0,0": set(),
    "1,1": {(0, 1), (1, 3), (2, 4), (3, 6)},
    "1,N": {(0, 1)} | {(s, b) for s, depth in ((1, 3), (2, 4), (3, 6)) for b in range(1, depth + 1)},
    "i-1,1": {(0, 1), (1, 3), (2, 4), (3, 6)},
    "i-1,N": {(0, 1)} | {(s, b) for s, depth in ((1, 3), (2, 4), (3, 6)) for b in range(1, depth + 1)},
}


@pytest.mark.parametrize("coverage", READ)
@pytest.mark.parametrize("attention", ATTENTIONS)
def test_each_map_that_is_read_is_pooled_once_and_no_other(attention: str, coverage: str) -> None:
    made: dict[int, tuple[tuple[int, int], Tensor]] = {}  # by identity; the tensor is kept so that it stays unique
    pooled: Counter[tuple[int, int]] = Counter()

    def remember(at: tuple[int, int], output: Tensor) -> None:
        made[id(output)] = (at, output)

    with torch.device("meta"):
        backbone = build_backbone("resnet34", f"{attention}:coverage={coverage}")
        backbone.maxpool.register_forward_hook(lambda m, i, output: remember((0, 1), output))
        for s, stage in enumerate(backbone.stages(), start=1):
            for b, block in enumerate(stage, start=1):
                block.bn2.register_forward_hook(lambda m, i, output, at=(s, b): remember(at, output))
        for module in backbone.modules():
            if isinstance(module, (nn.AdaptiveAvgPool2d, MeanAndStd)):
                module.register_forward_pre_hook(lambda m, inputs: pooled.update([made[id(inputs[0])][0]]))
        backbone(torch.zeros(2, 3, 64, 64))
    assert pooled == Counter(OWN | READ[coverage])


@pytest.mark.parametrize(("coverage", "kept"), [("0,0", 0), ("1,1", 1), ("1,N", 6), ("i-1,1", 4), ("i-1,N", 14)])
def test_only_what_a_later_stage_reads_is_kept(coverage: str, kept: int) -> None:
    """As stage 4 begins, the list holds what it is about to read and nothing else."""
    held: list[int] = []
    with torch.device("meta"):
        backbone = build_backbone("resnet34", f"emca-se:coverage={coverage}")
        backbone.layer4[0].register_forward_pre_hook(lambda module, inputs: held.append(len(inputs[1])))
        backbone(torch.zeros(1, 3, 64, 64))
    assert held == [kept]


def test_aggregation_by_hand() -> None:
    mab = MultiscaleAggregation(2)
    mab.weight.data = torch.tensor([10.0, 1.0])
    shallow, own = torch.tensor([[1.0, -2.0]]), torch.tensor([[1.0, 2.0, 3.0, 40.0]])
    # tiled: [1, -2, 1, -2]; times 10, plus the own: [11, -18, 13, 20]; ReLU
    assert mab([shallow, own]).tolist() == [[11.0, 0.0, 13.0, 20.0]]


@pytest.mark.parametrize("residual_gate", [False, True])
def test_the_gate_is_z_or_1_plus_z(residual_gate: bool) -> None:
    excitation = StyleRecalibration(place(4))
    emca = Emca(excitation, None, is_tapped=False, keeps_taps=False, residual_gate=residual_gate).eval()
    residual, shortcut = torch.randn(2, 4, 5, 5), torch.randn(2, 4, 5, 5)
    z = 0.5  # SRM's style weights start at zero: sigmoid(0)
    expected = shortcut + residual * (1 + z if residual_gate else z)
    torch.testing.assert_close(emca(residual, shortcut, []), expected)


def images(seed: int) -> Tensor:
    return torch.randn(4, 3, 64, 64, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("attention", ATTENTIONS)
def test_no_stage_starts_dead_in_20_seeds(attention: str) -> None:
    aggregated: list[Tensor] = []
    for seed in range(20):
        torch.manual_seed(seed)
        backbone = build_backbone("resnet18", attention)
        for mab in mabs(backbone):
            torch.testing.assert_close(mab.weight.detach(), torch.full_like(mab.weight, 1 / mab.weight.numel()))
            mab.register_forward_hook(lambda m, i, output: aggregated.append(output.detach()))
        with torch.no_grad():
            backbone(images(seed))
    assert len(aggregated) == 20 * 4
    for x_a in aggregated:
        alive = (x_a.flatten(1) > 0).float().mean()
        assert alive > 0.1, f"{alive:.0%} of the channels pass the ReLU"


@pytest.mark.parametrize("coverage", ["1,1", "1,N", "i-1,1", "i-1,N"])
@pytest.mark.parametrize("attention", ATTENTIONS)
def test_gradients_reach_every_mab_weight_and_every_tap(attention: str, coverage: str) -> None:
    torch.manual_seed(0)
    backbone = build_backbone("resnet18", f"{attention}:coverage={coverage}")
    for name, parameter in backbone.named_parameters():
        if name.endswith("cfc"):  # zero at the very start, as published: no gradient passes before its first step
            nn.init.normal_(parameter)
    taps: list[Tensor] = []

    def keep(module: nn.Module, inputs: tuple[list[Tensor]]) -> None:
        for vector in inputs[0]:
            vector.retain_grad()
            taps.append(vector)

    for mab in mabs(backbone):
        mab.register_forward_pre_hook(keep)
    sum(m.square().mean() for m in backbone(images(0))).backward()
    for mab in mabs(backbone):
        assert mab.weight.grad is not None and (mab.weight.grad != 0).all()
    assert len(taps) == sum(REGIONS["resnet18", coverage])
    assert all(vector.grad is not None and vector.grad.abs().sum() > 0 for vector in taps)
