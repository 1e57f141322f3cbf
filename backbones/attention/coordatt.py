"""Coordinate attention. Hou, Zhou, Feng: CVPR 2021, arXiv:2103.02907."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from backbones.attention.gate import Taps
from backbones.attention.mean import MapMean
from backbones.attention.place import Place

NARROWEST = 8  # channels of the narrow layer, whatever the reduction


class CoordinateAttention(nn.Module):
    """y = x ⊗ a_h ⊗ a_w: one number per channel and row, one per channel and column.

    s   = [mean over columns; mean over rows]                   [B, C, H + W], laid end to end
    v   = hardswish(BN(W s))                                    [B, m, H + W], m = max(8, C / reduction)
    a_h = sigmoid(W_h v_h), a_w = sigmoid(W_w v_w)              [B, C, H, 1] and [B, C, 1, W]

    The paper puts it into MobileNets; the seat in a ResNet's block is ours.
    """

    def __init__(self, place: Place, *, reduction: int = 32) -> None:
        super().__init__()
        hidden = max(NARROWEST, place.channels // reduction)
        self.mean_of_rows, self.mean_of_columns = MapMean(over=3), MapMean(over=2)
        self.shared = nn.Sequential(
            nn.Conv2d(place.channels, hidden, kernel_size=1), nn.BatchNorm2d(hidden), nn.Hardswish(inplace=True)
        )
        self.rows = nn.Conv2d(hidden, place.channels, kernel_size=1)
        self.columns = nn.Conv2d(hidden, place.channels, kernel_size=1)

    def forward(self, residual: Tensor, shortcut: Tensor, taps: Taps) -> Tensor:
        height, width = residual.shape[2:]
        strips = (self.mean_of_rows(residual), self.mean_of_columns(residual).transpose(2, 3))
        of_rows, of_columns = self.shared(torch.cat(strips, dim=2)).split((height, width), dim=2)
        gate_h = torch.sigmoid(self.rows(of_rows))
        gate_w = torch.sigmoid(self.columns(of_columns.transpose(2, 3)))
        return torch.addcmul(shortcut, residual * gate_h, gate_w)
