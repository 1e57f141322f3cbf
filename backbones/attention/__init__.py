"""The catalogue: every attention by name. A new one is a file beside this one and a line here."""

from __future__ import annotations

from functools import partial

from backbones.attention.a2 import DoubleAttention, is_seat_of_a2
from backbones.attention.abn import AttentionBranch
from backbones.attention.ba import BridgeAttention
from backbones.attention.bam import BottleneckAttention
from backbones.attention.cbam import ConvolutionalBlockAttention
from backbones.attention.chdiv import ChannelDiversification
from backbones.attention.concat_gap import ConcatenatedGate, ConcatenatedVector
from backbones.attention.coordatt import CoordinateAttention
from backbones.attention.danet import DualAttention
from backbones.attention.eca import EfficientChannelAttention
from backbones.attention.emca import emca
from backbones.attention.epsa import PyramidSqueeze
from backbones.attention.fca import FrequencyAttention
from backbones.attention.gala import GlobalAndLocal
from backbones.attention.gate import PlainAdd
from backbones.attention.gc import GlobalContext
from backbones.attention.ge import GatherExciteMinus, GatherExcitePlus, GatherExciteTheta
from backbones.attention.gsop import SecondOrderPooling
from backbones.attention.hybrid import Hybrid
from backbones.attention.nlb import non_local
from backbones.attention.pkcam import pkcam
from backbones.attention.sa import ShuffleAttention
from backbones.attention.sb import ShiftAndBalance
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
    "gsop": Entry(Seat.RESIDUAL, SecondOrderPooling, PLACEMENTS),
    "gala": Entry(Seat.RESIDUAL, GlobalAndLocal, PLACEMENTS),
    "sb": Entry(Seat.RESIDUAL, ShiftAndBalance, PLACEMENTS),
    "ba": Entry(Seat.INNER, BridgeAttention, PLACEMENTS),
    "nlb": Entry(Seat.AFTER_BLOCK, non_local),
    "a2": Entry(Seat.AFTER_BLOCK, DoubleAttention, where=is_seat_of_a2),
    "danet": Entry(Seat.AFTER_STAGE, DualAttention, where=in_stages(4)),
    "chdiv": Entry(Seat.AFTER_STAGE, ChannelDiversification, where=in_stages(4)),
    "hybrid": Entry(Seat.RESIDUAL, Hybrid, PLACEMENTS),
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
    "pkcam": Entry(Seat.ACROSS_BLOCKS, pkcam),
    "concat-gap": Entry(Seat.EARLIER_OUTPUTS, ConcatenatedGate, where=lambda place: place.is_last_block),
    "concat-gap-classifier": Entry(
        Seat.CLASSIFIER_VECTOR, ConcatenatedVector, where=lambda place: (place.stage, place.is_last_block) == (4, True)
    ),
    "abn": Entry(Seat.BEFORE_LAST_STAGE, AttentionBranch, where=lambda place: (place.stage, place.block) == (4, 1)),
}
