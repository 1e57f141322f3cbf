"""Images to feature maps: ResNets with channel attention."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from backbones.resnet import build_backbone as build_backbone
    from backbones.spec import AttentionSpec as AttentionSpec

__all__ = ["AttentionSpec", "build_backbone"]


def __getattr__(name: str) -> Any:
    """Late: they import torch, which `backbones.names` does without."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from backbones import resnet, spec

    return getattr(resnet if name == "build_backbone" else spec, name)
