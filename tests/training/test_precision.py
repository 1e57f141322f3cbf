"""Devices that are not there, and arithmetic they cannot do: one line each."""

from __future__ import annotations

import pytest
import torch

from training.precision import pick_device, pick_precision


@pytest.mark.parametrize("name", ["tpu", "meta", "xla", "cpu:x", "cuda:99", "mps"])
def test_a_device_that_is_not_here_is_refused_with_what_would_work(name: str) -> None:
    if name == "mps" and torch.backends.mps.is_available():
        pytest.skip("this machine has one")
    with pytest.raises(ValueError, match=rf"device '{name}': .*(auto|cpu)"):
        pick_device(name)


def test_auto_takes_what_is_there() -> None:
    assert pick_device("auto").type == ("cuda" if torch.cuda.is_available() else "cpu")
    assert pick_device("cpu") == torch.device("cpu")


def test_fp16_needs_a_gpu() -> None:
    with pytest.raises(ValueError, match="fp16 needs a GPU"):
        pick_precision("fp16", torch.device("cpu"))
    assert pick_precision("bf16", torch.device("cpu")) == "bf16"
