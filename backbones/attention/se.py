"""Squeeze-and-Excitation. Hu, Shen, Sun: "Squeeze-and-Excitation Networks", CVPR 2018, arXiv:1709.01507."""

from __future__ import annotations

from torch import Tensor, nn

from backbones.attention.gate import ChannelGate


class SqueezeExcite(ChannelGate):
    """z = sigmoid(W2 ReLU(W1 mean(x))), W1 [C/16, C], W2 [C, C/16], without biases."""

    def __init__(self, channels: int, reduction: int = 16) -> None:
        super().__init__()
        self.fc = nn.Sequential(
            nn.Linear(channels, channels // reduction, bias=False),
            nn.ReLU(inplace=True),
            nn.Linear(channels // reduction, channels, bias=False),
            nn.Sigmoid(),
        )

    def excite(self, squeezed: Tensor) -> Tensor:
        return self.fc(squeezed)
