"""Images to feature maps: ResNets with channel attention."""

from backbones.resnet import build_backbone
from backbones.spec import AttentionSpec

__all__ = ["AttentionSpec", "build_backbone"]
