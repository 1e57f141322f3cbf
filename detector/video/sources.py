"""What the arguments of detect.py mean: files, folders, patterns, lists, cameras and URLs become sources with names."""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from detector.video.frames import Selection, Source
from detector.video.images import ImageFile, Images
from detector.video.live import LiveSource, NetworkCamera, Webcam
from detector.video.video_file import VideoFile
from system.command import visible

IMAGE_SUFFIXES = frozenset(
    (".png", ".jpg", ".jpeg", ".jp2", ".bmp", ".tif", ".tiff", ".webp", ".ppm", ".pgm", ".pbm", ".pnm", ".avif")
)
VIDEO_SUFFIXES = frozenset(
    (".mp4", ".m4v", ".mov", ".3gp", ".avi", ".mkv", ".webm", ".ogv", ".gif", ".wmv", ".asf", ".flv", ".mxf", ".vob")
) | frozenset(
    (".mpg", ".mpeg", ".ts", ".mts", ".m2ts", ".h264", ".264", ".h265", ".265", ".hevc", ".ivf", ".mjpeg", ".mjpg")
)
URL = re.compile(r"(rtsps?|rtmps?|https?|udp|rtp|srt|tcp)://", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Item:
    """One thing to open: `location` for the program, `source` for people (no password), `name` for output files."""

    kind: Literal["image", "video", "stream", "camera"]
    location: str
    source: str
    name: str = ""


def find_items(arguments: Sequence[str], selection: Selection) -> list[Item]:
    """Everything the arguments name, in order (folders and patterns sorted), each with an output name of its own.

    --every and --max-frames apply to all image files together as to one video.
    """
    items = [item for argument in arguments for item in _expand(argument)]
    images = [item for item in items if item.kind == "image"][:: selection.every][: selection.max_frames]
    kept = {id(item) for item in images}
    return _name([item for item in items if item.kind != "image" or id(item) in kept])


def open_sources(items: Sequence[Item], selection: Selection, patience: float) -> list[Source]:
    """Runs of images become one source; each video, stream and camera is one."""
    sources: list[Source] = []
    run: list[ImageFile] = []
    for item in items:
        if item.kind == "image":
            run.append(ImageFile(Path(item.location), item.source, item.name))
            continue
        if run:
            sources.append(Images(run))
            run = []
        if item.kind == "video":
            sources.append(VideoFile(item.location, item.source, item.name, selection))
        else:
            camera = Webcam(int(item.location)) if item.kind == "camera" else NetworkCamera(item.location, item.source)
            sources.append(LiveSource(camera, item.name, selection, patience))
    return [*sources, Images(run)] if run else sources


def _expand(argument: str) -> list[Item]:
    if argument.isdecimal() and not os.path.exists(argument):
        return [Item("camera", argument, f"camera {argument}")]
    if URL.match(argument):
        parts = urlsplit(argument)
        shown = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"  # no user, password or token
        finite = Path(parts.path).suffix.lower() in VIDEO_SUFFIXES - {".ts", ".mjpg", ".mjpeg"}
        return [Item("video" if finite else "stream", argument, shown)]
    path = Path(argument)
    if path.is_dir():
        return _media(path.rglob("*"), f"folder {argument}", path)
    if path.suffix.lower() == ".txt" and path.is_file():
        return _read_list(path)
    if path.exists():
        return [_file(path)]
    if glob.has_magic(argument):
        return _media(map(Path, glob.iglob(argument, recursive=True)), f"pattern {argument}", None)
    raise FileNotFoundError(
        f"{argument}: no such file or folder (give an image, video, folder, 'pattern*', list.txt, camera number or URL)"
    )


def _file(path: Path) -> Item:
    kind: Literal["image", "video"] = "image" if path.suffix.lower() in IMAGE_SUFFIXES else "video"
    return Item(kind, str(path), visible(path.as_posix()))


def _media(paths: Iterable[Path], where: str, folder: Path | None) -> list[Item]:
    """The images and videos among paths, sorted; files and folders whose names begin with a dot are left alone."""
    found = []
    for path in paths:
        inside = path.relative_to(folder) if folder else Path(path.name)
        if path.suffix.lower() in IMAGE_SUFFIXES | VIDEO_SUFFIXES and not any(p.startswith(".") for p in inside.parts):
            found.append(path)
    found = sorted(path for path in found if path.is_file())
    if not found:
        raise ValueError(f"{where}: no images or videos in it (known by endings such as .png .jpg .mp4 .mkv)")
    return [_file(path) for path in found]


def _read_list(path: Path) -> list[Item]:
    """One path or URL a line, relative to the list's folder or else to here; blank and # lines are skipped."""
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError:
        raise ValueError(f"{path}: not a text file in UTF-8; a list holds one image or video path a line") from None
    items = []
    for line in map(str.strip, lines):
        if not line or line.startswith("#"):
            continue
        if URL.match(line):
            items += _expand(line)
            continue
        beside = path.parent / line
        here = Path(line)
        items.append(
            _file(here if here.exists() and not beside.exists() else beside)
        )  # a missing one is told in its turn
    if not items:
        raise ValueError(f"{path}: the list is empty; write one image or video path a line")
    return items


def _is_file(item: Item) -> bool:
    return item.kind in ("image", "video") and not URL.match(item.location)


def _name(items: Sequence[Item]) -> list[Item]:
    """Output names: paths relative to the deepest folder that holds all, without endings; made unique by -2, -3."""
    files = [os.path.abspath(item.location) for item in items if _is_file(item)]
    try:
        root = os.path.commonpath([os.path.dirname(file) for file in files]) if files else ""
    except ValueError:  # files on several Windows drives
        root = ""
    taken: set[str] = set()
    named = []
    for item in items:
        if item.kind == "camera":
            name = f"camera{item.location}"
        elif not _is_file(item):
            name = re.sub(r"[^\w.-]+", "_", item.source.partition("://")[2]).strip("_.") or "stream"
        else:
            file = os.path.abspath(item.location)
            name = Path(os.path.relpath(file, root) if root else os.path.basename(file)).with_suffix("").as_posix()
            name = name.encode(errors="backslashreplace").decode()  # a file's name may be no text, and JSON wants some
        unique, number = name, 1
        while unique.casefold() in taken:  # some file systems do not tell A from a
            number += 1
            unique = f"{name}-{number}"
        taken.add(unique.casefold())
        named.append(Item(item.kind, item.location, item.source, unique))
    return named
