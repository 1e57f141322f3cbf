"""A network over images, into KITTI result files: what is scored afterwards is what was written."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

from tqdm import tqdm

from data.formats.kitti import write_labels
from data.images import read_image
from detector.inference.detections import to_labels

if TYPE_CHECKING:
    import numpy as np

    from detector.inference.predictor import Predictor


def write_results(predictor: Predictor, images: Mapping[str, Path], folder: Path, batch_size: int = 8) -> None:
    """`folder/<frame>.txt` for every frame of `images` (frame: image file), empty where nothing was found."""
    folder.mkdir(parents=True, exist_ok=True)
    frames = tuple(images)
    with tqdm(total=len(frames), unit="img", desc="evaluate", disable=None) as progress:
        for first, pictures in zip(
            range(0, len(frames), batch_size), _batches(tuple(images.values()), batch_size), strict=True
        ):
            batch = frames[first : first + batch_size]
            for frame, found in zip(batch, predictor.predict(pictures), strict=True):
                path = folder / f"{frame}.txt"
                path.parent.mkdir(parents=True, exist_ok=True)  # a frame may be one of a folder
                write_labels(path, to_labels(found, predictor.classes))
            progress.update(len(batch))


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
