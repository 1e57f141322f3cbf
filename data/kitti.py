"""The KITTI object label and result format: one object a line, 15 fields, results with a 16th (the score)."""

from __future__ import annotations

from dataclasses import dataclass

CLASSES = ("Car", "Van", "Truck", "Pedestrian", "Person_sitting", "Cyclist", "Tram", "Misc")
DONT_CARE = "DontCare"


@dataclass(frozen=True, slots=True)
class Label:
    """One object. `box` is x1, y1, x2, y2 in pixels, float64 straight from the text."""

    name: str
    box: tuple[float, float, float, float]
    truncation: float = -1.0
    occlusion: int = -1
    alpha: float = -10.0
    dimensions: tuple[float, float, float] = (-1.0, -1.0, -1.0)
    location: tuple[float, float, float] = (-1000.0, -1000.0, -1000.0)
    rotation_y: float = -10.0
    score: float | None = None
