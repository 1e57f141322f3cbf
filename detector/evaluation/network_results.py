"""A network over images, into KITTI result files: what is scored afterwards is what was written.

Masks stand beside them, in <frame>.json: COCO's run lengths, one for each line of <frame>.txt.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from data.formats.kitti import write_labels
from data.images import read_image
from data.masks import from_json, to_json
from detector.inference.detections import to_labels
from system.files import write_text

if TYPE_CHECKING:
    from detector.inference.predictor import Predictor


def write_results(predictor: Predictor, images: Mapping[str, Path], folder: Path, batch_size: int = 8) -> bool:
    """`folder/<frame>.txt` for every frame of `images` (frame: image file), empty where nothing was found. Returns
    whether the network gives masks."""
    folder.mkdir(parents=True, exist_ok=True)
    frames, with_masks = tuple(images), False
    with tqdm(total=len(frames), unit="img", desc="evaluate", disable=None) as progress:
        for first, pictures in zip(
            range(0, len(frames), batch_size), _batches(tuple(images.values()), batch_size), strict=True
        ):
            batch = frames[first : first + batch_size]
            for frame, found in zip(batch, predictor.predict(pictures), strict=True):
                path = folder / f"{frame}.txt"
                path.parent.mkdir(parents=True, exist_ok=True)  # a frame may be one of a folder
                write_labels(path, to_labels(found, predictor.classes))
                if found.masks is not None:
                    with_masks = True
                    write_text(path.with_suffix(".json"), json.dumps([to_json(mask) for mask in found.masks]) + "\n")
            progress.update(len(batch))
    return with_masks


def read_masks(folder: Path, frames: Sequence[str]) -> NDArray[np.object_]:
    """The masks of all frames, in order, as `write_results` wrote them."""
    files = (folder / f"{frame}.json" for frame in frames)
    masks = [from_json(entry, None, str(path)) for path in files for entry in json.loads(path.read_text())]
    return np.array(masks, np.object_)


def speed(timings: Mapping[str, float]) -> dict[str, float]:
    """Milliseconds an image in each stage, and images a second of the three together (without reading files)."""
    images = max(timings["images"], 1.0)
    stages = ("preprocess", "network", "postprocess")
    total = sum(timings[stage] for stage in stages)
    per_image = {f"{stage}_ms": 1000 * timings[stage] / images for stage in stages}
    return {**per_image, "images_per_s": timings["images"] / total if total else 0.0}


def _batches(paths: Sequence[Path], size: int) -> Iterator[list[np.ndarray]]:
    """Images in lists of `size`; the next list is decoded while the network works on this one."""
    with ThreadPoolExecutor(max_workers=2) as pool:
        batches = [paths[first : first + size] for first in range(0, len(paths), size)]
        ahead = pool.map(read_image, batches[0]) if batches else iter(())
        for following in [*batches[1:], ()]:
            images = list(ahead)
            ahead = pool.map(read_image, following)
            yield images
