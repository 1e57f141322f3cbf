"""Global Context block. Cao et al.: "GCNet", ICCV Workshops 2019, arXiv:1904.11492."""

from __future__ import annotations

from torch import Tensor, nn

from backbones.attention.gate import Taps, reduced
from backbones.attention.place import Place


class GlobalContext(nn.Module):
    """y = x + W2 ReLU(LayerNorm(W1 Σ_p softmax_p(w·x_p) x_p)): one context vector, added at every position p."""

    def __init__(self, place: Place, *, reduction: int = 16) -> None:
        super().__init__()
        channels, hidden = place.channels, reduced(place.channels, reduction)
        self.mask = nn.Conv2d(channels, 1, kernel_size=1)
        last = nn.Linear(hidden, channels)
        # As published, the context starts at zero, so that the network begins as the plain ResNet.
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)
        self.transform = nn.Sequential(nn.Linear(channels, hidden), nn.LayerNorm(hidden), nn.ReLU(inplace=True), last)

    def forward(self, residual: Tensor, shortcut: Tensor, taps: Taps) -> Tensor:
        weights = self.mask(residual).flatten(2).softmax(2)  # [B, 1, HW]
        context = (residual.flatten(2) @ weights.transpose(1, 2).to(residual.dtype)).squeeze(2)  # [B, C]
        return residual + shortcut + self.transform(context).to(residual.dtype)[:, :, None, None]
