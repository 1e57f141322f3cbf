"""Copy-paste: a training frame is given objects of other frames, rare classes as often as common ones.

What stands at a row of a street's picture is equally far away, and so equally large, in every frame. So an object keeps
its row and, nearly, its size; sideways it may stand anywhere. (Dwibedi et al., Cut, Paste and Learn, ICCV 2017; Ghiasi
et al., Simple Copy-Paste, CVPR 2021.)
"""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from dataclasses import replace

import cv2
import numpy as np

from data.detection import DetectionDataset, Sample, clip, labels_to_paste
from data.images import image_size
from data.settings import AugmentSettings
from data.warp import Warp, Window, area

log = logging.getLogger(__name__)

MOST = 3  # objects that a frame is given
TRIES = 10  # places for an object, before it is left out
COVERED = 0.3  # largest share of an object that another may cover, where it comes from and where it is put
LOWEST = 16  # pixels of the file: of lower objects there is little to see
EDGE = 2  # pixels of the file: an object that comes nearer to its edge is taken for cut off
SCALE = 0.15  # largest change of an object's size, as a share
FEATHER = 3  # pixels around a box over which what it stood in fades


class CopyPaste:
    """Gives frames of a data set objects of its others, as the settings want it. All randomness comes from the
    generator that is passed in; without copy-paste nothing is drawn from it."""

    def __init__(self, dataset: DetectionDataset, settings: AugmentSettings) -> None:
        self._dataset, self._probability = dataset, settings.copy_paste
        labels = labels_to_paste(settings, dataset.class_set)
        self._donors = find_donors(dataset, labels) if settings.copy_paste else []

    def __call__(self, sample: Sample, rng: np.random.Generator) -> Sample:
        """The sample, or a copy with 1 to 3 objects more."""
        if self._donors and rng.random() < self._probability:
            for _ in range(rng.integers(1, MOST + 1)):
                objects = self._donors[rng.integers(len(self._donors))]  # a class first, so that all come equally often
                frame, number = objects[rng.integers(len(objects))].tolist()
                sample = paste(sample, self._dataset[frame], number, rng)
        return sample


def find_donors(dataset: DetectionDataset, labels: Sequence[int]) -> list[np.ndarray]:
    """The objects that can be cut out, for each class that has any: [n, 2], frame and number in its sample. Images are
    not read, but for their size."""
    found: dict[int, list[tuple[int, int]]] = {label: [] for label in labels}
    for frame in range(len(dataset)):
        boxes, kinds = dataset.targets(frame)
        if found.keys().isdisjoint(kinds.tolist()):
            continue
        size = image_size(dataset.image_path(dataset.frames[frame]))
        boxes, kinds = clip(boxes, kinds, size)
        whole, numbers = _can_be_cut(boxes, size), np.cumsum(kinds >= 0) - 1
        for label, number in zip(kinds[whole].tolist(), numbers[whole].tolist(), strict=True):
            if label in found:
                found[label].append((frame, number))
    if lacking := [dataset.class_set.names[label] for label, objects in found.items() if not objects]:
        why = f"all are cut off, covered by others or lower than {LOWEST} pixels"
        log.warning("data.augment.copy_paste: no object to paste of %s: %s", ", ".join(lacking), why)
    return [np.array(objects, np.int32) for objects in found.values() if objects]


def paste(sample: Sample, donor: Sample, number: int, rng: np.random.Generator) -> Sample:
    """A copy of the sample with object `number` of the donor; the sample itself where no place for it was found."""
    height, width = sample.image.shape[:2]
    scale = height / donor.image.shape[0]
    bottom, own = donor.boxes[number, 3] * scale, (donor.boxes[number, 2:] - donor.boxes[number, :2]) * scale
    for _ in range(TRIES):
        across, high = own * rng.uniform(1 - SCALE, 1 + SCALE)
        if across > width or high > bottom:
            continue
        left = int(rng.integers(width - math.ceil(across) + 1))
        box = np.array([left, bottom - high, left + across, bottom], np.float32)
        if _is_free(sample, box):
            return _with_object(sample, donor, number, box)
    return sample


