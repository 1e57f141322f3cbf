"""Fetch the KITTI object data, `python -m data.download ROOT`, or with `--only` one of data/picture_sets.py.

Two archives of the official bucket are enough: the left colour images (12.6 GB) and the labels; the train and val
lists are part of this package. Each archive is fetched (data/transfer.py), read through once to see that it is whole,
and unpacked from its end while it shrinks, so that the data never lies on the disk twice. Whatever stops the program,
the same command goes on where it was.
"""

from __future__ import annotations

import argparse
import errno
import os
import shutil
import stat
import sys
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from tqdm import tqdm

from data.formats.kitti import IMAGE_SUFFIXES
from data.formats.kitti import IMAGES as IMAGE_FOLDER
from data.formats.kitti import LABELS as LABEL_FOLDER
from data.picture_sets import PICTURE_SETS, fetch_pictures
from data.transfer import CHUNK, DownloadError, check_space, fetch
from system.command import Parser, exit_status
from system.files import locked, replacing

OFFICIAL = "https://s3.eu-central-1.amazonaws.com/avg-kitti/"
LICENCE = """\
KITTI is licensed CC BY-NC-SA 3.0: use it non-commercially, share alike, and name
its authors (A. Geiger, P. Lenz, R. Urtasun, CVPR 2012).
https://www.cvlibs.net/datasets/kitti/"""

BATCH = 256_000_000  # bytes unpacked before the archive is shortened


@dataclass(frozen=True)
class Archive:
    """`file` at the server fills `folder` with `frames` files; unpacking needs `headroom` bytes beside the archive."""

    file: str
    folder: str
    frames: int
    headroom: int

    def is_unpacked(self, root: Path) -> bool:
        return self.count(root) >= self.frames

    def count(self, root: Path) -> int:
        folder = root / self.folder
        return sum(path.suffix in (*IMAGE_SUFFIXES, ".txt") for path in folder.iterdir()) if folder.is_dir() else 0


LABELS = Archive("data_object_label_2.zip", str(LABEL_FOLDER), 7481, headroom=64_000_000)
IMAGES = Archive("data_object_image_2.zip", str(IMAGE_FOLDER), 7481, headroom=2 * BATCH)


class _Damaged(Exception):
    """The archive is not whole, or not one to unpack."""


def download(root: Path, archives: tuple[Archive, ...], base: str) -> None:
    """Fill `root` with what the archives at `base` hold. Raises OSError with a message for the user."""
    root.mkdir(parents=True, exist_ok=True)
    with locked(root):
        for archive in archives:
            url = base.rstrip("/") + "/" + archive.file
            # Under this name an archive is complete and may be eaten up; a .zip of the user's own is left alone.
            whole = root / (archive.file + ".unpacking")
            if not whole.exists():
                if archive.is_unpacked(root):
                    print(f"{archive.folder}: already there", flush=True)
                    continue
                fetch(url, whole, archive.headroom)
            try:
                with _damage():
                    _check(whole)
                    _unpack(whole, root)
            except _Damaged as damage:
                whole.unlink()
                raise DownloadError(f"{url}: {damage}; removed it, run this again or try another --url") from damage
            if not archive.is_unpacked(root):
                raise DownloadError(
                    f"{root / archive.folder}: {archive.count(root)} of {archive.frames} files; "
                    f"{url} does not hold all of KITTI, try another --url"
                )


def _check(path: Path) -> None:
    """Read every member once: names that stay inside the data set, regular files, right CRC."""
    with zipfile.ZipFile(path) as archive:
        members = archive.infolist()
        for member in members:
            _inside(member)
        with _bar("checking", sum(member.compress_size for member in members)) as bar:
            for member in members:
                with _damage(f"{member.filename:.80}: "), archive.open(member) as source:
                    while source.read(CHUNK):
                        pass
                bar.update(member.compress_size)


def _inside(member: zipfile.ZipInfo) -> PurePosixPath:
    """The member's path relative to the data set's root."""
    path = PurePosixPath(member.filename)
    if path.is_absolute() or ".." in path.parts or "\\" in member.filename or ":" in member.filename or not path.parts:
        raise _Damaged(f"member {member.filename!r:.80} would be written outside the data set")
    kind = stat.S_IFMT(member.external_attr >> 16)  # the Unix mode; 0 when the archive comes from elsewhere
    if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
        raise _Damaged(f"member {member.filename!r:.80} is a link or a device")
    return path


def _belongs(path: PurePosixPath) -> bool:
    """Whether it is one of a data set's files: nothing else is unpacked, whatever a mirror has put beside them."""
    hidden = any(part.startswith(".") for part in path.parts)
    return path.parts[0] in ("training", "testing") and path.suffix in (*IMAGE_SUFFIXES, ".txt") and not hidden


