"""Every attention by name. A new one is a file beside this one and a line here."""

from __future__ import annotations

from collections.abc import Callable

from torch import nn

from backbones.attention.bam import BottleneckAttention
from backbones.attention.cbam import ConvolutionalBlockAttention
from backbones.attention.eca import EfficientChannelAttention
from backbones.attention.fca import FrequencyAttention
from backbones.attention.gate import ChannelGate
from backbones.attention.gc import GlobalContext
from backbones.attention.se import SqueezeExcite
from backbones.attention.srm import StyleRecalibration

# In a block, on its residual branch: built with (channels), called with (residual, shortcut, taps).
IN_BLOCK: dict[str, type[nn.Module]] = {
    "se": SqueezeExcite,
    "eca": EfficientChannelAttention,
    "srm": StyleRecalibration,
    "cbam": ConvolutionalBlockAttention,
    "gc": GlobalContext,
    "fca": FrequencyAttention,
}

# After stages 1 to 3: built with (channels), called with the map.
BETWEEN_STAGES: dict[str, type[nn.Module]] = {"bam": BottleneckAttention}

# In the first block of each stage, fed with several scales by EMCA (emca.py).
EMCA_EXCITATION: dict[str, Callable[[int], ChannelGate]] = {
    "emca-se": SqueezeExcite,
    "emca-eca": EfficientChannelAttention,
    "emca-srm": StyleRecalibration,
}

ATTENTIONS = ("none", *IN_BLOCK, *BETWEEN_STAGES, *EMCA_EXCITATION)
