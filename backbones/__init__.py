"""Images to feature maps: ResNets with channel attention."""

from backbones.resnet import build_backbone

__all__ = ["build_backbone"]
