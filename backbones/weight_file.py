"""Where bytes become weights: the one place that reads a PyTorch file. Nothing in it is run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch


class WeightsError(ValueError):
    """A weight file that cannot be read or does not fit; the message names the file and the first keys."""


def read_weight_file(path: str | Path) -> Any:
    """What torch.save put there, on the CPU. Raises WeightsError, in one line, for whatever a stranger wrote."""
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise WeightsError(f"{path}: no such weight file") from None
    except Exception as fault:  # the unpickler may raise anything
        reason = str(fault).splitlines()[0] if str(fault) else type(fault).__name__
        raise WeightsError(f"{path}: not a PyTorch weight file that can be read safely ({reason:.120})") from None
