"""The seats that a ResNet offers to attention, and what the catalogue says of one attention."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from enum import Enum

from torch import nn

from backbones.attention.place import Place
from backbones.names import Placement


class Seat(Enum):
    """Where a module sits, and so what it is called with. [B, C, H, W] is a block's output."""

    RESIDUAL = "on the residual branch"
    """forward(residual, shortcut, taps) -> their sum [B, C, H, W]; the block's last ReLU follows"""

    INNER = "on the residual branch, fed with the block's inner convolutions"
    """The same; `taps` holds the mean [B, inner] of each earlier convolution, after its BatchNorm and ReLU."""

    ACROSS_BLOCKS = "on the residual branch of every block, fed with earlier blocks"
    """The same; `taps` is one list that travels through all blocks. The module appends to it, reads and clears it.
    What is built for the stem (stage 0) is called with its map, and its answer is the first tap. None: plain addition.
    """

    EARLIER_OUTPUTS = "on the residual branch, fed with the outputs of all earlier blocks"
    """The same; `taps` holds the mean [B, C_j] of each earlier block's output, oldest first; it only reads them."""

    CONVOLUTION = "in place of the 3x3 convolution"
    """forward([B, inputs, h, w]) -> [B, inner, ceil(h / stride), ceil(w / stride)]; BatchNorm and ReLU follow"""

    CONVOLUTION_NORM_RELU = "in place of the 3x3 convolution, its BatchNorm and its ReLU"
    """The same; nothing follows before the next convolution."""

    AFTER_BLOCK = "after a block"
    """forward([B, C, H, W]) -> [B, C, H, W], after the block's last ReLU"""

    AFTER_STAGE = "after a stage"
    """The same, after the last block of a stage; the maps that the backbone gives are the attended ones."""

    BEFORE_LAST_STAGE = "before the last stage of a classifier"
    """forward([B, C, H, W]) -> the same for the last stage, and in train mode logits [B, num_classes], else None"""

    CLASSIFIER_VECTOR = "before the last layer of a classifier"
    """forward([B, C], taps) -> [B, C]: the mean of the last map, and of all earlier blocks' outputs, oldest first.
    Its attribute `reads_stem` says whether the mean of the stem's map comes before them.
    """

    @property
    def is_of_classifier(self) -> bool:
        """It exists only in a network with `num_classes`."""
        return self in (Seat.BEFORE_LAST_STAGE, Seat.CLASSIFIER_VECTOR)

    @property
    def reads_outputs(self) -> bool:
        return self in (Seat.EARLIER_OUTPUTS, Seat.CLASSIFIER_VECTOR)

    @property
    def replaces_convolution(self) -> bool:
        return self in (Seat.CONVOLUTION, Seat.CONVOLUTION_NORM_RELU)

    def path(self, place: Place) -> str:
        """The module's name in the network, which begins all its weights' names: `layer1.0.attention`."""
        if place.stage == 0:
            return "stem_squeeze"
        if self is Seat.BEFORE_LAST_STAGE:
            return "branch"
        if self is Seat.CLASSIFIER_VECTOR:
            return "merge"
        if self is Seat.AFTER_STAGE:
            return f"stage_attention.{place.stage - 1}"
        if self.replaces_convolution:
            return f"{block_path(place)}.{place.convolution}"
        return f"{block_path(place)}.{'after' if self is Seat.AFTER_BLOCK else 'attention'}"


def block_path(place: Place) -> str:
    return f"layer{place.stage}.{place.block - 1}"


def everywhere(place: Place) -> bool:
    return True


def nowhere(place: Place) -> bool:
    return False


def in_stages(*stages: int) -> Callable[[Place], bool]:
    return lambda place: place.stage in stages


@dataclass(frozen=True)
class Entry:
    """One attention of the catalogue.

    build           build(place, *, options) -> its module, or None for no module there. The keyword-only parameters are
                    the options that a person can set: Literal, int, float or bool, each with its default.
    placements      the blocks of a stage that a person can choose, `first` among them; empty: there is no choice
    where           the blocks that it can sit in at all
    """

    seat: Seat
    build: Callable[..., nn.Module | None]
    placements: tuple[Placement, ...] = ()
    where: Callable[[Place], bool] = everywhere

    def options(self) -> dict[str, inspect.Parameter]:
        parameters = inspect.signature(self.build, eval_str=True).parameters
        return {name: p for name, p in parameters.items() if p.kind is inspect.Parameter.KEYWORD_ONLY}

    def modules(
        self, places: Iterable[Place], placement: Placement | None, options: Mapping[str, object]
    ) -> dict[Place, nn.Module]:
        """Its modules, by the places that they take."""
        built = {place: self.build(place, **options) for place in places if self._takes(place, placement)}
        return {place: module for place, module in built.items() if module is not None}

    def _takes(self, place: Place, placement: Placement | None) -> bool:
        if self.seat is Seat.ACROSS_BLOCKS:
            return True  # it decides itself: blocks without attention may have to leave something in `taps`
        if place.stage == 0 or (self.seat is Seat.AFTER_STAGE and not place.is_last_block):
            return False
        return self.where(place) and (placement is None or place.is_in(placement))
