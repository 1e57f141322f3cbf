"""Where does a network look? python -m insight.gradcam W [W ...] IMAGES

Grad-CAM of every object that a detector finds, and of every class; of the class that a classifier names. With labels
(--data) also how good the maps are.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import matplotlib
import numpy as np
import torch
from matplotlib.figure import Figure
from numpy.typing import NDArray
from torch import Tensor, nn
from tqdm import tqdm

from data.annotation import Annotation
from data.resize import Geometry, resize
from detector.inference.drawing import colour_of, line_width
from detector.inference.weights import SHIPPED, weights_argument
from insight import measures, pictures
from insight.frames import Frames, of_files
from insight.maps import Map, Watch, channel_weights, class_map, on_input, on_picture
from insight.subject import Finding, Image, Subject, frames_for, open_subjects
from insight.words import add_answer, add_data
from system.charts import Theme
from system.command import Parser, exit_status, fraction, names, tell
from system.files import replacing

LAYERS = ("attention", "level", "C3", "C4", "C5")
SHOWN = 6  # pictures in the grid
RIGHT = 0.5  # overlap from which a finding is the annotated object
CHANCE = " by chance"


@dataclass(frozen=True)
class Explanation:
    """What a network finds in one picture, and a raw map [h, w] for each finding, each class and all of it."""

    findings: Sequence[Finding]
    each: Sequence[Tensor]
    of_class: dict[int, Tensor]
    whole: Tensor | None
    geometry: Geometry


@dataclass
class Result:
    """Of one network: how much it found, how many maps are empty, a row of measures for each annotated object."""

    subject: Subject
    found: int = 0
    empty: int = 0
    rows: list[dict[str, float]] = field(default_factory=list)
    shown: list[NDArray[np.uint8]] = field(default_factory=list)
    said: list[str] = field(default_factory=list)


def watched_module(subject: Subject, layer: str) -> tuple[nn.Module, tuple[int, ...]]:
    """The last attention in the backbone, or what gives C3, C4, C5; and which of its maps for a finding of level k."""
    if layer != "attention":
        return subject.watched(layer)
    backbone = subject.backbone
    if not backbone.attention_paths or backbone.merge is not None:  # a classifier's, which gives a vector
        raise ValueError(
            f"{subject.trained.origin}: its backbone has no attention with a map; use --layer C5, or level"
        )
    return backbone.get_submodule(backbone.attention_paths[-1]), (0, 0, 0)


def explain(subject: Subject, image: Image, layer: str, classes: Sequence[str], conf: float, iou: float) -> Explanation:
    """The maps of what is found in an image; `level` is the map C3, C4 or C5 that a finding's own head reads (of a
    classifier C5)."""
    batch, geometry = subject.place(image)
    module, which = watched_module(subject, layer)
    with Watch(module) as watch, torch.enable_grad():
        findings = subject.findings(subject.network(batch), geometry, conf, iou, classes)
    maps = [watch.maps[which[finding.level]] for finding in findings]
    weights = [channel_weights(finding.logit, over) for finding, over in zip(findings, maps, strict=True)]

    def together(chosen: Iterable[int]) -> Tensor:
        """Of the sum of logits, as gradients add up. Levels have maps of different sizes: those are laid over."""
        by_size: dict[torch.Size, tuple[Tensor, Tensor]] = {}
        for k in chosen:
            before = by_size.get(maps[k].shape, (torch.zeros_like(weights[k]), maps[k]))[0]
            by_size[maps[k].shape] = (before + weights[k], maps[k])
        raw = [class_map(*pair) for pair in by_size.values()]
        largest = max((r.shape for r in raw), key=lambda shape: shape[0])
        return torch.stack([_resized(r, largest) for r in raw]).sum(0)

    labels = dict.fromkeys(finding.label for finding in findings)
    return Explanation(
        findings,
        [class_map(weight, over) for weight, over in zip(weights, maps, strict=True)],
        {label: together(k for k, f in enumerate(findings) if f.label == label) for label in labels},
        together(range(len(findings))) if findings else None,
        geometry,
    )


def _resized(raw: Tensor, size: torch.Size) -> Tensor:
    if raw.shape == size:
        return raw
    return nn.functional.interpolate(raw[None, None], tuple(size), mode="bilinear", align_corners=False)[0, 0]


def measure(
    subject: Subject, image: Image, explained: Explanation, annotations: Sequence[Annotation]
) -> list[dict[str, float]]:
    """Every measure for each finding that is an annotated object."""
    rows = []
    for finding, raw in zip(explained.findings, explained.each, strict=True):
        box = annotated_box(finding, subject.classes[finding.label], annotations)
        if box is None:
            continue
        over = on_picture(raw, explained.geometry)
        pointing, energy, chance = measures.pointing(over, box), measures.energy(over, box), measures.area(over, box)
        of_box = {"pointing": pointing, "energy": energy, f"pointing{CHANCE}": chance, f"energy{CHANCE}": chance}
        rows.append(of_box | measure_curves(subject, image, explained, finding, raw))
    return rows


def measure_named(subject: Subject, image: Image, explained: Explanation, name: str) -> list[dict[str, float]]:
    """The measures that need no box, where the class is the right one."""
    pairs = zip(explained.findings, explained.each, strict=True)
    right = [(finding, raw) for finding, raw in pairs if subject.classes[finding.label] == name]
    return [measure_curves(subject, image, explained, finding, raw) for finding, raw in right]


def measure_curves(
    subject: Subject, image: Image, explained: Explanation, finding: Finding, raw: Tensor
) -> dict[str, float]:
    """Deletion and insertion, and the same with a map that knows nothing."""
    geometry = explained.geometry
    source, scores = resize(subject.seen(image), geometry), partial(_scores_of, subject, finding)
    given = on_input(raw, geometry)
    deletion, insertion = measures.curves(source, given, geometry, scores)
    blind = measures.curves(source, np.zeros_like(given), geometry, scores)
    by_chance = {f"deletion{CHANCE}": blind[0], f"insertion{CHANCE}": blind[1]}
    return {"deletion": deletion, "insertion": insertion, **by_chance}


def _scores_of(subject: Subject, finding: Finding, images: NDArray[np.uint8]) -> NDArray[np.float32]:
    return subject.scores(subject.to_input(images), finding)


def annotated_box(
    finding: Finding, name: str, annotations: Sequence[Annotation]
) -> tuple[float, float, float, float] | None:
    """The box of the annotated object of this class that a finding overlaps most, if by `RIGHT`."""
    best, overlap = None, RIGHT
    for annotation in annotations:
        if annotation.name == name and not annotation.ignore:
            (ax, ay, bx, by), (cx, cy, dx, dy) = annotation.box, finding.box.tolist()
            common = max(0.0, min(bx, dx) - max(ax, cx)) * max(0.0, min(by, dy) - max(ay, cy))
            iou = common / max((bx - ax) * (by - ay) + (dx - cx) * (dy - cy) - common, 1e-9)
            if iou >= overlap:
                best, overlap = annotation.box, iou
    return best


def overlaid(subject: Subject, image: Image, explained: Explanation) -> NDArray[np.uint8]:
    """What is seen of the picture with the map of all findings at one half, and boxes where objects are found."""
    image = subject.seen(image)
    over: Map = np.zeros(image.shape[:2], np.float32)
    if explained.whole is not None:
        over = on_picture(explained.whole, explained.geometry)
    colours = (255 * matplotlib.colormaps["inferno"](over)[..., :3]).astype(np.uint8)
    picture = (image // 2 + colours // 2).astype(np.uint8)
    for finding in explained.findings if subject.finds_boxes else ():
        x1, y1, x2, y2 = (round(value) for value in finding.box.tolist())
        colour = colour_of(subject.classes[finding.label])
        cv2.rectangle(picture, (x1, y1), (x2, y2), colour, line_width(*image.shape[:2]))
    return picture


def said(subject: Subject, explained: Explanation) -> str:
    """What a classifier names a picture, and how sure it is; boxes speak for themselves."""
    named = [] if subject.finds_boxes else explained.findings
    return ", ".join(f"{subject.classes[finding.label]} {finding.score:.2f}" for finding in named)


def save_maps(path: Path, subject: Subject, explained: Explanation) -> None:
    """The maps at the size of the picture, in half precision: `maps` [n, h, w], `class_maps` by `class_names`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    size, findings = explained.geometry.source, explained.findings

    def stacked(raw: Iterable[Tensor]) -> NDArray[np.float16]:
        return np.array([on_picture(r, explained.geometry) for r in raw], np.float16).reshape(-1, *size)

    with replacing(path) as partial_path, open(partial_path, "wb") as file:
        np.savez_compressed(
            file,
            maps=stacked(explained.each),
            boxes=np.array([f.box for f in findings], np.float32).reshape(-1, 4),
            scores=np.array([f.score for f in findings], np.float32),
            names=np.array([subject.classes[f.label] for f in findings], np.str_),
            class_maps=stacked(explained.of_class.values()),
            class_names=np.array([subject.classes[label] for label in explained.of_class], np.str_),
        )


