"""Finds objects. `from detector import Detector` is for Python (docs/python.md); all else may change."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from detector.api.detector import Detector as Detector
    from detector.inference.detections import Detection as Detection
    from detector.inference.detections import Detections as Detections

__all__ = ["Detection", "Detections", "Detector"]


def __getattr__(name: str) -> Any:
    """Late: what stands behind these names takes time to import."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    _check_rooms()
    if name == "Detector":
        from detector.api.detector import Detector

        return Detector
    from detector.inference import detections

    return getattr(detections, name)


def _check_rooms() -> None:
    """Other packages of their names would hide the rooms that this one stands on."""
    home = Path(__file__).resolve().parents[1]
    for room in ("system", "backbones", "data", "training"):
        found = getattr(find_spec(room), "origin", None)
        if found is None or Path(found).resolve().parents[1] != home:
            raise ImportError(f"{found or room}: hides the package {room!r} of {home}; rename it, or start elsewhere")
