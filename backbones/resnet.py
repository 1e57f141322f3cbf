"""torchvision's ResNet with room for attention. torchvision's weight names stay valid.

stem -> layer1 -> layer2 -> layer3 -> layer4
                    C3        C4        C5       strides 8, 16, 32
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torchvision.models.resnet import BasicBlock, Bottleneck, ResNet

from backbones.attention import ATTENTIONS, BETWEEN_STAGES, EMCA_EXCITATION, IN_BLOCK
from backbones.attention.emca import emca_slots
from backbones.attention.gate import PlainAdd, Taps
from backbones.names import COVERAGES, PLACEMENTS, check_name


class AttentionBasicBlock(BasicBlock):
    """Two 3x3 convolutions and a shortcut; `attention` adds them."""

    def forward(self, x: Tensor, taps: Taps) -> Tensor:
        residual = self.relu(self.bn1(self.conv1(x)))
        residual = self.bn2(self.conv2(residual))
        shortcut = x if self.downsample is None else self.downsample(x)
        return self.relu(self.attention(residual, shortcut, taps))


class AttentionBottleneck(Bottleneck):
    """1x1, 3x3, 1x1 convolutions and a shortcut; `attention` adds them."""

    def forward(self, x: Tensor, taps: Taps) -> Tensor:
        residual = self.relu(self.bn1(self.conv1(x)))
        residual = self.relu(self.bn2(self.conv2(residual)))
        residual = self.bn3(self.conv3(residual))
        shortcut = x if self.downsample is None else self.downsample(x)
        return self.relu(self.attention(residual, shortcut, taps))


ARCHITECTURES: dict[str, tuple[type[BasicBlock | Bottleneck], tuple[int, int, int, int]]] = {
    "resnet18": (AttentionBasicBlock, (2, 2, 2, 2)),
    "resnet34": (AttentionBasicBlock, (3, 4, 6, 3)),
    "resnet50": (AttentionBottleneck, (3, 4, 6, 3)),
    "resnet101": (AttentionBottleneck, (3, 4, 23, 3)),
    "resnet152": (AttentionBottleneck, (3, 8, 36, 3)),
}
ARCHS = tuple(ARCHITECTURES)
STAGE_WIDTHS = (64, 128, 256, 512)


class AttentionResNet(ResNet):
    """A ResNet with attention; see `build_backbone` for the choices.

    forward: [B, 3, H, W], float, normalised as for ImageNet, any H and W from 32 up (a map has ceil(H / stride) rows)
        without `num_classes`   -> (C3, C4, C5), each [B, channels[k], ceil(H / strides[k]), ceil(W / strides[k])]
        with `num_classes`      -> logits [B, num_classes]
    """

    strides = (8, 16, 32)
    channels: tuple[int, int, int]

    def __init__(
        self, arch: str, attention: str, placement: str, coverage: str, residual_gate: bool, num_classes: int | None
    ) -> None:
        block, depths = ARCHITECTURES[arch]
        super().__init__(block, list(depths), num_classes=num_classes or 1)
        self.arch = arch
        self.is_classifier = num_classes is not None
        if not self.is_classifier:
            del self.avgpool, self.fc
        channels = [width * block.expansion for width in STAGE_WIDTHS]
        self.channels = (channels[1], channels[2], channels[3])

        self.stem_squeeze: nn.Module | None = None
        if attention in EMCA_EXCITATION:
            excitation = EMCA_EXCITATION[attention]
            self.stem_squeeze, slots = emca_slots(excitation, channels, depths, coverage, residual_gate)
        else:
            slots = local_slots(attention, channels, depths, placement)
        for stage, stage_slots in zip(self.stages(), slots, strict=True):
            for residual_block, slot in zip(stage, stage_slots, strict=True):
                residual_block.attention = slot

        after_stage: list[nn.Module] = [nn.Identity() for _ in channels]
        if attention in BETWEEN_STAGES:
            after_stage[:-1] = [BETWEEN_STAGES[attention](width) for width in channels[:-1]]
        self.stage_attention = nn.ModuleList(after_stage)

    def stages(self) -> tuple[nn.Sequential, ...]:
        return self.layer1, self.layer2, self.layer3, self.layer4

    def forward(self, x: Tensor) -> Tensor | tuple[Tensor, Tensor, Tensor]:
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        taps: Taps = [] if self.stem_squeeze is None else [self.stem_squeeze(x)]
        maps = []
        for stage, stage_attention in zip(self.stages(), self.stage_attention, strict=True):
            for block in stage:
                x = block(x, taps)
            x = stage_attention(x)
            maps.append(x)
        if self.is_classifier:
            return self.fc(torch.flatten(self.avgpool(x), 1))
        return maps[1], maps[2], maps[3]


def local_slots(attention: str, channels: list[int], depths: tuple[int, ...], placement: str) -> list[list[nn.Module]]:
    """The attention of every block of every stage, for attention that looks at its own block only."""
    slots = []
    for width, depth in zip(channels, depths, strict=True):
        chosen = {"all": range(depth), "first": [0], "last": [depth - 1]}[placement]
        has_attention = [attention in IN_BLOCK and block in chosen for block in range(depth)]
        slots.append([IN_BLOCK[attention](width) if chosen else PlainAdd() for chosen in has_attention])
    return slots


def build_backbone(
    arch: str = "resnet18",
    attention: str = "emca-se",
    placement: str = "first",
    coverage: str = "1,N",
    residual_gate: bool = False,
    num_classes: int | None = None,
) -> AttentionResNet:
    """A ResNet that gives (C3, C4, C5), or class logits if `num_classes` is given.

    arch            resnet18, resnet34, resnet50, resnet101, resnet152
    attention       none, se, eca, srm, cbam, bam, gc, fca, emca-se, emca-eca, emca-srm
    placement       the blocks of a stage that carry se, eca, srm, cbam, gc or fca: all, first, last.
                    EMCA sits in the first block, BAM after stages 1 to 3.
    coverage        what EMCA reads, "S,N'" of eq. (5): how many stages back (0, 1, or i-1 for all),
                    and of each its last block (1) or all blocks (N)
    residual_gate   EMCA scales by 1 + z instead of z
    """
    check_choices(arch, attention, placement, coverage, residual_gate)
    return AttentionResNet(arch, attention, placement, coverage, residual_gate, num_classes)


def check_choices(arch: str, attention: str, placement: str, coverage: str, residual_gate: bool) -> None:
    """Raises a one-line ValueError, with what would be right, for names or combinations that do not exist."""
    check_name("arch", arch, ARCHS)
    check_name("attention", attention, ATTENTIONS)
    check_name("placement", placement, PLACEMENTS)
    check_name("coverage", coverage, COVERAGES)
    if attention in EMCA_EXCITATION and placement != "first":
        raise ValueError(f"placement {placement!r} is not for {attention}, which sits in the first block: use 'first'")
    if residual_gate and attention not in EMCA_EXCITATION:
        raise ValueError(f"residual_gate (1 + z) belongs to {' | '.join(EMCA_EXCITATION)}; {attention!r} has none")
