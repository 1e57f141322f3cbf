"""Global second-order pooling. Gao et al.: "Global Second-order Pooling Convolutional Networks", CVPR 2019,
arXiv:1811.12006 (channel attention)."""

from __future__ import annotations

from torch import Tensor, nn

from backbones.attention.gate import Taps, add_scaled
from backbones.attention.place import Place
from backbones.attention.products import channel_products


class SecondOrderPooling(nn.Module):
    """z = sigmoid(W conv_row(BN(cov(f)))), f = ReLU(BN(1x1(ReLU(x)))).

    f           [B, d, h, w], d is `size`; its 1x1 has stride 2 in stage 1, where maps are largest
    cov(f)      [B, d, d], over the positions, divided by their number (not by one less)
    BN          its channels are the d rows
    conv_row    each row of d numbers gives four: [B, 4d]; W: 4d -> C with bias

    The paper's network has it in the last block of each stage (`placement=last`), and keeps stage 4 at stride 1 for it;
    here every stage has its usual stride.
    """

    def __init__(self, place: Place, *, size: int = 128) -> None:
        super().__init__()
        stride = 2 if place.stage == 1 else 1
        reduce = nn.Conv2d(place.channels, size, kernel_size=1, stride=stride)
        by_row = nn.Conv1d(size, 4 * size, kernel_size=size, groups=size)
        last = nn.Conv1d(4 * size, place.channels, kernel_size=1)
        for conv in (reduce, by_row, last):
            nn.init.kaiming_normal_(conv.weight, mode="fan_out", nonlinearity="relu")
            assert conv.bias is not None
            nn.init.zeros_(conv.bias)
        self.reduce = nn.Sequential(nn.ReLU(), reduce, nn.BatchNorm2d(size), nn.ReLU(inplace=True))
        self.rows = nn.Sequential(nn.BatchNorm1d(size), by_row)
        self.gate = nn.Sequential(last, nn.Flatten(1), nn.Sigmoid())

    def excite(self, x: Tensor) -> Tensor:
        """[B, C, H, W] -> the gate [B, C]"""
        return self.gate(self.rows(covariance(self.reduce(x))))

    def forward(self, residual: Tensor, shortcut: Tensor, taps: Taps) -> Tensor:
        return add_scaled(shortcut, residual, self.excite(residual))


def covariance(x: Tensor) -> Tensor:
    """[B, d, h, w] -> [B, d, d]. Centred first: mean(xy) - mean(x) mean(y) cancels where the mean is large."""
    products = channel_products(x - x.mean((2, 3), keepdim=True))
    return (products / (x.shape[2] * x.shape[3])).to(x.dtype)
