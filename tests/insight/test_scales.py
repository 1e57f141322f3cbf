"""The gates that are told are those that the network computes."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from small_detector import awake

from insight import scales
from insight.frames import of_split
from insight.gates import gates_of, logits_over
from insight.subject import DetectorSubject


def test_statistics_by_hand() -> None:
    logits = np.array([[0.0, -200.0], [0.0, np.log(0.25 / 0.75)]], np.float32)  # z: [.5, 0], [.5, .25]
    stage = scales.statistics("layer1.0", logits)
    assert (stage.channels, stage.zero, stage.smallest_logit) == (2, 0.25, -200)
    assert stage.mean == pytest.approx(0.3125)
    assert stage.variance == pytest.approx(((0.5 - 0.125) / 2) ** 2)  # of the means .5 and .125
    assert stage.over_images == pytest.approx((0 + 0.125**2) / 2)
    assert (stage.below_half, stage.below_fifth, stage.below_hundredth) == (0.5, 0.25, 0.25)


@pytest.mark.parametrize("attention", ["emca-se", "eca", "srm"])
def test_the_recorded_logits_are_those_behind_the_output(attention: str, root: Path) -> None:
    """The gate is worked out from what went in and came out of the attention: (sum - shortcut) / residual."""
    subject = DetectorSubject(awake(attention=attention), "net", "cpu")
    module, gates = subject.backbone.layer3[0].attention, []

    def look(_: object, inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> None:
        residual, shortcut = inputs[0].double(), inputs[1].double()
        gates.append(((output - shortcut) * residual).sum((2, 3)) / residual.square().sum((2, 3)))

    module.register_forward_hook(look)
    logits = logits_over(subject, of_split(root, "val", None))
    assert list(logits) == ["layer1.0", "layer2.0", "layer3.0", "layer4.0"]
    z = torch.from_numpy(logits["layer3.0"]).sigmoid()
    torch.testing.assert_close(z.double(), torch.cat(gates), rtol=1e-3, atol=1e-3)
    assert all("logits" not in vars(gate) for gate in gates_of(subject.backbone).values())  # nothing stays behind


def test_the_command(weights: Path, root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = [str(weights), "--data", str(root), "--output", str(tmp_path / "out"), "--json", str(tmp_path / "s.json")]
    assert scales.main(words) == 0
    printed = capsys.readouterr().out
    assert "2 frames of split val" in printed and "give weights with EMCA, and others without" in printed
    stages = json.loads((tmp_path / "s.json").read_text())["networks"]["emca"]["stages"]
    assert [stage["channels"] for stage in stages] == [64, 128, 256, 512]
    with np.load(tmp_path / "out" / "emca.npz") as logits:
        assert logits["layer4.0"].shape == (2, 512)
    assert (tmp_path / "out" / "scales-dark.png").is_file()


def test_an_attention_without_channel_gates_is_refused(root: Path) -> None:
    with pytest.raises(ValueError, match="has no gate for each channel"):
        logits_over(DetectorSubject(awake(attention="none"), "net", "cpu"), of_split(root, "val", None))
