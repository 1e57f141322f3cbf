"""Where in a ResNet a module sits, in numbers: all that an attention is told when it is built."""

from __future__ import annotations

from dataclasses import dataclass

from backbones.names import Placement

STAGE_WIDTHS = (64, 128, 256, 512)  # channels of the 3x3 convolutions
STEM_SIDE = 56  # of the stem's map, after its max-pool, in a 224-pixel image


@dataclass(frozen=True)
class Place:
    """One block, or the stem: stage 0, block 1.

    stage, block    counted from 1
    depths          blocks of every stage
    inputs          channels that enter the block's 3x3 convolution (of a basic block: the first)
    inner           channels that leave it
    channels        channels of the block's output
    side            rows (and columns) of the block's output in a 224-pixel image
    stride          of the 3x3 convolution
    num_classes     of the network, None where it gives maps
    """

    stage: int
    block: int
    depths: tuple[int, ...]
    inputs: int
    inner: int
    channels: int
    side: int
    stride: int
    num_classes: int | None = None

    @property
    def is_last_block(self) -> bool:
        return self.stage == 0 or self.block == self.depths[self.stage - 1]

    @property
    def is_bottleneck(self) -> bool:
        return self.channels != self.inner

    @property
    def up_to_here(self) -> tuple[Place, ...]:
        """The blocks of the network from the first to this one."""
        blocks = all_places(self.depths, self.channels // self.inner)[1:]
        return tuple(place for place in blocks if (place.stage, place.block) <= (self.stage, self.block))

    @property
    def convolution(self) -> str:
        """torchvision's name of the 3x3 that attention can take the place of."""
        return "conv2" if self.is_bottleneck else "conv1"

    @property
    def norm(self) -> str:
        """torchvision's name of the BatchNorm behind that 3x3."""
        return "bn2" if self.is_bottleneck else "bn1"

    def is_in(self, placement: Placement) -> bool:
        return {"all": True, "first": self.block == 1, "last": self.is_last_block}[placement]


def all_places(depths: tuple[int, ...], expansion: int, num_classes: int | None = None) -> tuple[Place, ...]:
    """The stem, then every block in the order of the network; a block gives `expansion` times its inner channels."""
    channels = STAGE_WIDTHS[0]
    places = [Place(0, 1, depths, channels, channels, channels, STEM_SIDE, 1, num_classes)]
    for stage, (inner, depth) in enumerate(zip(STAGE_WIDTHS, depths, strict=True), start=1):
        for block in range(1, depth + 1):
            inputs = channels if expansion == 1 else inner  # a bottleneck's 1x1 has narrowed it already
            channels = inner * expansion
            stride = 2 if stage > 1 and block == 1 else 1
            side = STEM_SIDE >> (stage - 1)
            places.append(Place(stage, block, depths, inputs, inner, channels, side, stride, num_classes))
    return tuple(places)
