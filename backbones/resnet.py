"""torchvision's ResNet with seats for attention (attention/seat.py). torchvision's weight names stay valid.

stem -> layer1 -> layer2 -> layer3 -> layer4
          C2        C3        C4        C5       strides 4, 8, 16, 32
"""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor, nn
from torchvision.models.resnet import BasicBlock, Bottleneck, ResNet

from backbones.attention import CATALOGUE
from backbones.attention.gate import GlobalMean, PlainAdd, Taps
from backbones.attention.place import Place, all_places
from backbones.attention.seat import Seat
from backbones.names import STEMS
from backbones.spec import AttentionSpec
from system.names import check_name


class AttentionBasicBlock(BasicBlock):
    """Two 3x3 convolutions and a shortcut; `attention` adds them. AttentionResNet fills the seats."""

    attention: nn.Module
    after: nn.Module
    inner_squeeze: nn.Module | None
    inner_relu: nn.Module

    def forward(self, x: Tensor, taps: Taps) -> Tensor:
        residual = self.inner_relu(self.bn1(self.conv1(x)))
        if self.inner_squeeze is not None:
            taps.append(self.inner_squeeze(residual))
        residual = self.bn2(self.conv2(residual))
        shortcut = x if self.downsample is None else self.downsample(x)
        return self.after(self.relu(self.attention(residual, shortcut, taps)))


class AttentionBottleneck(Bottleneck):
    """1x1, 3x3, 1x1 convolutions and a shortcut; `attention` adds them. AttentionResNet fills the seats."""

    attention: nn.Module
    after: nn.Module
    inner_squeeze: nn.Module | None
    inner_relu: nn.Module

    def forward(self, x: Tensor, taps: Taps) -> Tensor:
        residual = self.relu(self.bn1(self.conv1(x)))
        if self.inner_squeeze is not None:
            taps.append(self.inner_squeeze(residual))
        residual = self.inner_relu(self.bn2(self.conv2(residual)))
        if self.inner_squeeze is not None:
            taps.append(self.inner_squeeze(residual))
        residual = self.bn3(self.conv3(residual))
        shortcut = x if self.downsample is None else self.downsample(x)
        return self.after(self.relu(self.attention(residual, shortcut, taps)))


ARCHITECTURES: dict[str, tuple[type[BasicBlock | Bottleneck], tuple[int, int, int, int]]] = {
    "resnet18": (AttentionBasicBlock, (2, 2, 2, 2)),
    "resnet34": (AttentionBasicBlock, (3, 4, 6, 3)),
    "resnet50": (AttentionBottleneck, (3, 4, 6, 3)),
    "resnet101": (AttentionBottleneck, (3, 4, 23, 3)),
    "resnet152": (AttentionBottleneck, (3, 8, 36, 3)),
}
ARCHS = tuple(ARCHITECTURES)
LEVELS = (2, 3, 4, 5)  # C2 to C5: the maps of the four stages, strides 4 to 32


