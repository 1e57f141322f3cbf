"""Where bytes become weights: the one place that reads a PyTorch file. Nothing in it is run."""

from __future__ import annotations

import warnings
import zipfile
from pathlib import Path
from typing import Any

import torch

from system.command import out_of_memory

_FOLDER = 0x10  # among a record's attributes


class WeightsError(ValueError):
    """A weight file that cannot be read or does not fit; the message names the file and the first keys."""


def read_weight_file(path: str | Path) -> Any:
    """What torch.save put there, on the CPU. Raises WeightsError, in one line, for whatever a stranger wrote.

    torch.save writes a checksum beside every tensor, torch.load does not look at it: a flipped bit would pass.
    """
    try:
        if (record := _damaged_record(path)) is not None:
            raise WeightsError(f"{path}: damaged ({record:.80} is not as it was saved); copy or download it again")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch's, of what we refuse in the next line
            return torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise WeightsError(f"{path}: no such weight file") from None
    except WeightsError:
        raise
    except Exception as fault:  # the unpickler may raise anything
        if out_of_memory(fault):
            raise
        if not isinstance(fault, (OSError, RuntimeError)):  # the unpickler's own words tell a reader nothing
            fault = ValueError("it holds other things than tensors and plain values, or is no such file")
        reason = str(fault).partition("\n")[0].partition(". ")[0]
        raise WeightsError(f"{path}: not a PyTorch weight file that can be read safely ({reason:.120})") from None


def _damaged_record(path: str | Path) -> str | None:
    """The first record that differs from its checksum; None where all is well, or in a file without checksums.

    A record marked as a folder counts too: torch would take for its bytes whatever the memory held before.
    """
    if not zipfile.is_zipfile(path):  # torch's format before 1.6
        return None
    with zipfile.ZipFile(path) as archive:
        folders = (record.filename for record in archive.infolist() if record.external_attr & _FOLDER)
        return archive.testzip() or next(folders, None)
