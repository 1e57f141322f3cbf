"""Pyramid squeeze attention. Zhang et al.: "EPSANet", ACCV 2022, arXiv:2105.14447."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from backbones.attention.gate import GlobalMean
from backbones.attention.place import Place

KERNELS = {9: 16, 7: 8, 5: 4, 3: 1}  # kernel size: groups; in the order of the output's channels


class PyramidSqueeze(nn.Module):
    """Four convolutions of growing size, weighted against each other. Takes the place of a bottleneck's 3x3.

    u_k = conv_k(x)                                                     kernels 9, 7, 5, 3, C -> C/4 each
    s_k = sigmoid(W2 ReLU(W1 mean(u_k) + b1) + b2)                      one gate for all four, W1 [C/64, C/4]
    y   = [u_k ⊗ a_k], a = softmax of these s over the four k           per channel

    The output begins with kernel 9, as in the published code.
    """

    def __init__(self, place: Place) -> None:
        super().__init__()
        if not place.is_bottleneck:
            raise ValueError("epsa takes the place of a bottleneck's 3x3: use resnet50, resnet101 or resnet152")
        part = place.inner // len(KERNELS)
        self.convs = nn.ModuleList(
            nn.Conv2d(place.inputs, part, kernel, place.stride, padding=kernel // 2, groups=groups, bias=False)
            for kernel, groups in KERNELS.items()
        )
        self.mean = GlobalMean()
        self.fc = nn.Sequential(
            *(nn.Linear(part, part // 16), nn.ReLU(inplace=True), nn.Linear(part // 16, part), nn.Sigmoid())
        )
        for layer in (*self.convs, self.fc[0], self.fc[2]):
            nn.init.kaiming_normal_(layer.weight, mode="fan_out")

    def forward(self, x: Tensor) -> Tensor:
        pyramid = torch.cat([conv(x) for conv in self.convs], dim=1)
        gates = self.fc(self.mean(pyramid).unflatten(1, (len(KERNELS), -1)))  # [B, 4, C/4]
        return pyramid * gates.softmax(1).flatten(1).to(pyramid.dtype)[:, :, None, None]
