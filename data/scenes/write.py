"""Scenes on disk: a dataset in KITTI's layout, or as COCO's files with masks, and a dashcam clip as H.264 with one
label file a frame.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from fractions import Fraction
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import TypeVar

import av
import cv2
import numpy as np
from tqdm import tqdm

from data.formats.coco import CocoWriter
from data.formats.kitti import CLASSES, IMAGES, LABELS, LISTS, Label, write_labels
from data.scenes.annotate import SMALLEST
from data.scenes.camera import HEIGHT, WIDTH
from data.scenes.painter import Frame, render
from data.scenes.street import draw_street
from data.scenes.world import World
from system.files import replacing, write_bytes, write_text

Item = TypeVar("Item")
MARK = "scenes.json"  # says that a folder is ours, so that we may write into it again
MOVIE = {"movflags": "faststart"}  # the index in front, so that it plays while it loads
SPLITS = ("train", "val")
_STILLS, _CLIP = 0, 1  # so that the clip of a seed is not one of its stills
_PNG = [cv2.IMWRITE_PNG_COMPRESSION, 1, cv2.IMWRITE_PNG_STRATEGY, cv2.IMWRITE_PNG_STRATEGY_HUFFMAN_ONLY]
_PNG += [cv2.IMWRITE_PNG_FILTER, cv2.IMWRITE_PNG_FILTER_AVG]


class ScenesError(ValueError):
    """What stands in the way of writing scenes, and how to clear it."""


def make_scenes(
    root: str | os.PathLike[str],
    frames: int,
    seed: int = 0,
    val_share: float = 0.2,
    workers: int = 1,
    progress: bool = True,
    smallest: float = SMALLEST,
) -> Path:
    """Write ROOT/training/{image_2,label_2} and ROOT/ImageSets/{train,val}.txt: every n-th frame is for validation.

    Frame k depends on the seed and k only: not on the number of frames or workers, and not on what was drawn before.
    Returns the root. A folder with other content is refused.
    """
    _check(frames, val_share)
    root = Path(root)
    _claim(root, {"seed": seed, "frames": frames, "smallest": smallest})
    images, labels, lists = root / IMAGES, root / LABELS, root / LISTS
    for folder in images, labels, lists:
        folder.mkdir(parents=True, exist_ok=True)
    names = [f"{index:06d}" for index in range(frames)]
    _remove_stale(lists, {})  # written last: a root without lists is not finished
    _remove_stale(images, {f"{name}.png" for name in names})
    _remove_stale(labels, {f"{name}.txt" for name in names})
    job = partial(_write_still, str(images), str(labels), seed, smallest)
    for _ in _bar(_spread(job, frames, workers), frames, "scenes", progress):
        pass
    splits = _splits(frames, val_share)
    for split in SPLITS:
        chosen = [name for name, own in zip(names, splits, strict=True) if own == split]
        if chosen:
            write_text(lists / f"{split}.txt", "".join(f"{name}\n" for name in chosen))
        else:  # no list says nothing, an empty one is a mistake
            (lists / f"{split}.txt").unlink(missing_ok=True)
    return root


def make_coco_scenes(
    root: Path,
    frames: int,
    seed: int = 0,
    val_share: float = 0.2,
    workers: int = 1,
    progress: bool = True,
    smallest: float = SMALLEST,
) -> str:
    """The same pictures as COCO's files, with the visible pixels of every object; whole or not there. Returns what was
    done, in a line. Boxes are KITTI's: around all of an object, hidden or not."""
    _check(frames, val_share)
    counts = Counter[str]()
    splits = _splits(frames, val_share)
    with replacing(root) as part:
        writer = CocoWriter(part, CLASSES)
        places = [writer.image_path(split, f"{index:06d}", ".png") for index, split in enumerate(splits)]
        for folder in {place.parent for place in places}:
            folder.mkdir(parents=True)
        job = partial(_write_masked, places, seed, smallest)
        drawn = _bar(_spread(job, frames, workers), frames, "scenes", progress)
        for split, place, labels in zip(splits, places, drawn, strict=True):
            writer.add(split, place, (HEIGHT, WIDTH), labels)
            counts[split] += 1
            counts["regions"] += sum(label.ignore for label in labels)
            counts["objects"] += sum(not label.ignore for label in labels)
        writer.close()
    found = f"{counts['objects']:,} objects with masks, {counts['regions']:,} regions to ignore"
    return f"{root}: coco, frames: {', '.join(f'{split} {counts[split]:,}' for split in SPLITS)}; {found}"


def _check(frames: int, val_share: float) -> None:
    if frames < 1:
        raise ScenesError(f"{frames} frames asked for: give at least 1")
    if not 0 <= val_share < 1:
        raise ScenesError(f"val_share is {val_share}: give a share from 0 up to, but not including, 1")


def _splits(frames: int, val_share: float) -> list[str]:
    """The split of each frame: every n-th is for validation."""
    return [SPLITS[int((index + 1) * val_share) > int(index * val_share)] for index in range(frames)]