def grid(images: Sequence[tuple[str, Image]], results: Sequence[Result], theme: Theme) -> Figure:
    """A column a picture, a row a network, the pictures alone on top."""
    rows = 1 + len(results)
    aspect = max(image.shape[0] / image.shape[1] for _, image in images)
    width = 4.2 if aspect < 0.6 else 2.6
    figure = Figure(figsize=(width * len(images) + 0.5, rows * width * aspect + 0.4))
    axes = figure.subplots(rows, len(images), squeeze=False)
    for column, (name, image) in enumerate(images):
        axes[0, column].imshow(image)
        axes[0, column].set_title(name)
        for row, result in enumerate(results, 1):
            axes[row, column].imshow(result.shown[column])
            axes[row, column].set_xlabel(result.said[column])
    for row, result in enumerate(results, 1):
        axes[row, 0].set_ylabel(f"{result.subject.name}\n{result.subject.attention}")
    for each in axes.flat:
        each.set(xticks=[], yticks=[])
        each.grid(False)
        each.spines[:].set_visible(False)
    return figure


def run(args: argparse.Namespace) -> None:
    subjects = open_subjects(args.weights, args.device)
    for subject in subjects:
        watched_module(subject, args.layer)
        if unknown := set(args.classes) - set(subject.classes):
            has = ", ".join(subject.classes)
            raise ValueError(f"--classes {min(unknown)}: {subject.trained.origin} has only {has}")
    frames = frames_for(subjects, args.data, args.split, args.max) if args.data else of_files(args.images)
    results = [Result(subject) for subject in subjects]
    shown: list[tuple[str, Image]] = []
    for name, image in tqdm(frames, unit="img", desc="gradcam", disable=None):
        for result in results:
            _look(result, frames, name, image, args)
        if len(shown) < SHOWN:
            shown.append((name, image))
    pictures.write(args.output, "gradcam", partial(grid, shown, results))
    report = {result.subject.name: _numbers(result) for result in results}
    whole = {"pictures": len(frames), "layer": args.layer, "networks": report}
    tell(whole, _text(report, frames, args), args.json)


