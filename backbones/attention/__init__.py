"""The catalogue: every attention by name. A new one is a file beside this one and a line here."""

from __future__ import annotations

from functools import partial

from backbones.attention.bam import BottleneckAttention
from backbones.attention.cbam import ConvolutionalBlockAttention
from backbones.attention.coordatt import CoordinateAttention
from backbones.attention.eca import EfficientChannelAttention
from backbones.attention.emca import emca
from backbones.attention.epsa import PyramidSqueeze
from backbones.attention.fca import FrequencyAttention
from backbones.attention.gate import PlainAdd
from backbones.attention.gc import GlobalContext
from backbones.attention.ge import GatherExciteMinus, GatherExcitePlus, GatherExciteTheta
from backbones.attention.sa import ShuffleAttention
from backbones.attention.scse import SpatialAndChannelSE
from backbones.attention.se import SqueezeExcite
from backbones.attention.seat import Entry, Seat, in_stages, nowhere
from backbones.attention.sk import SelectiveKernel
from backbones.attention.splat import SplitAttention
from backbones.attention.srm import StyleRecalibration
from backbones.names import PLACEMENTS

CATALOGUE: dict[str, Entry] = {
    "none": Entry(Seat.RESIDUAL, PlainAdd, where=nowhere),
    "se": Entry(Seat.RESIDUAL, SqueezeExcite, PLACEMENTS),
    "eca": Entry(Seat.RESIDUAL, EfficientChannelAttention, PLACEMENTS),
    "srm": Entry(Seat.RESIDUAL, StyleRecalibration, PLACEMENTS),
    "cbam": Entry(Seat.RESIDUAL, ConvolutionalBlockAttention, PLACEMENTS),
    "gc": Entry(Seat.RESIDUAL, GlobalContext, PLACEMENTS),
    "fca": Entry(Seat.RESIDUAL, FrequencyAttention, PLACEMENTS),
    "sa": Entry(Seat.RESIDUAL, ShuffleAttention, PLACEMENTS),
    "coordatt": Entry(Seat.RESIDUAL, CoordinateAttention, PLACEMENTS),
    "scse": Entry(Seat.RESIDUAL, SpatialAndChannelSE, PLACEMENTS),
    "ge-minus": Entry(Seat.RESIDUAL, GatherExciteMinus, PLACEMENTS),
    "ge-theta": Entry(Seat.RESIDUAL, GatherExciteTheta, PLACEMENTS),
    "ge-plus": Entry(Seat.RESIDUAL, GatherExcitePlus, PLACEMENTS),
    "epsa": Entry(Seat.CONVOLUTION, PyramidSqueeze, PLACEMENTS),
    "sk": Entry(Seat.CONVOLUTION_NORM_RELU, SelectiveKernel, PLACEMENTS),
    "splat": Entry(Seat.CONVOLUTION_NORM_RELU, SplitAttention, PLACEMENTS),
    "bam": Entry(Seat.AFTER_STAGE, BottleneckAttention, where=in_stages(1, 2, 3)),
    "emca-se": Entry(Seat.ACROSS_BLOCKS, partial(emca, SqueezeExcite), ("first",)),
    "emca-eca": Entry(Seat.ACROSS_BLOCKS, partial(emca, EfficientChannelAttention), ("first",)),
    "emca-srm": Entry(Seat.ACROSS_BLOCKS, partial(emca, StyleRecalibration), ("first",)),
}
