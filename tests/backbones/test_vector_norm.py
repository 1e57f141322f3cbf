"""A batch of one image in training: BatchNorm of one vector an image has nothing to compare."""

from __future__ import annotations

import pytest
import torch

from backbones import build_backbone


@pytest.mark.parametrize(
    ("attention", "name"),
    [
        *(("srm", "SRM"), ("emca-srm", "SRM"), ("bam", "BAM"), ("sk", "sk"), ("splat", "splat")),
        *(("ba", "BA-Net"), ("sb", "Shift-and-balance")),
        *(("ge-theta", "ge-theta"), ("ge-plus", "ge-theta and ge-plus")),
    ],
)
def test_one_image_a_step_is_answered_in_one_line_that_says_what_to_change(attention: str, name: str) -> None:
    backbone = build_backbone("resnet18", attention).train()
    with pytest.raises(ValueError) as caught:
        backbone(torch.zeros(1, 3, 64, 64))
    message = str(caught.value)
    assert message.startswith(name) and "\n" not in message
    assert "2 images or more a step on each process (raise phases.N.batch_size or lower train.accumulate)" in message
    backbone(torch.randn(2, 3, 64, 64))
    backbone.eval()(torch.zeros(1, 3, 64, 64))
