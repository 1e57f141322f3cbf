"""Raw maps to boxes and back: the one place that knows what the numbers of a YOLOv3 head mean.

A raw map is [B, A*(5+K), h, w]; its channels are, per anchor, tx ty tw th, an objectness logit and K class logits.
Flat predictions are ordered by level, row, column, anchor: N = A * sum(h*w) = 12348 for 448 x 448.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True)
class Grid:
    """Where each of N predictions sits: cells [N, 2] column and row, anchors [N, 2] px, strides [N, 1] px."""

    cells: Tensor
    anchors: Tensor
    strides: Tensor

    def take(self, index: Tensor) -> Grid:
        return Grid(self.cells[index], self.anchors[index], self.strides[index])


def make_grid(sizes: Sequence[tuple[int, int]], anchors: Tensor, strides: Sequence[int]) -> Grid:
    """sizes: (h, w) of each level; anchors [L, A, 2] px. Made on the fly, so that any input size works."""
    cells, priors, steps = [], [], []
    for (height, width), level_anchors, stride in zip(sizes, anchors, strides, strict=True):
        count = level_anchors.shape[0]
        rows = torch.arange(height, dtype=anchors.dtype, device=anchors.device)
        columns = torch.arange(width, dtype=anchors.dtype, device=anchors.device)
        y, x = torch.meshgrid(rows, columns, indexing="ij")
        level_cells = torch.stack((x, y), -1)[:, :, None].expand(height, width, count, 2).reshape(-1, 2)
        cells.append(level_cells)
        priors.append(level_anchors.expand(height, width, count, 2).reshape(-1, 2))
        steps.append(torch.full_like(level_cells[:, :1], stride))
    return Grid(torch.cat(cells), torch.cat(priors), torch.cat(steps))


@dataclass(frozen=True, slots=True)
class Coder:
    """Box arithmetic of YOLOv3 (Redmon 2018, section 2.1), with two parameters.

    centre = (cell + xy_scale * sigmoid(txy) - (xy_scale - 1) / 2) * stride;   size = anchor * exp(twh)

    xy_scale 1 is Redmon's: a centre moves inside its cell and never quite reaches the border. 2 lets it reach half a
    cell beyond each side, which assigning an object to neighbouring cells needs.
    |twh| is bounded by size_limit before exp, so that no logit, however wild, overflows: log(1000/16), as in Faster
    R-CNN, still lets the smallest anchor (about 16 px) grow over the whole input, and is fine in half precision.
    """

    xy_scale: float = 1.0
    size_limit: float = math.log(1000 / 16)

    def decode(self, raw: Tensor, grid: Grid) -> Tensor:
        """raw [..., N, 4] tx ty tw th -> boxes [..., N, 4] x1 y1 x2 y2 px of the network input."""
        offset = raw[..., :2].sigmoid() * self.xy_scale - (self.xy_scale - 1) / 2
        centre = (grid.cells + offset) * grid.strides
        half = grid.anchors * raw[..., 2:].clamp(-self.size_limit, self.size_limit).exp() / 2
        return torch.cat((centre - half, centre + half), -1)

    def fractions(self, boxes: Tensor, grid: Grid) -> tuple[Tensor, Tensor]:
        """What a perfect head would say of boxes [N, 4] at their places: sigmoid(txy) [N, 2] and twh [N, 2]."""
        centre = (boxes[..., :2] + boxes[..., 2:]) / 2
        offset = centre / grid.strides - grid.cells
        size = (boxes[..., 2:] - boxes[..., :2]) / grid.anchors
        smallest = math.exp(-self.size_limit)
        share = (offset + (self.xy_scale - 1) / 2) / self.xy_scale
        return share.clamp(0, 1), size.clamp(smallest, 1 / smallest).log()


def flatten_maps(raw_maps: Sequence[Tensor], anchors_per_level: int) -> Tensor:
    """3 x [B, A*(5+K), h, w] -> [B, N, 5+K], at least float32 (a half precise pixel is too coarse beyond 1024 px)."""
    flat = []
    for raw in raw_maps:
        batch, channels, height, width = raw.shape
        last = raw.permute(0, 2, 3, 1)  # [B, h, w, A*(5+K)]: no copy when the network runs channels_last
        flat.append(last.reshape(batch, height * width * anchors_per_level, channels // anchors_per_level))
    joined = torch.cat(flat, 1)
    return joined if joined.dtype == torch.float64 else joined.float()


def decode_maps(
    raw_maps: Sequence[Tensor], anchors: Tensor, strides: Sequence[int], coder: Coder
) -> tuple[Tensor, Tensor, Tensor]:
    """Raw maps -> boxes [B, N, 4] xyxy px of the network input, objectness logits [B, N], class logits [B, N, K]."""
    flat = flatten_maps(raw_maps, anchors.shape[1])
    grid = make_grid([(raw.shape[2], raw.shape[3]) for raw in raw_maps], anchors.to(flat.dtype), strides)
    return coder.decode(flat[..., :4], grid), flat[..., 4], flat[..., 5:]