def _unpack(path: Path, root: Path) -> None:
    with zipfile.ZipFile(path) as archive:
        members = archive.infolist()
    # Files take whole blocks, the archive gives its bytes back: what is left over must be free.
    growth = sum(_on_disk(member.file_size) - member.compress_size for member in members)
    check_space(root, max(0, growth) + min(BATCH, sum(_on_disk(member.file_size) for member in members)))
    with _bar("unpacking", sum(member.file_size for member in members)) as bar:
        while _unpack_from_the_end(path, root, bar):
            pass
    path.unlink()


def _on_disk(size: int) -> int:
    return -(-size // 4096) * 4096


def _unpack_from_the_end(path: Path, root: Path, bar: tqdm) -> bool:
    """Move the last BATCH bytes of members from the archive into `root`; False when it held none.

    Closing an archive that was opened for appending writes its directory anew at `start_dir` and cuts the file there:
    what is left is a whole, shorter archive, so an interrupted run goes on with the members that remain.
    """
    with zipfile.ZipFile(path, "a") as archive:
        members = archive.filelist
        members.sort(key=lambda member: member.header_offset)
        unpacked = 0
        while members and unpacked < BATCH:
            member = members[-1]
            _write(archive, member, root)
            # In this order an interrupt between two lines leaves nothing worse than a gap.
            members.pop()
            archive.start_dir = member.header_offset
            archive.comment = b""  # tells ZipFile that the directory has changed
            unpacked += member.file_size
            bar.update(member.file_size)
        os.sync()  # the files must be on the disk before their only other copy goes
        return bool(members)


def _write(archive: zipfile.ZipFile, member: zipfile.ZipInfo, root: Path) -> None:
    path = _inside(member)
    target = root / path
    if member.is_dir() or not _belongs(path):
        return
    if target.is_file() and target.stat().st_size == member.file_size:
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    with replacing(target) as partial, archive.open(member) as source, partial.open("wb") as file:
        shutil.copyfileobj(source, file, CHUNK)


def _bar(what: str, total: int) -> tqdm:
    return tqdm(total=total, unit="B", unit_scale=True, desc=what, disable=None)


@contextmanager
def _damage(where: str = "") -> Iterator[None]:
    """The many ways in which zipfile and its decompressors say that an archive is broken, as one."""
    try:
        yield
    except (_Damaged, DownloadError):
        raise
    except Exception as error:
        if isinstance(error, OSError) and error.errno not in (None, errno.EINVAL):
            raise  # the disk's; without a number it is bz2's, and invalid is an offset before the file's beginning
        raise _Damaged(f"the archive is damaged ({where}{error!s:.160})") from error


def main(argv: list[str] | None = None) -> int:
    parser = Parser(
        prog="python -m data.download",
        description="Fetch the KITTI object data into ROOT: 12.6 GB to transfer, 13.2 GB of free disk.\n"
        "With --only it is a small data set for classifiers instead. ImageNet has to be asked for at image-net.org.\n"
        "Started again, it goes on where it stopped.",
        epilog=LICENCE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("root", type=Path, metavar="ROOT", help="folder of the data set; made if it is not there")
    parser.add_argument("--labels-only", action="store_true", help="only KITTI's labels (5.6 MB)")
    parser.add_argument("--only", choices=tuple(PICTURE_SETS), help="this data set, and not KITTI")
    parser.add_argument("--url", metavar="BASE", help="a mirror (default: the authors' own server)")
    args = parser.parse_args(argv)
    if args.only and args.labels_only:
        parser.error("--labels-only is for KITTI: give it or --only, not both")
    print(PICTURE_SETS[args.only].about if args.only else LICENCE, flush=True)
    return exit_status(lambda: _run(args))


def _run(args: argparse.Namespace) -> int:
    if args.url and not args.url.startswith(("http://", "https://")):
        raise DownloadError(f"--url {args.url}: expected http://... or https://...")
    try:
        if args.only:
            fetch_pictures(args.root, PICTURE_SETS[args.only], args.url)
        else:
            download(args.root, (LABELS,) if args.labels_only else (LABELS, IMAGES), args.url or OFFICIAL)
    except KeyboardInterrupt:
        print("\ninterrupted; what came is kept, the same command goes on", file=sys.stderr)
        return 130
    except OSError as error:
        if error.strerror is None:  # a message of ours, which says all
            raise
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        mend = "make room and run the same command again" if full else "choose a folder that you may write to"
        raise DownloadError(f"{error.filename or args.root}: {error.strerror}; {mend}") from error
    print(f"Done. See that all is well with: python -m data.doctor {args.root}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
