"""Averages of maps that are counted as the pooling that they are (backbones/counting.py)."""

from __future__ import annotations

from torch import Tensor, nn


class MapMean(nn.AdaptiveAvgPool2d):
    """[..., H, W] -> [..., 1, 1], or the mean over one side alone: `over=3` [B, C, H, 1], `over=2` [B, C, 1, W].

    A plain reduction: it reads strided views as they are, and exports to a single ReduceMean.
    """

    def __init__(self, over: int | tuple[int, int] = (-2, -1)) -> None:
        super().__init__(1)
        self.over = over

    def forward(self, x: Tensor) -> Tensor:
        return x.mean(self.over, keepdim=True)
