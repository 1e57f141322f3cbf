from __future__ import annotations

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from detector.network.build import build_detector
from detector.network.profile import cost, main
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


@pytest.mark.slow
def test_the_table_in_the_documentation_is_what_the_command_prints(capsys):
    from pathlib import Path

    assert main([]) == 0
    rows = [line for line in capsys.readouterr().out.splitlines() if line.startswith("| resnet")]
    documentation = (Path(__file__).resolve().parents[2] / "docs" / "network.md").read_text()
    assert len(rows) == 15
    assert all(row in documentation for row in rows)
