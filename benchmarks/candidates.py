"""What do the score threshold and the limit before suppression cost in AP, and what do they save?

python -m benchmarks.candidates W.pt ROOT [--split val]

The network runs once over the frames; its outputs are finished in every way.
"""

from __future__ import annotations

import argparse
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from torch import Tensor
from tqdm import tqdm

from data.detection import DetectionDataset
from data.formats.kitti import Label
from data.images import read_image
from data.resize import fit, resize
from detector.evaluation.evaluator import evaluate
from detector.inference.backend import open_backend
from detector.inference.decode import detect
from detector.inference.detections import to_labels
from detector.inference.pytorch import TorchBackend

LIMITS = (100, 300, 1000, 3000, sys.maxsize)
SCORES = (0.001, 0.01, 0.05, 0.25)
IOU = 0.45


@dataclass
class Way:
    conf: float
    candidates: int
    seconds: float = 0.0
    found: dict[str, list[Label]] = field(default_factory=dict)


def main() -> None:
    parser = argparse.ArgumentParser(description="AP and time by score threshold and by candidates before suppression")
    parser.add_argument("weights", type=Path)
    parser.add_argument("root", type=Path)
    parser.add_argument("--split", default="val")
    args = parser.parse_args()
    backend = open_backend(args.weights, "auto", "auto", None)
    assert isinstance(backend, TorchBackend)
    dataset = DetectionDataset(args.root, args.split)
    ways = [Way(SCORES[0], limit) for limit in LIMITS] + [Way(conf, 3000) for conf in SCORES[1:]]
    counts = []
    for frame in tqdm(dataset.frames):
        image = read_image(dataset.image_path(frame))
        geometry = fit((image.shape[0], image.shape[1]), backend.size, backend.policy)
        outputs = backend.run(resize(image, geometry)[None])
        counts.append(_candidates(backend, outputs))
        for way in ways:
            started = time.perf_counter()
            (found,) = detect(backend.network, outputs, [geometry], way.conf, IOU, candidates=way.candidates)
            way.seconds += time.perf_counter() - started
            way.found[frame] = to_labels(found, backend.classes)
    truth = {frame: dataset.annotations(frame) for frame in dataset.frames}
    print(f"{len(counts)} frames; candidates above {SCORES[0]}: median {np.median(counts):.0f}, most {max(counts)}")
    print("\n| score above | candidates at most | mAP50 | AP | decode and suppress, ms |\n|---|---|---|---|---|")
    for way in ways:
        report = evaluate(truth, way.found, backend.classes).to_json()
        limit = "all" if way.candidates == sys.maxsize else f"{way.candidates}"
        numbers = f"{100 * report['mAP50']:.2f} | {100 * report['coco']['stats']['AP']:.2f}"
        print(f"| {way.conf:g} | {limit} | {numbers} | {1000 * way.seconds / len(counts):.2f} |")


def _candidates(backend: TorchBackend, outputs: list[Tensor]) -> int:
    """(box, class) pairs above the lowest score."""
    return len(backend.network.candidates(outputs, SCORES[0])[0].scores)


if __name__ == "__main__":
    main()