class AttentionResNet(ResNet):
    """A ResNet with attention; see `build_backbone` for the choices.

    forward: [B, 3, H, W], float, normalised as for ImageNet, any H and W from 32 up (a map has ceil(H / stride) rows)
        without `num_classes`   -> the maps of `levels`: [B, channels[k], ceil(H / strides[k]), ceil(W / strides[k])]
        with `num_classes`      -> logits [B, num_classes]; with an attention that has logits of its own (abn), in train
                                   mode both: (logits, the attention's logits)

    places              the stem and every block
    attention_paths     the names of the modules that sit in a seat; they begin the names of attention's weights
    replaced            the places whose 3x3 convolution gave way to attention
    """

    def __init__(
        self,
        arch: str,
        attention: AttentionSpec,
        levels: tuple[int, ...],
        num_classes: int | None,
        stem: str = "imagenet",
    ) -> None:
        block, depths = ARCHITECTURES[arch]
        super().__init__(block, list(depths), num_classes=num_classes or 1)
        if stem == "small":
            self._make_stem_small()
        self.arch = arch
        self.is_classifier = num_classes is not None
        if not self.is_classifier:
            del self.avgpool, self.fc
        self.places = all_places(depths, block.expansion, num_classes)
        channels = {place.stage: place.channels for place in self.places}
        self.levels = levels
        self.channels = tuple(channels[level - 1] for level in levels)
        self.strides = tuple(2**level // (4 if stem == "small" else 1) for level in levels)

        self._empty_seats()
        seat, modules = CATALOGUE[attention.name].seat, attention_modules(arch, attention, num_classes)
        for place, module in modules.items():
            self._seat(seat, place, module)
        self.attention_paths = tuple(seat.path(place) for place in modules)
        self.output_squeeze = GlobalMean() if seat.reads_outputs else None
        self.replaced = tuple(modules) if seat.replaces_convolution else ()

    def _make_stem_small(self) -> None:
        self.conv1 = nn.Conv2d(3, self.bn1.num_features, kernel_size=3, padding=1, bias=False)
        nn.init.kaiming_normal_(self.conv1.weight, mode="fan_out", nonlinearity="relu")
        self.maxpool = nn.Identity()

    def _empty_seats(self) -> None:
        self.stem_squeeze: nn.Module | None = None
        self.branch: nn.Module | None = None
        self.merge: nn.Module | None = None
        for stage in self.stages():
            for block in stage.children():
                assert isinstance(block, (AttentionBasicBlock, AttentionBottleneck))
                block.attention, block.after = PlainAdd(), nn.Identity()
                block.inner_squeeze, block.inner_relu = None, block.relu
        self.stage_attention = nn.ModuleList(nn.Identity() for _ in self.stages())

    def _seat(self, seat: Seat, place: Place, module: nn.Module) -> None:
        path, _, name = seat.path(place).rpartition(".")
        parent = self.get_submodule(path)
        setattr(parent, name, module)
        if seat is Seat.INNER:
            parent.inner_squeeze = GlobalMean()
        if seat is Seat.CLASSIFIER_VECTOR and module.reads_stem:
            self.stem_squeeze = GlobalMean()
        if seat is Seat.CONVOLUTION_NORM_RELU:
            setattr(parent, place.norm, nn.Identity())
            parent.inner_relu = nn.Identity()

    def stages(self) -> tuple[nn.Sequential, ...]:
        return self.layer1, self.layer2, self.layer3, self.layer4

    def forward(self, x: Tensor) -> Tensor | tuple[Tensor, ...]:
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        taps: Taps = [] if self.stem_squeeze is None else [self.stem_squeeze(x)]
        maps, logits_of_branch = {}, None
        for level, stage, stage_attention in zip(LEVELS, self.stages(), self.stage_attention, strict=True):
            if self.branch is not None and level == LEVELS[-1]:
                x, logits_of_branch = self.branch(x)
            for block in stage:
                if self.output_squeeze is not None and block is not self.layer1[0]:
                    taps.append(self.output_squeeze(x))
                x = block(x, taps)
            x = maps[level] = stage_attention(x)
        if self.is_classifier:
            vector = torch.flatten(self.avgpool(x), 1)
            logits = self.fc(vector if self.merge is None else self.merge(vector, taps))
            return logits if logits_of_branch is None else (logits, logits_of_branch)
        return tuple(maps[level] for level in self.levels)


def build_backbone(
    arch: str = "resnet18",
    attention: AttentionSpec | str = "emca-se",
    levels: tuple[int, ...] = (3, 4, 5),
    num_classes: int | None = None,
    stem: str = "imagenet",
) -> AttentionResNet:
    """A ResNet that gives the maps of `levels`, or class logits if `num_classes` is given.

    arch            a name of ARCHITECTURES
    attention       what sits in its seats: a spec, or its text, as `se:placement=all` (spec.py); names: CATALOGUE
    levels          k gives C_k, at stride 2^k: from 2 to 5, upwards, the last one 5
    stem            imagenet, or small for pictures of 32 or 64 pixels: all strides are then a quarter
    """
    check_name("arch", arch, ARCHS)
    check_name("stem", stem, STEMS)
    if not levels or tuple(levels) != tuple(sorted(set(levels) & set(LEVELS))) or levels[-1] != LEVELS[-1]:
        raise ValueError(f"levels {levels}: give some of {LEVELS}, upwards and ending with 5, for example (3, 4, 5)")
    spec = AttentionSpec.parse(attention) if isinstance(attention, str) else attention
    return AttentionResNet(arch, spec, tuple(levels), num_classes, stem)


def attention_modules(arch: str, attention: AttentionSpec, num_classes: int | None = None) -> dict[Place, nn.Module]:
    """The modules of this attention, by their places in this network."""
    block, depths = ARCHITECTURES[arch]
    entry = CATALOGUE[attention.name]
    if entry.seat.is_of_classifier and num_classes is None:
        others = ", ".join(name for name, other in CATALOGUE.items() if not other.seat.is_of_classifier)
        raise ValueError(f"attention {attention}: only a classifier has a place for it, not a detector; use {others}")
    try:
        return entry.modules(
            all_places(depths, block.expansion, num_classes), attention.placement, dict(attention.options)
        )
    except ValueError as error:
        raise ValueError(f"attention {attention} in {arch}: {error}") from None


def check_backbone(arch: str, attention: AttentionSpec, num_classes: int | None = None) -> None:
    """Raises a one-line ValueError, with what would be right, where they do not exist or not go together."""
    check_name("arch", arch, ARCHS)
    with torch.device("meta"):  # shapes only: this takes milliseconds
        attention_modules(arch, attention, num_classes)


@cache
def goes_with(arch: str, attention: AttentionSpec, num_classes: int | None = None) -> bool:
    """Whether this network can have this attention."""
    try:
        check_backbone(arch, attention, num_classes)
    except ValueError:
        return False
    return True
