"""The checksum that an exported file carries of itself: damage is told before a runtime's native code meets it.

A seal is `MARK` and 64 hexadecimal digits, somewhere in the file: the SHA-256 of the file with zeros in their place,
and of its .bin where it has one. A file without a seal is of an older version or of another maker, and passes.
"""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

from detector.inference.weights import WeightsError
from system.files import write_bytes

MARK = "kitti-attention-detector-sha256:"
BLANK = MARK + 64 * "0"
_SEAL = re.compile(MARK.encode() + rb"([0-9a-f]{64})")


def seal(path: Path) -> None:
    """Writes the digits where `BLANK` stands, and where a converter has copied an earlier seal to."""
    content = path.read_bytes()
    write_bytes(path, _SEAL.sub(f"{MARK}{_digest(content, path)}".encode(), content))


def check_seal(path: Path) -> None:
    """Raises WeightsError for a file that is not as it was sealed."""
    content = path.read_bytes()
    found = _SEAL.search(content)
    if found and found[1].decode() != _digest(content, path):
        raise WeightsError(f"{path}: damaged, or changed since it was exported; copy or export it again")


def _digest(content: bytes, path: Path) -> str:
    digest = hashlib.sha256(_SEAL.sub(BLANK.encode(), content))
    if path.suffix == ".xml":
        digest.update(path.with_suffix(".bin").read_bytes())
    return digest.hexdigest()
