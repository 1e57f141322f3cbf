"""Products between the channels of a map, and between its positions."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor, nn


def channel_products(x: Tensor) -> Tensor:
    """E = XXᵀ, [B, C, H, W] -> [B, C, C], in float32 or wider, also under autocast.

    E grows with the map and goes into a softmax, where the last bits of a bfloat16 would be whole units.
    """
    with without_autocast(x.device.type):
        x = x.flatten(2).to(torch.promote_types(x.dtype, torch.float32))
        return x @ x.transpose(1, 2)


def without_autocast(device: str) -> AbstractContextManager[object]:
    has_it = torch.amp.is_autocast_available(device)  # the "meta" device has not
    return torch.autocast(device, enabled=False) if has_it else nullcontext()


def channel_softmax(x: Tensor, over: int) -> Tensor:
    """softmax(-E) over that index, [B, C, H, W] -> [B, C, C]: channels attend to those that are least like them.

    E is not divided by the number of positions, so on a large map nearly all weight falls on one channel.
    """
    return channel_products(x).neg_().softmax(over)


def attend_positions(query: Tensor, key: Tensor, value: Tensor, scale: float) -> Tensor:
    """y_i = Σ_j softmax_j(scale · q_i · k_j) v_j over the positions; query and key [B, D, H, W], value [B, E, H, W] ->
    [B, E, H, W].

    Where D = E no HW x HW matrix is kept: PyTorch's fused kernels go through it in tiles, given rows that lie together.
    """
    q, k, v = (m.flatten(2).transpose(1, 2).contiguous()[:, None] for m in (query, key, value))  # [B, 1, HW, D]
    attended = nn.functional.scaled_dot_product_attention(q, k, v, scale=scale)
    return attended[:, 0].transpose(1, 2).unflatten(2, value.shape[2:])
