"""How far from their labels do the sides of found cars lie, and is it the geometry or the pictures?

python -m benchmarks.offsets --weights W.pt --data ROOT [--split val]

Cars in full view, more than 40 px high, whose best detection scores above .3 and overlaps them by more than .5. Every
frame is looked at as it is and mirrored, the boxes then mirrored back: what the geometry loses in x changes its sign,
what the pictures do to the network does not; half the difference is the geometry's (and the network's own) part.
A car that stands before the camera for many frames is not many cars: labels with the same 3D size are taken for the
same car, and the intervals (95 %) draw cars, with all their boxes.
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import torch
from torchvision.ops import box_iou
from tqdm import tqdm

from data.detection import DetectionDataset
from data.formats.kitti import Label
from data.images import read_image
from detector.inference.detections import Detections
from detector.inference.predictor import Predictor

SCORE, IOU, HEIGHT = 0.3, 0.5, 40
COLUMNS = ("x1", "y1", "x2", "y2", "centre x", "centre y")

Place = tuple[str, int]  # frame, row of its label
Size = tuple[float, float, float]


def main() -> None:
    parser = argparse.ArgumentParser(description="signed offsets of the sides of found cars, px of the frame")
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--split", default="val")
    args = parser.parse_args()
    predictor = Predictor(args.weights, conf=0.05)
    if "Car" not in predictor.classes:
        parser.error(f"{args.weights}: finds {', '.join(predictor.classes)}, no Car")
    dataset = DetectionDataset(args.data, args.split)
    car = predictor.classes.index("Car")
    plain: dict[Place, np.ndarray] = {}
    mirrored: dict[Place, np.ndarray] = {}
    sizes: dict[Place, Size] = {}
    for frame in tqdm(dataset.frames):
        labels = [label for label in dataset.annotations(frame) if isinstance(label, Label)]
        cars = {row: label for row, label in enumerate(labels) if in_full_view(label)}
        if not cars:
            continue
        sizes |= {(frame, row): label.dimensions for row, label in cars.items()}
        image = read_image(dataset.image_path(frame))
        plain |= offsets(cars, frame, cars_found(predictor.predict(image), car))
        back = cars_found(predictor.predict(np.ascontiguousarray(image[:, ::-1])), car)
        back[:, [0, 2]] = image.shape[1] - back[:, [2, 0]]
        mirrored |= offsets(cars, frame, back)
    print_table(plain, mirrored, sizes)


def in_full_view(label: Label) -> bool:
    height = label.box[3] - label.box[1]
    return label.name == "Car" and label.occlusion == 0 and label.truncation < 0.15 and height > HEIGHT


def cars_found(found: Detections, car: int) -> np.ndarray:
    """Boxes [n, 4] float64 of the class `car`."""
    found = found.above(SCORE)
    return found.boxes[found.labels == car].astype(np.float64)


def offsets(cars: dict[int, Label], frame: str, found: np.ndarray) -> dict[Place, np.ndarray]:
    """Of every car that is found: COLUMNS of its best box less those of its label."""
    result = {}
    for row, label in cars.items():
        box = np.array(label.box)
        overlap = box_iou(torch.tensor(box[None]), torch.tensor(found))[0]
        if len(overlap) and overlap.max() > IOU:
            away = found[int(overlap.argmax())] - box
            result[frame, row] = np.append(away, [(away[0] + away[2]) / 2, (away[1] + away[3]) / 2])
    return result


def print_table(plain: dict[Place, np.ndarray], mirrored: dict[Place, np.ndarray], sizes: dict[Place, Size]) -> None:
    if not plain:
        print("no car is found")
        return
    most, count = Counter(sizes[place] for place in plain).most_common(1)[0]
    others = {place: away for place, away in plain.items() if sizes[place] != most}
    half = {place: (away - mirrored[place]) / 2 for place, away in plain.items() if place in mirrored}
    print(f"\n| medians, px of the frame | boxes | cars | {' | '.join(COLUMNS)} |\n|{'---|' * (3 + len(COLUMNS))}")
    print_row("as it is", plain, sizes)
    print_row("mirrored and back", mirrored, sizes)
    print_row("half the difference", half, sizes)
    print_row(f"as it is, without the car seen most ({count} boxes)", others, sizes)


def print_row(name: str, away: dict[Place, np.ndarray], sizes: dict[Place, Size]) -> None:
    by_car: dict[Size, list[np.ndarray]] = {}
    for place, values in away.items():
        by_car.setdefault(sizes[place], []).append(values)
    cars = [np.array(values) for values in by_car.values()]
    if not cars:
        print(f"| {name} | 0 | 0 |{' |' * len(COLUMNS)}")
        return
    low, high = interval(cars)
    middle = np.median(np.concatenate(cars), axis=0)
    print(f"| {name} | {len(away)} | {len(cars)} | {' | '.join(cells(middle, low, high))} |")


def interval(cars: list[np.ndarray], draws: int = 1000) -> tuple[np.ndarray, np.ndarray]:
    """Ends [6] of the 95 % intervals of the medians over boxes, by drawing cars with replacement."""
    rng = np.random.default_rng(0)
    medians = [
        np.median(np.concatenate([cars[i] for i in rng.integers(len(cars), size=len(cars))]), axis=0)
        for _ in range(draws)
    ]
    low, high = np.percentile(medians, [2.5, 97.5], axis=0)
    return low, high


def cells(*rows: np.ndarray) -> Iterable[str]:
    """middle, low, high [6] -> one cell a column."""
    return (f"{middle:+.1f} ({low:+.1f} to {high:+.1f})" for middle, low, high in zip(*rows, strict=True))


if __name__ == "__main__":
    main()
