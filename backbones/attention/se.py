"""Squeeze-and-Excitation. Hu, Shen, Sun: "Squeeze-and-Excitation Networks", CVPR 2018, arXiv:1709.01507."""

from __future__ import annotations

from torch import Tensor, nn

from backbones.attention.gate import ChannelGate, reduced
from backbones.attention.place import Place


class SqueezeExcite(ChannelGate):
    """z = sigmoid(W2 ReLU(W1 mean(x))), W1 [C/r, C], W2 [C, C/r], without biases; r is `reduction`."""

    def __init__(self, place: Place, *, reduction: int = 16) -> None:
        super().__init__(place)
        hidden = reduced(place.channels, reduction)
        self.fc = nn.Sequential(
            nn.Linear(place.channels, hidden, bias=False),
            nn.ReLU(inplace=True),
            nn.Linear(hidden, place.channels, bias=False),
            nn.Sigmoid(),
        )

    def excite(self, squeezed: Tensor) -> Tensor:
        return self.fc(squeezed)
