"""Pictures in, batches out: what is trained on is cropped and flipped at random, what is judged never is.

resized   training: a random part, resized (Inception's crop); judging: 224/256 of the shorter side, from the middle
padded    training: the whole picture, moved by a few pixels within a black border; judging: the whole picture
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset
from torchvision.transforms.v2 import functional

from data.batches import BatchSampler, Loader, Request, open_loader
from data.pictures import Pictures
from data.settings import PictureSettings

CENTRE = 224 / 256  # of the shorter side, seen when judging; He et al. 2016
ASPECTS = (3 / 4, 4 / 3)  # of a random part
TRIES = 10


@dataclass(frozen=True, slots=True)
class LabelledBatch:
    """images [B, 3, H, W] uint8 RGB, channels last in memory; labels [B] int64; what the pictures are called."""

    images: Tensor
    labels: Tensor
    ids: tuple[str, ...]

    def to(self, device: torch.device | str) -> LabelledBatch:
        images, labels = (part.to(device, non_blocking=True) for part in (self.images, self.labels))
        return replace(self, images=images, labels=labels)

    def pin_memory(self) -> LabelledBatch:
        return replace(self, images=self.images.pin_memory(), labels=self.labels.pin_memory())


class PreparedPictures(Dataset[LabelledBatch]):
    """What the DataLoader's workers do: a list of requests in, a batch out."""

    def __init__(self, pictures: Pictures, settings: PictureSettings, training: bool) -> None:
        self.pictures, self.settings, self.training = pictures, settings, training

    def __getitems__(self, requests: Sequence[Request]) -> LabelledBatch | Exception:
        images = np.empty((len(requests), *requests[0].size, 3), np.uint8)
        try:
            for request, out in zip(requests, images, strict=True):
                self._place(request, out)
        except (ValueError, OSError) as error:  # the user's files: see Loader
            return error
        chosen = [request.frame for request in requests]
        labels = torch.from_numpy(self.pictures.labels[chosen])
        names = tuple(self.pictures.name(index) for index in chosen)
        return LabelledBatch(torch.from_numpy(images).permute(0, 3, 1, 2), labels, names)

    def _place(self, request: Request, out: np.ndarray) -> None:
        picture = self.pictures.read(request.frame)
        out[:] = (
            vary(picture, request.size, self.settings, np.random.default_rng(request.seed))
            if self.training
            else judged(picture, request.size, self.settings)
        )


def vary(picture: np.ndarray, size: tuple[int, int], settings: PictureSettings, rng: np.random.Generator) -> np.ndarray:
    """A picture [h, w, 3] -> one of `size` (height, width), as no epoch has seen it before."""
    if settings.crop == "resized":
        part = resized(picture[random_part(picture.shape[:2], settings.crop_min_area, rng)], size)
    else:
        border = settings.padding
        framed = np.pad(resized(picture, size), ((border, border), (border, border), (0, 0)))
        top, left = rng.integers(0, 2 * border + 1, 2)
        part = framed[top : top + size[0], left : left + size[1]]
    return part[:, ::-1] if rng.random() < settings.flip else part


def judged(picture: np.ndarray, size: tuple[int, int], settings: PictureSettings) -> np.ndarray:
    """A picture [h, w, 3] -> the part that is judged, of `size` (height, width)."""
    if settings.crop == "padded":
        return resized(picture, size)
    height, width = picture.shape[:2]
    scale = max(round(size[0] / CENTRE) / height, round(size[1] / CENTRE) / width)
    larger = resized(picture, (max(size[0], round(height * scale)), max(size[1], round(width * scale))))
    top, left = round((larger.shape[0] - size[0]) / 2), round((larger.shape[1] - size[1]) / 2)
    return larger[top : top + size[0], left : left + size[1]]


def random_part(hw: tuple[int, int], min_area: float, rng: np.random.Generator) -> tuple[slice, slice]:
    """Rows and columns of a part with a share of the area from `min_area` to 1 and an aspect of 3:4 to 4:3 (Szegedy et
    al. 2015). Where ten tries find none that fits, the middle."""
    height, width = hw
    for _ in range(TRIES):
        area = rng.uniform(min_area, 1) * height * width
        aspect = np.exp(rng.uniform(*np.log(ASPECTS)))
        h, w = round(np.sqrt(area / aspect)), round(np.sqrt(area * aspect))
        if 0 < h <= height and 0 < w <= width:
            top, left = int(rng.integers(height - h + 1)), int(rng.integers(width - w + 1))
            return slice(top, top + h), slice(left, left + w)
    w = round(min(width, height * ASPECTS[1]))
    h = round(min(height, width / ASPECTS[0]))
    top, left = (height - h) // 2, (width - w) // 2
    return slice(top, top + h), slice(left, left + w)


def resized(picture: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """uint8 [h, w, 3] -> [*size, 3], bilinear with antialiasing, as torchvision and Pillow do it."""
    if picture.shape[:2] == size:
        return picture
    pixels = torch.from_numpy(np.array(picture)).permute(2, 0, 1)  # a copy: torch wants no read-only memory
    made: np.ndarray = functional.resize(pixels, list(size), antialias=True).permute(1, 2, 0).numpy()
    return made


def make_picture_loader(
    pictures: Pictures, sampler: BatchSampler, settings: PictureSettings, training: bool, pin_memory: bool = False
) -> Loader[LabelledBatch]:
    """Batches in the sampler's order; their bytes depend on its seed and epoch only, not on the workers."""
    return open_loader(PreparedPictures(pictures, settings, training), sampler, settings.workers, pin_memory)
