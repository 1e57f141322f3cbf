"""Ways to spoil bytes, and what may come of reading them: a result, or one short line of ours that names the file."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

from backbones.weight_file import WeightsError
from data.annotation import DatasetError
from data.formats.kitti import LabelError
from data.images import ImageError
from data.transfer import DownloadError
from detector.inference.weights import WeightsError as NoWeights
from system.command import LONGEST
from training.checkpoint import CheckpointError
from training.config import ConfigError

OURS = (LabelError, DatasetError, ConfigError, ImageError, WeightsError, NoWeights, CheckpointError, DownloadError)
Try = Callable[[random.Random, Path], str]  # reads something damaged in a folder of its own; says what came of it


def damage(data: bytes, rng: random.Random) -> bytes:
    """One to four of the ways in which disks, lines and people spoil bytes."""
    spoilt = bytearray(data)
    for _ in range(rng.randint(1, 4)):
        at, length = rng.randrange(len(spoilt) + 1), rng.choice((1, 2, 4, 16, 300))
        kind = rng.randrange(7)
        if kind == 0 and at < len(spoilt):
            spoilt[at] ^= 1 << rng.randrange(8)
        elif kind == 1:
            spoilt[at : at + length] = rng.randbytes(length)
        elif kind == 2:
            spoilt[at : at + length] = b""
        elif kind == 3:
            spoilt[at:at] = rng.randbytes(length)
        elif kind == 4:
            spoilt[at:at] = spoilt[at : at + length]
        elif kind == 5:
            spoilt[at : at + 4] = rng.choice(
                (b"\0\0\0\0", b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", b"\xff\xff\xff\x7f")
            )
        elif rng.random() < 0.2:
            del spoilt[at:]
    return bytes(spoilt)


def outcome(work: Callable[[], object], name: str) -> str:
    """What came of it: "read", or the kind of our error. Anything else that is raised is a failure."""
    try:
        work()
    except (*OURS, OSError) as error:
        said = str(error)
        assert name in said and len(said) < LONGEST, f"{type(error).__name__}: {said[:300]}"
        assert isinstance(error, OURS) or error.filename, repr(error)
        return type(error).__name__
    return "read"
