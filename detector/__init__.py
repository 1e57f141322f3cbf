"""Finds objects. `from detector import Detector` is for Python (docs/python.md); all else may change."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from detector.api import Detector as Detector
    from detector.inference.detections import Detection as Detection
    from detector.inference.detections import Detections as Detections

__all__ = ["Detection", "Detections", "Detector"]


def __getattr__(name: str) -> Any:
    """Late: what stands behind these names takes time to import."""
    if name == "Detector":
        from detector.api import Detector

        return Detector
    if name in __all__:
        from detector.inference import detections

        return getattr(detections, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
