"""Fresh gates on a branch whose weights were trained without: open to begin with.

A gate begins near a constant, a sigmoid's at one half. On a pretrained residual branch that halves what every block
adds, and what follows sees maps it was not trained on. So the branch's last BatchNorm is raised by as much as the fresh
gate takes away: the network begins as the pretrained one, and the gate is free to move from there.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from backbones.resnet import AttentionBasicBlock, AttentionBottleneck, AttentionResNet

OPEN = 0.02  # a gate this near to 1 is open
ALIKE = 0.8  # what leaves a gate is like what entered it; other modules shuffle or mix, and no number opens them


@torch.no_grad()
def open_fresh_gates(backbone: AttentionResNet, paths: Iterable[str]) -> dict[str, float]:
    """Raises the norms before the modules at `paths`, which sit on a residual branch, in place.

    Returns what each module let through, by its path, where that was not all.
    """
    passed = _passed(backbone, {path: backbone.get_submodule(path) for path in paths})
    half_open = {path: share for path, share in passed.items() if abs(share - 1) > OPEN}
    for path, share in half_open.items():
        norm = _last_norm(backbone.get_submodule(path.rpartition(".")[0]))
        norm.weight.div_(share)
        norm.bias.div_(share)
    return half_open


def _passed(backbone: AttentionResNet, modules: dict[str, nn.Module]) -> dict[str, float]:
    """The share of the residual that each gate adds to the shortcut, for a picture of noise."""
    shares: dict[str, float] = {}

    def listen(path: str, module: nn.Module) -> Iterable[torch.utils.hooks.RemovableHandle]:
        kept: list[Tensor] = []

        def before(_: nn.Module, inputs: tuple[Tensor, ...]) -> None:
            kept[:] = [inputs[0].clone(), inputs[1].clone()]  # some modules work in place

        def after(_: nn.Module, __: tuple[Tensor, ...], total: Tensor) -> None:
            residual, added = kept[0], total - kept[1]
            common = (added * residual).sum()
            if common > ALIKE * added.norm() * residual.norm():
                shares[path] = float(common / residual.square().sum())

        return module.register_forward_pre_hook(before), module.register_forward_hook(after)

    handles = [handle for path, module in modules.items() for handle in listen(path, module)]
    was_training = backbone.training
    noise = torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    try:
        backbone.eval()(noise)
    finally:
        backbone.train(was_training)
        for handle in handles:
            handle.remove()
    return shares


def _last_norm(block: nn.Module) -> nn.BatchNorm2d:
    assert isinstance(block, (AttentionBasicBlock, AttentionBottleneck))
    return block.bn3 if isinstance(block, AttentionBottleneck) else block.bn2
