"""Squeeze-and-Excitation. Hu, Shen, Sun: "Squeeze-and-Excitation Networks", CVPR 2018, arXiv:1709.01507."""

from __future__ import annotations

from torch import Tensor, nn

from backbones.attention.gate import SigmoidGate, reduced
from backbones.attention.place import Place


class SqueezeExcite(SigmoidGate):
    """z = sigmoid(W2 ReLU(W1 mean(x))), W1 [C/r, C], W2 [C, C/r].

    reduction       r
    bias            both layers have biases, as in the published network; later code, and the default here, have none
    """

    def __init__(self, place: Place, *, reduction: int = 16, bias: bool = False) -> None:
        super().__init__(place)
        hidden = reduced(place.channels, reduction)
        self.fc = nn.Sequential(
            nn.Linear(place.channels, hidden, bias=bias),
            nn.ReLU(inplace=True),
            nn.Linear(hidden, place.channels, bias=bias),
        )

    def logits(self, squeezed: Tensor) -> Tensor:
        return self.fc(squeezed)
