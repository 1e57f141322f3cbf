"""Images per second from disk to batch: each stage alone, and whole pipelines beside a plain one, in turns.

    python -m benchmarks.data ROOT [--frames 64] [--rounds 5]

The plain pipeline is what one writes first: cv2.imread of a PNG, albumentations at full size, resize, stack. The frames
of ROOT are written anew as PNG and as JPEG into a temporary folder: the same pictures in both. Goals: 6 times
the plain pipeline with a cache and the fused warp, on one core; and memory that does not grow over epochs.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path

os.environ["NO_ALBUMENTATIONS_UPDATE"] = "1"  # it would ask the internet for its newest version on import
import albumentations as A
import cv2
import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from data.anchors import parse_size
from data.augment import Augment, place
from data.batches import BatchSampler, Loader, collate, make_loader
from data.cache import CacheSpec
from data.detection import DetectionDataset
from data.formats.kitti import CLASSES
from data.images import read_image
from data.settings import AugmentSettings

BATCH = 16
FUSED = AugmentSettings()
EFFECTS = AugmentSettings(albumentations=({"MotionBlur": {"p": 0.1}}, {"RandomRain": {"p": 0.05}}))


class Plain(Dataset[tuple[torch.Tensor, np.ndarray]]):
    """The baseline: the same kinds of changes with the same strengths, none of our care."""

    def __init__(self, dataset: DetectionDataset, size: tuple[int, int]) -> None:
        self.dataset = dataset
        s = FUSED
        self.compose = A.Compose(
            [
                A.BBoxSafeRandomCrop(erosion_rate=0.2, p=s.crop),
                A.Rotate((-s.rotation, s.rotation), p=1),
                A.HorizontalFlip(p=s.flip),
                A.ColorJitter(
                    (1 - s.value, 1 + s.value), (1, 1), (1 - s.saturation, 1 + s.saturation), (-s.hue, s.hue), p=1
                ),
                A.Resize(*size),
            ],
            bbox_params=A.BboxParams(format="pascal_voc", label_fields=["labels"], clip=True, min_visibility=0.3),
        )

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, np.ndarray]:
        frame = self.dataset.frames[index]
        decoded = cv2.imread(str(self.dataset.image_path(frame)))
        assert decoded is not None
        image = cv2.cvtColor(decoded, cv2.COLOR_BGR2RGB)
        objects = [label for label in self.dataset.annotations(frame) if not label.ignore]
        boxes = np.array([label.box for label in objects]).reshape(-1, 4)
        labels = [CLASSES.index(label.name) for label in objects]
        changed = self.compose(image=image, bboxes=boxes, labels=labels)
        return torch.from_numpy(changed["image"]).permute(2, 0, 1).contiguous(), changed["bboxes"]


def stack(items: list[tuple[torch.Tensor, np.ndarray]]) -> tuple[torch.Tensor, list[np.ndarray]]:
    return torch.stack([image for image, _ in items]), [boxes for _, boxes in items]


def copy_frames(root: Path, split: str, count: int, folder: Path) -> tuple[Path, Path]:
    """Two data sets of the same frames, PNG and JPEG; frames that are PNG in ROOT come first."""
    source = DetectionDataset(root, split, allow_missing=True)
    frames = sorted(source.frames, key=lambda frame: source.image_path(frame).suffix != ".png")[:count]
    for kind in ("png", "jpg"):
        for part in ("training/image_2", "training/label_2", "ImageSets"):
            (folder / kind / part).mkdir(parents=True)
        (folder / kind / "ImageSets/train.txt").write_text("\n".join(frames))
        for frame in frames:
            path = source.image_path(frame)
            target = folder / kind / f"training/image_2/{frame}.{kind}"
            if path.suffix == target.suffix:
                shutil.copy(path, target)
            else:
                cv2.imwrite(str(target), cv2.cvtColor(read_image(path), cv2.COLOR_RGB2BGR))
            shutil.copy(source.source.where(frame), folder / kind / f"training/label_2/{frame}.txt")
    return folder / "png", folder / "jpg"


def seconds_each(stage: Callable[[int], object], count: int, rounds: int) -> float:
    """Median over rounds of the mean seconds of a call; one round to warm up."""
    times = []
    for _ in range(rounds + 1):
        start = time.perf_counter()
        for index in range(count):
            stage(index)
        times.append((time.perf_counter() - start) / count)
    return statistics.median(times[1:])


def stages(sets: dict[str, DetectionDataset], size: tuple[int, int], rounds: int) -> None:
    """Every stage on its own, one image at a time, one core."""
    png, cached = sets["png"], sets["ram"]
    samples = [cached[index] for index in range(len(cached))]
    out = np.empty((BATCH, *size, 3), np.uint8)
    fused, effects = Augment(FUSED, "stretch"), Augment(EFFECTS, "stretch")
    plain = Plain(png, size).compose

    def change(augment: Augment) -> Callable[[int], object]:
        return lambda i: augment(samples[i], np.random.default_rng(i), lambda: samples[0], out[0])

    placed = [place(sample, "stretch", out[i]) for i, sample in enumerate(samples[:BATCH])]
    tables: dict[str, Callable[[int], object]] = {
        **{f"read {name}": dataset.__getitem__ for name, dataset in sets.items()},
        "augment: albumentations, full size": lambda i: plain(
            image=samples[i].image, bboxes=samples[i].boxes, labels=samples[i].labels
        ),
        "augment: fused warp, then effects": change(effects),
        "augment: fused warp": change(fused),
        "resize only (validation)": lambda i: place(samples[i], "stretch", out[0]),
        f"collate, an image of {BATCH}": lambda i: collate(placed, out) if i % BATCH == 0 else None,
    }
    print(f"{'stage, one core':38} {'ms':>8} {'images/s':>10}")
    for name, stage in tables.items():
        each = seconds_each(stage, len(png), rounds)
        print(f"{name:38} {each * 1e3:8.2f} {1 / each:10.0f}")


def pipelines(sets: dict[str, DetectionDataset], size: tuple[int, int], workers: int) -> dict[str, Iterable[object]]:
    png = sets["png"]
    plain = Plain(png, size)

    def ours(name: str, settings: AugmentSettings) -> Loader:
        sampler = BatchSampler(len(png), BATCH, size, drop_last=False)
        return make_loader(sets[name], sampler, augment=settings, workers=workers)

    return {
        "plain: PNG, albumentations at full size": DataLoader(
            plain, BATCH, shuffle=True, num_workers=workers, collate_fn=stack, persistent_workers=workers > 0
        ),
        **{f"{name} + fused warp + effects": ours(name, EFFECTS) for name in ("ram", "disk")},
        **{f"{name} + fused warp": ours(name, FUSED) for name in ("png", "jpg", "disk", "ram")},
    }


def race(loaders: dict[str, Iterable[object]], count: int, rounds: int, title: str) -> None:
    """Every loader one epoch a round, in turns, so that a busy minute of the machine hits all of them."""
    rates: dict[str, list[float]] = {name: [] for name in loaders}
    for turn in range(rounds + 1):
        for name, loader in loaders.items():
            start = time.perf_counter()
            for _ in loader:
                pass
            if turn:  # the first fills the caches and starts the workers
                rates[name].append(count / (time.perf_counter() - start))
    plain, *_ = rates.values()
    print(f"\n{title:44} {'images/s':>10} {'ratio to plain':>16}")
    for name, values in rates.items():
        ratio = statistics.median(a / b for a, b in zip(values, plain, strict=True))
        print(f"{name:44} {statistics.median(values):10.0f} {ratio:16.2f}")


def memory(loader: Loader, epochs: int) -> None:
    """Memory of this process and its workers after each epoch; pages they share are counted once."""
    sizes = []
    for _ in range(epochs):
        for _ in loader:
            pass
        children = Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
        lines = [Path(f"/proc/{pid}/smaps_rollup").read_text() for pid in ("self", *children)]
        pages = [int(line.split()[1]) for text in lines for line in text.splitlines() if line.startswith("Pss:")]
        sizes.append(sum(pages) / 1024)
    print(f"\nmemory after each epoch, 2 workers, RAM cache: {', '.join(f'{size:.0f}' for size in sizes)} MiB")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.data", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("root", type=Path, help="KITTI-layout data set")
    parser.add_argument("--split", default="train")
    parser.add_argument("--frames", type=int, default=64)
    parser.add_argument("--size", type=parse_size, default=(448, 448))
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    cv2.setNumThreads(0)
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        png, jpg = copy_frames(options.root, options.split, options.frames, folder)
        sets = {
            "png": DetectionDataset(png, "train"),
            "jpg": DetectionDataset(jpg, "train"),
            "disk": DetectionDataset(png, "train", cache=CacheSpec("disk", folder=folder / "cache")),
            "ram": DetectionDataset(png, "train", cache=CacheSpec("ram")),
        }
        count = len(sets["png"])
        print(f"{count} frames of {options.root}, input {options.size[0]}x{options.size[1]}, batches of {BATCH}\n")
        stages(sets, options.size, options.rounds)
        race(pipelines(sets, options.size, 0), count, options.rounds, "pipeline, one core")
        with_workers = pipelines(sets, options.size, 2)
        race(with_workers, count, options.rounds, "pipeline, 2 workers")
        last = with_workers["ram + fused warp"]
        assert isinstance(last, Loader)
        memory(last, 4)


if __name__ == "__main__":
    main()