def _look(result: Result, frames: Frames, name: str, image: Image, args: argparse.Namespace) -> None:
    subject = result.subject
    explained = explain(subject, image, args.layer, args.classes, args.conf, args.iou)
    folder = args.output / "maps" / result.subject.name.replace("/", "_")
    save_maps(folder / f"{name.replace('/', '_')}.npz", subject, explained)
    result.found += len(explained.findings)
    result.empty += sum(not bool(raw.any()) for raw in explained.each)
    if frames.annotations is not None:
        result.rows += measure(subject, image, explained, frames.annotations[name])
    if frames.named is not None:
        result.rows += measure_named(subject, image, explained, frames.named[name])
    if len(result.shown) < SHOWN:
        result.shown.append(overlaid(subject, image, explained))
        result.said.append(said(subject, explained))


def _numbers(result: Result) -> dict[str, Any]:
    summary = {name: asdict(measure) for name, measure in measures.summary(result.rows).items()}
    return {
        "attention": result.subject.attention,
        "found": result.found,
        "empty_maps": result.empty,
        "objects": len(result.rows),
        "measures": summary,
    }


def _text(report: Mapping[str, Any], frames: Frames, args: argparse.Namespace) -> str:
    lines = [f"{len(frames)} pictures, maps of {args.layer}; they are in {args.output}"]
    for name, numbers in report.items():
        lines.append(f"{name}: {numbers['found']} found, {numbers['empty_maps']} of their maps are empty")
        rows = numbers["measures"]
        for measured in (key for key in rows if CHANCE not in key):
            values, blind = rows[measured], rows[measured + CHANCE]["mean"]
            spread = f"{values['mean']:.3f} ± {values['spread']:.3f}  n {values['n']}"
            lines.append(f"  {measured:10} {spread}  (a map that knows nothing: {blind:.3f})")
    return "\n".join(lines)


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    parser = Parser(prog="python -m insight.gradcam", description=(__doc__ or "").splitlines()[0])
    add = parser.add_argument
    add("given", nargs="+", metavar="W|IMAGE", help=".pt checkpoints or names of shipped models, images, folders")
    add_data(parser, required=False)
    add("--classes", type=names, default=(), metavar="LIST", help="only these, as Car,Cyclist (default: all)")
    add(
        "--layer",
        choices=LAYERS,
        default="attention",
        help="whose map: the last attention's, C3, C4, C5, or level, the one of these that an object's own head reads"
        " (default: %(default)s)",
    )
    add("--conf", type=fraction, default=0.25, help="lowest score of a detection (default: %(default)s)")
    add("--iou", type=fraction, default=0.45, help="overlap at which the weaker box goes (default: %(default)s)")
    add("--output", type=Path, default=Path("runs/gradcam"), metavar="DIR", help="(default: %(default)s)")
    add_answer(parser)
    args = parser.parse_args(arguments)
    is_weights = [text in (*SHIPPED, "help") or text.endswith((".pt", ".onnx", ".xml")) for text in args.given]
    args.weights = [weights_argument(text) for text, yes in zip(args.given, is_weights, strict=True) if yes]
    args.images = [text for text, yes in zip(args.given, is_weights, strict=True) if not yes]
    if not args.weights:
        parser.error("no weights among the words: give a .pt checkpoint, or the name of a shipped model")
    if bool(args.images) == bool(args.data):
        parser.error("give either images or --data ROOT")
    return args


def main(arguments: Sequence[str] | None = None) -> int:
    args = parse(arguments)
    return exit_status(lambda: run(args))


if __name__ == "__main__":
    sys.exit(main())
