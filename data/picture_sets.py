"""The small data sets of classifiers, fetched, checked and unpacked: `python -m data.download ROOT --only NAME`."""

from __future__ import annotations

import hashlib
import os
import shutil
import tarfile
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path

from data.pictures import CIFAR, INNER
from data.transfer import CHUNK, DownloadError, check_space, fetch
from system.files import locked


@dataclass(frozen=True, slots=True)
class PictureSet:
    """`file` at `base` unpacks to `folder` of about `unpacked` bytes. `md5` is its authors' checksum, where they give
    one; a .zip has its own. `about` says whose it is."""

    base: str
    file: str
    folder: str
    unpacked: int
    about: str
    md5: str | None = None


PICTURE_SETS = {
    "cifar10": PictureSet(
        "https://www.cs.toronto.edu/~kriz/",
        "cifar-10-python.tar.gz",
        CIFAR,
        187_000_000,
        "CIFAR-10, by A. Krizhevsky, V. Nair and G. Hinton.\n60,000 pictures of 32 x 32, 10 classes (170 MB).\n"
        "https://www.cs.toronto.edu/~kriz/cifar.html",
        "c58f30108f718f92721af3b95e74349a",
    ),
    "tiny-imagenet": PictureSet(
        "http://cs231n.stanford.edu/",
        "tiny-imagenet-200.zip",
        INNER,
        500_000_000,
        "Tiny-ImageNet, by Stanford's CS231n: 110,000 pictures of 64 x 64 with 200 classes (248 MB).\n"
        "ImageNet's terms hold: non-commercial research and education only. https://www.image-net.org/download.php",
    ),
}


def fetch_pictures(root: Path, wanted: PictureSet, base: str | None = None) -> None:
    """`root/folder`, whole or not there. Interrupted, the same call goes on. Raises OSError with a message for the
    user."""
    root.mkdir(parents=True, exist_ok=True)
    with locked(root):
        if (root / wanted.folder).exists():
            print(f"{wanted.folder}: already there", flush=True)
            return
        url = (base or wanted.base).rstrip("/") + "/" + wanted.file
        archive = root / (wanted.file + ".unpacking")  # under this name it is complete
        if not archive.exists():
            fetch(url, archive, headroom=wanted.unpacked)
        try:
            _check(archive, wanted)
            _unpack(archive, root, wanted)
        except (zipfile.BadZipFile, tarfile.TarError, zlib.error, EOFError, shutil.ReadError, ValueError) as error:
            archive.unlink()
            mend = "removed it, run this again or try another --url"
            raise DownloadError(f"{url}: the archive is damaged ({error!s:.160}); {mend}") from error
        archive.unlink()


def _check(archive: Path, wanted: PictureSet) -> None:
    if wanted.md5 is None:
        return
    found = hashlib.md5(usedforsecurity=False)
    with open(archive, "rb") as file:
        while chunk := file.read(CHUNK):
            found.update(chunk)
    if found.hexdigest() != wanted.md5:
        raise ValueError(f"its md5 is {found.hexdigest()}, expected {wanted.md5}")


def _unpack(archive: Path, root: Path, wanted: PictureSet) -> None:
    """Beside its place first. The standard library leaves out what would lie elsewhere, and links out of the folder."""
    check_space(root, wanted.unpacked)
    beside = root / f".{wanted.folder}.unpacking"
    shutil.rmtree(beside, ignore_errors=True)  # of a run that was killed
    try:
        if wanted.file.endswith(".zip"):
            shutil.unpack_archive(archive, beside, "zip")
        else:
            shutil.unpack_archive(archive, beside, "gztar", filter="data")
        if not (beside / wanted.folder).is_dir():
            raise ValueError(f"it holds no folder {wanted.folder}")
        os.replace(beside / wanted.folder, root / wanted.folder)
    finally:
        shutil.rmtree(beside, ignore_errors=True)
