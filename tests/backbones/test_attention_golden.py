"""Every attention module against numbers from its published implementation (tests/golden/attention)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from places import place
from torch import Tensor, nn

from backbones.attention import CATALOGUE
from backbones.attention.emca import Emca, MultiscaleAggregation
from backbones.attention.gate import ChannelGate
from backbones.attention.seat import Seat

GOLDEN = Path(__file__).resolve().parents[1] / "golden" / "attention"
TOLERANCE = {"atol": 1e-5, "rtol": 0}

LOCAL = {
    "se_r16_nobias": ("se", 64),
    "eca_c64_k3": ("eca", 64),
    "eca_c256_k5": ("eca", 256),
    "srm": ("srm", 64),
    "cbam_r16": ("cbam", 64),
    "bam_r16": ("bam", 64),
    "gc_add_r16": ("gc", 64),
    "fca_top16_14": ("fca", 64),
}
FCA = {"fca_top16_14_from28": "top16", "fca_top16_14_20x50": "top16", "fca_low16_14_c128": "low16"}
WITH_BATCH_NORM = ("srm", "cbam_r16", "bam_r16")
EMCA = {"emca_se_1N": "emca-se", "emca_eca_1N": "emca-eca", "emca_srm_1N_derived": "emca-srm"}


def load(name: str) -> dict[str, Tensor]:
    with np.load(GOLDEN / f"{name}.npz") as file:
        return {key: torch.from_numpy(file[key]) for key in file.files if key != "meta"}


def set_state(module: nn.Module, golden: dict[str, Tensor]) -> None:
    """Copy the reference's weights: other names, the same order. FCA's DCT is a constant, no weight."""
    ours = module.state_dict()
    theirs = [v for k, v in golden.items() if k.startswith("sd/") and not k.startswith("sd/dct_layer")]
    assert len(ours) == len(theirs)
    module.load_state_dict({key: v.reshape(ours[key].shape) for key, v in zip(ours, theirs, strict=True)})


def local_module(name: str) -> tuple[nn.Module, dict[str, Tensor]]:
    attention, channels = LOCAL[name]
    module, golden = CATALOGUE[attention].build(place(channels)), load(name)
    set_state(module, golden)
    return module, golden


def attend(name: str, module: nn.Module, x: Tensor) -> Tensor:
    """What the module makes of x: for modules in a block, with nothing on the shortcut."""
    is_after_stage = CATALOGUE[LOCAL[name][0]].seat is Seat.AFTER_STAGE
    return module(x) if is_after_stage else module(x, torch.zeros_like(x), [])


@pytest.mark.parametrize("name", LOCAL)
def test_output_and_input_gradient_equal_the_published_module(name: str) -> None:
    module, golden = local_module(name)
    x = golden["x"][:1].requires_grad_()
    y = attend(name, module.eval(), x)
    (y * golden["gy"]).sum().backward()
    torch.testing.assert_close(y[:, ::4].detach(), golden["y_eval"], **TOLERANCE)
    # Gradients here reach 60 (gc), where float32 itself is good to 6e-5: 1e-5 is meant of the largest.
    tolerance = 1e-5 * max(1.0, golden["gx_eval"].abs().max().item())
    torch.testing.assert_close(x.grad[:, ::4], golden["gx_eval"], atol=tolerance, rtol=0)


@pytest.mark.parametrize("name", FCA)
def test_fca_reads_a_map_of_any_size_as_the_published_module_does(name: str) -> None:
    golden = load(name)
    x = golden["x"].requires_grad_()
    module = CATALOGUE["fca"].build(place(x.shape[1], side=14), frequencies=FCA[name])
    set_state(module, golden)
    y = module(x, torch.zeros_like(x), [])
    (y * golden["gy"]).sum().backward()
    torch.testing.assert_close(y.detach(), golden["y_eval"], **TOLERANCE)
    largest = golden["gx_eval"].abs().max().item()
    torch.testing.assert_close(x.grad, golden["gx_eval"], atol=1e-5 * largest, rtol=0)


@pytest.mark.parametrize("name", WITH_BATCH_NORM)
def test_train_mode_output_equals_the_published_module(name: str) -> None:
    module, golden = local_module(name)
    y = attend(name, module.train(), golden["x"])
    torch.testing.assert_close(y[:, ::4].detach(), golden["y_train"], **TOLERANCE)


@pytest.mark.parametrize("residual_gate", [False, True])
@pytest.mark.parametrize("name", EMCA)
def test_emca_equals_the_reference_in_every_step(name: str, residual_gate: bool) -> None:
    golden = load(name)
    excitation = CATALOGUE[EMCA[name]].build(place(64)).excitation.eval()
    assert isinstance(excitation, ChannelGate)
    set_state(excitation, golden)
    emca = Emca(excitation, MultiscaleAggregation(3), is_tapped=False, keeps_taps=False, residual_gate=residual_gate)
    emca.mab.weight.data = golden["mab_w"].flatten()
    x0, taps = golden["x0"], [golden["prev_0"], golden["prev_1"]]
    with torch.no_grad():
        aggregated = emca.mab([*taps, excitation.squeeze(x0)])
        gate = excitation.excite(aggregated)
        output = emca(x0, torch.zeros_like(x0), taps)
    torch.testing.assert_close(aggregated, golden["xa"], **TOLERANCE)
    torch.testing.assert_close(gate, golden["z"], **TOLERANCE)
    torch.testing.assert_close(output[:, ::4], golden["out_1plus" if residual_gate else "out_scale"], **TOLERANCE)
