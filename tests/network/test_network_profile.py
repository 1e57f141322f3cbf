from __future__ import annotations

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from detector.network.build import build_detector
from detector.network.profile import PRINTED, ROWS, cost, main, trained_params
from detector.network.settings import NetworkSettings


def test_params_and_multiply_adds_agree_with_pytorchs_own_counter():
    settings = NetworkSettings(arch="resnet18", attention="se", width=0.25)
    network = build_detector(settings, 8).to("meta").eval()
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network(torch.zeros(1, 3, 128, 128, device="meta"))
    ours = cost(settings, 8, 128)
    assert ours.params == sum(p.numel() for p in network.parameters())
    assert ours.backbone_params == sum(p.numel() for p in network.backbone.parameters())
    # PyTorch counts convolutions and linear layers only, two operations a multiply-add; BatchNorm adds below 2%.
    assert 1 < ours.macs / (counter.get_total_flops() / 2) < 1.02


def test_an_unknown_attention_is_answered_in_one_line(capsys):
    assert main(["--attention", "semca"]) == 2
    assert "emca-se" in capsys.readouterr().err


@pytest.mark.parametrize("kind", PRINTED)
def test_the_papers_cells_of_table_6_are_met_and_those_of_emca_se_by_definition(kind):
    plain, se, eca, _, emca_eca = PRINTED[kind]
    ours = [round(trained_params(kind, attention) / 1e6, 2) for attention in ROWS.values()]
    assert ours == [plain, se, eca]
    by_definition = {"faster_rcnn": 42.22, "mask_rcnn": 44.86, "retinanet": 38.43}
    assert round(trained_params(kind, "emca-se") / 1e6, 2) == by_definition[kind]
    assert round(trained_params(kind, "emca-eca") / 1e6, 2) == emca_eca


def test_two_stages_count_all_their_layers_whatever_they_find():
    """By hand: what Mask R-CNN does more than Faster R-CNN, on 100 objects: four 3x3 convolutions on 14 x 14, one that
    doubles the side, and a 1x1 on 28 x 28."""
    both = (NetworkSettings(kind=kind, attention="none") for kind in ("faster_rcnn", "mask_rcnn"))
    faster, mask = (cost(settings, 8, 128) for settings in both)
    drawn = 4 * 256 * 256 * 9 * 14**2 + 256 * 256 * 28**2 + 256 * 9 * 28**2
    assert mask.macs - faster.macs == 100 * drawn
    assert faster.macs > 1000 * (256 * 49 * 1024 + 1024**2)


@pytest.mark.slow
def test_the_table_in_the_documentation_is_what_the_command_prints(capsys):
    from pathlib import Path

    assert main([]) == 0
    begins = ("| resnet", "| ResNet", "| +")
    rows = [line for line in capsys.readouterr().out.splitlines() if line.startswith(begins)]
    docs = Path(__file__).resolve().parents[2] / "docs"
    documentation = (docs / "network.md").read_text() + (docs / "two-stage.md").read_text()
    assert len(rows) == 15 + 6
    assert all(row in documentation for row in rows)