def _with_object(sample: Sample, donor: Sample, number: int, box: np.ndarray) -> Sample:
    """The donor's object put into this box [4]. Images may be a cache's: they are never written to."""
    x1, y1, x2, y2 = _whole_pixels(box, sample.image, FEATHER)
    size, here = (y2 - y1, x2 - x1), (slice(y1, y2), slice(x1, x2))
    target = box - np.array([x1, y1, x1, y1])
    warp = _warp(donor.boxes[number], target, size)
    patch = np.empty((*size, 3), np.uint8)
    warp.image(donor.image, patch)
    if sample.masks is None or donor.masks is None:
        opacity, masks = _faded(target, size), None
    else:
        mask = np.zeros((1, *sample.image.shape[:2]), np.uint8)
        mask[0][here] = warp.masks(donor.masks[number : number + 1], size)[0]
        opacity = cv2.GaussianBlur(mask[0][here].astype(np.float32), (3, 3), 0)
        masks = np.concatenate([sample.masks * (1 - mask), mask])
    image = sample.image.copy()
    image[here] = np.rint(image[here] + opacity[..., None] * (patch.astype(np.float32) - image[here]))
    boxes, labels = np.vstack([sample.boxes, box]), np.append(sample.labels, donor.labels[number])
    return replace(sample, image=image, boxes=boxes, labels=labels, masks=masks)


def _warp(source: np.ndarray, target: np.ndarray, size: tuple[int, int]) -> Warp:
    """What makes the box `source` the box `target` of a patch of (height, width) `size`."""
    scale = (target[2:] - target[:2]) / (source[2:] - source[:2])
    shift = target[:2] - scale * source[:2]
    return Warp(np.hstack([np.diag(scale), shift[:, None]]), (0, 0, size[1], size[0]))


def _faded(box: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """float32 [h, w]: 1 within the box, and from there down to 0 at FEATHER pixels from it."""
    x, y = np.arange(size[1]) + 0.5, np.arange(size[0])[:, None] + 0.5
    beyond_x = np.maximum(np.maximum(box[0] - x, x - box[2]), 0)
    beyond_y = np.maximum(np.maximum(box[1] - y, y - box[3]), 0)
    return np.clip(1 - np.hypot(beyond_x, beyond_y) / FEATHER, 0, 1).astype(np.float32)


def _is_free(sample: Sample, box: np.ndarray) -> bool:
    """The box [4] covers no object too far, and nothing of what stands before it or is to be ignored."""
    hidden = _shares(sample.boxes, box[None])[:, 0]
    if sample.masks is not None:
        x1, y1, x2, y2 = _whole_pixels(box, sample.image)
        seen = sample.masks.sum(axis=(1, 2))
        hidden = np.maximum(hidden, sample.masks[:, y1:y2, x1:x2].sum(axis=(1, 2)) / np.maximum(seen, 1))
    limits = np.where(sample.boxes[:, 3] > box[3], 0, COVERED)  # what reaches lower is nearer
    return bool((hidden <= limits).all() and not _shares(sample.ignore, box[None]).any())


def _whole_pixels(box: np.ndarray, image: np.ndarray, margin: int = 0) -> Window:
    """The part of the image that holds the box [4] and a margin around it."""
    x1, y1 = np.maximum(np.floor(box[:2] - margin), 0).astype(int).tolist()
    x2, y2 = np.minimum(np.ceil(box[2:] + margin), image.shape[1::-1]).astype(int).tolist()
    return x1, y1, x2, y2


def _can_be_cut(boxes: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """bool [n]: high enough, not cut by the edge of an image of (height, width) `size`, hardly covered by others."""
    is_inside = (boxes[:, :2] >= EDGE).all(axis=1) & (boxes[:, 2:] <= np.array(size[::-1]) - EDGE).all(axis=1)
    shared = _shares(boxes, boxes)
    np.fill_diagonal(shared, 0)
    return is_inside & (boxes[:, 3] - boxes[:, 1] >= LOWEST) & (shared <= COVERED).all(axis=1)


def _shares(boxes: np.ndarray, others: np.ndarray) -> np.ndarray:
    """[n, m]: of each of boxes [n, 4] the share that each of others [m, 4] covers."""
    low = np.maximum(boxes[:, None, :2], others[:, :2])
    high = np.minimum(boxes[:, None, 2:], others[:, 2:])
    return np.maximum(high - low, 0).prod(axis=2) / area(boxes)[:, None]