def make_clip(
    path: str | os.PathLike[str],
    frames: int = 100,
    seed: int = 0,
    fps: int = 10,
    progress: bool = True,
    smallest: float = SMALLEST,
) -> Path:
    """Write a drive through one street as an .mp4, and <stem>_labels/%06d.txt beside it, one a frame from 000000 on.

    Returns the folder of the labels. A file that is in the way and not ours is refused.
    """
    path = Path(path)
    check_clip(path, frames, fps)
    folder = clip_labels(path)
    _claim(folder, {"seed": seed, "frames": frames, "fps": fps, "smallest": smallest})
    _remove_stale(folder, {MARK, *(f"{index:06d}.txt" for index in range(frames))})
    # the container is named, as a partial file does not end in .mp4
    with replacing(path) as partial_file, av.open(str(partial_file), "w", "mp4", MOVIE) as container:
        stream = container.add_stream("libx264", rate=fps, options={"crf": "17", "preset": "veryfast"})
        # yuv420p, which every browser plays, wants even sides: a column and a row of the picture are repeated
        stream.width, stream.height, stream.pix_fmt = WIDTH + WIDTH % 2, HEIGHT + HEIGHT % 2, "yuv420p"
        moments = _drive(seed, frames, fps, smallest)
        for index, frame in enumerate(_bar(moments, frames, "clip", progress)):
            write_labels(folder / f"{index:06d}.txt", frame.labels)
            padded = np.pad(frame.image, ((0, HEIGHT % 2), (0, WIDTH % 2), (0, 0)), mode="edge")
            picture = av.VideoFrame.from_ndarray(padded, format="rgb24")
            picture.pts, picture.time_base = index, Fraction(1, fps)
            container.mux(stream.encode(picture))
        container.mux(stream.encode(None))
    return folder


def check_clip(path: Path, frames: int, fps: int = 10) -> None:
    """Refuse now what `make_clip` would have to refuse later."""
    if frames < 1 or fps < 1:
        raise ScenesError(f"{frames} frames at {fps} a second asked for: give at least 1 of both")
    if path.suffix.lower() != ".mp4":
        raise ScenesError(f"{path}: the clip is written as .mp4; give a name that ends so")
    if path.exists() and not (clip_labels(path) / MARK).exists():
        raise ScenesError(f"{path}: exists and was not made here; remove it or give another name")


def clip_labels(path: Path) -> Path:
    """Where the labels of a clip lie."""
    return path.with_name(f"{path.stem}_labels")


def clip_world(seed: int, frames: int, fps: int = 10) -> World:
    """The street that the clip of a seed drives through."""
    return draw_street((_CLIP, seed), seconds=frames / fps, kind="city")


def still(seed: int, index: int, smallest: float = SMALLEST) -> Frame:
    """Frame `index` of the dataset of a seed."""
    return render(draw_street((_STILLS, seed, index)).at(0.0), smallest)


def _drive(seed: int, frames: int, fps: int, smallest: float) -> Iterator[Frame]:
    world = clip_world(seed, frames, fps)
    for index in range(frames):
        yield render(world.at(index / fps, instant=index), smallest)


def _write_still(images: str, labels: str, seed: int, smallest: float, index: int) -> None:
    frame = still(seed, index, smallest)
    _write_picture(Path(images, f"{index:06d}.png"), frame.image)
    write_labels(Path(labels, f"{index:06d}.txt"), frame.labels)


def _write_masked(places: list[Path], seed: int, smallest: float, index: int) -> list[Label]:
    frame = still(seed, index, smallest)
    _write_picture(places[index], frame.image)
    return frame.masked_labels()


def _write_picture(path: Path, image: np.ndarray) -> None:
    encoded = cv2.imencode(".png", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), _PNG)[1]
    write_bytes(path, encoded.tobytes())


def _spread(job: Callable[[int], Item], count: int, workers: int) -> Iterator[Item]:
    workers = min(workers, -(-count // 8))
    if workers <= 1:
        yield from map(job, range(count))
        return
    with ProcessPoolExecutor(
        workers, mp_context=get_context("spawn"), initializer=cv2.setNumThreads, initargs=(1,)
    ) as pool:
        yield from pool.map(job, range(count), chunksize=8)


def _bar(source: Iterator[Item], count: int, what: str, progress: bool) -> Iterable[Item]:
    return tqdm(source, total=count, desc=what, unit="frame", disable=None if progress else True)


def _claim(folder: Path, content: dict[str, float]) -> None:
    """Make the folder ours, unless somebody else's things are in it."""
    if folder.exists() and not folder.is_dir():
        raise ScenesError(f"{folder}: is a file; give the name of a folder")
    if folder.exists() and not (folder / MARK).exists() and any(folder.iterdir()):
        raise ScenesError(f"{folder}: is not empty and was not made here; give a new or an empty folder")
    folder.mkdir(parents=True, exist_ok=True)
    write_text(folder / MARK, json.dumps({"made_by": "data.scenes", **content}) + "\n")


def _remove_stale(folder: Path, wanted: set[str] | dict[str, str]) -> None:
    """Remove files of an earlier making that this one will not write anew."""
    for file in folder.glob("*.*"):
        if file.name not in wanted and file.is_file():
            file.unlink()
