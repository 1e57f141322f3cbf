"""The weights that a user names. Torch-free."""

from __future__ import annotations

from pathlib import Path

from detector.inference.card import WeightsError


def weights_path(text: str | Path) -> Path:
    """The file that `text` means."""
    path = Path(text)
    if not path.is_file():
        raise WeightsError(f"{path}: no such file; give a .pt checkpoint, an .onnx file or an OpenVINO .xml")
    return path
