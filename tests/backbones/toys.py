"""A toy attention for every seat: the least that uses what the seat offers."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from backbones.attention.gate import Taps, add_scaled
from backbones.attention.place import Place
from backbones.attention.seat import Entry, Seat, in_stages
from backbones.names import PLACEMENTS


class Scale(nn.Module):
    """On the residual branch: times one number a channel."""

    def __init__(
        self, place: Place, *, start: float = 1.5, power: int = 1, squared: bool = False, at: Literal["a", "b,c"] = "a"
    ) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.full((place.channels,), float(start)))

    def forward(self, residual: Tensor, shortcut: Tensor, taps: Taps) -> Tensor:
        return shortcut + residual * self.scale[:, None, None]


class InnerGate(nn.Module):
    """On the residual branch, reading the averages of the block's inner convolutions."""

    def __init__(self, place: Place) -> None:
        super().__init__()
        self.fc = nn.Linear(place.inner * (2 if place.is_bottleneck else 1), place.channels)

    def forward(self, residual: Tensor, shortcut: Tensor, taps: Taps) -> Tensor:
        gate = torch.sigmoid(self.fc(torch.cat(taps, 1)))
        taps.clear()
        return add_scaled(shortcut, residual, gate)


class Earlier(nn.Module):
    """Across blocks: a gate from the means of all earlier blocks of the stage, and of the stem in stage 1."""

    def __init__(self, place: Place) -> None:
        super().__init__()
        self.place = place
        read = place.block - 1 + (place.stage == 1)
        self.weight = nn.Parameter(torch.full((read + 1,), 0.5))

    def forward(self, residual: Tensor, shortcut: Tensor, taps: Taps) -> Tensor:
        vectors = [*taps, residual.mean((2, 3))]
        widest = [v.repeat(1, residual.shape[1] // v.shape[1]) for v in vectors]
        gate = torch.sigmoid(torch.stack(widest, dim=-1) @ self.weight)
        taps.append(vectors[-1])
        if self.place.is_last_block:
            taps.clear()
        return add_scaled(shortcut, residual, gate)


def earlier(place: Place) -> nn.Module | None:
    if place.stage == 4:
        return None
    return nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten()) if place.stage == 0 else Earlier(place)


class Grouped(nn.Module):
    """In place of the 3x3: two halves, weighted."""

    def __init__(self, place: Place) -> None:
        super().__init__()
        self.convs = nn.ModuleList(
            nn.Conv2d(place.inputs, place.inner // 2, 3, place.stride, padding=1, bias=False) for _ in range(2)
        )

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([conv(x) for conv in self.convs], 1)


class GroupedToTheEnd(Grouped):
    """In place of the 3x3 with its BatchNorm and ReLU. Its own last step is a ReLU, which nothing may overwrite."""

    def __init__(self, place: Place) -> None:
        super().__init__(place)
        self.norm = nn.BatchNorm2d(place.inner)

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(self.norm(super().forward(x)))


class Mixer(nn.Module):
    """After a block or stage: x plus a product of all positions with all."""

    def __init__(self, place: Place) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.ones(place.channels))

    def forward(self, x: Tensor) -> Tensor:
        flat = x.flatten(2)
        mixed = flat @ (flat.transpose(1, 2) @ flat).softmax(2)
        return x + mixed.view(x.shape) * self.gamma[:, None, None]


TOYS = {
    "toy-residual": Entry(Seat.RESIDUAL, Scale, PLACEMENTS),
    "toy-inner": Entry(Seat.INNER, InnerGate, PLACEMENTS),
    "toy-across": Entry(Seat.ACROSS_BLOCKS, earlier),
    "toy-convolution": Entry(Seat.CONVOLUTION, Grouped, PLACEMENTS),
    "toy-norm-relu": Entry(Seat.CONVOLUTION_NORM_RELU, GroupedToTheEnd, PLACEMENTS),
    "toy-block": Entry(
        Seat.AFTER_BLOCK, Mixer, where=lambda place: place.stage == 3 and place.block == place.depths[2] - 1
    ),
    "toy-stage": Entry(Seat.AFTER_STAGE, Mixer, where=in_stages(4)),
}
