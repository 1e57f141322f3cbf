"""BatchNorm of one vector an image, which cannot learn from one image."""

from __future__ import annotations

from torch import Tensor, nn


class VectorBatchNorm(nn.BatchNorm1d):
    """nn.BatchNorm1d on [B, C]; a batch of one image in training is answered in one line that names the attention."""

    def __init__(self, channels: int, attention: str) -> None:
        super().__init__(channels)
        self.attention = attention

    def forward(self, x: Tensor) -> Tensor:
        if self.training and x.shape[0] == 1:
            raise ValueError(
                f"{self.attention} cannot learn from a batch of one image, as its BatchNorm compares images: give 2 "
                "images or more a step on each process (raise phases.N.batch_size or lower train.accumulate)"
            )
        return super().forward(x)
