"""Seconds of a whole pass over a folder of pictures, from files to logits: the paper's second way to count images a
second. Pictures are decoded, resized and cropped as for a validation on ImageNet."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset
from torchvision.datasets.folder import IMG_EXTENSIONS, default_loader
from torchvision.transforms import v2

from backbones.pixels import MEAN, STD


class Photos(Dataset[Tensor]):
    """The pictures of a folder and of those within it, in batches [B, 3, size, size] uint8."""

    def __init__(self, root: Path, size: int) -> None:
        self.files = sorted(path for path in root.rglob("*") if path.suffix.lower() in IMG_EXTENSIONS)
        if not self.files:
            raise ValueError(f"{root}: no pictures in this folder ({', '.join(IMG_EXTENSIONS)})")
        self.size = size
        self.transform = v2.Compose([v2.Resize(size * 256 // 224), v2.CenterCrop(size), v2.PILToTensor()])

    def __len__(self) -> int:
        return len(self.files)

    def __getitems__(self, indices: Sequence[int]) -> Tensor | OSError:
        pictures = []
        for path in (self.files[index] for index in indices):
            try:
                pictures.append(self.transform(default_loader(str(path))))
            except OSError as fault:  # told by the process that asked, in one line
                return OSError(f"{path}: cannot be read as a picture ({fault}); mend it or remove it")
        return torch.stack(pictures)


class WholePass:
    """Passes over the same pictures by the same workers, which have started before the first."""

    def __init__(self, photos: Photos, batch: int, workers: int, device: torch.device) -> None:
        self.device, self.count, self.size = device, len(photos), photos.size
        self.loader = DataLoader(
            photos,
            batch,
            num_workers=workers,
            collate_fn=_as_it_is,
            pin_memory=device.type == "cuda",
            persistent_workers=workers > 0,
        )
        self.mean, self.std = (torch.tensor(values, device=device).view(1, 3, 1, 1) for values in (MEAN, STD))
        for batch_of_photos in islice(self.loader, max(1, workers)):
            self._checked(batch_of_photos)

    @torch.inference_mode()
    def seconds(self, network: nn.Module, clock: Callable[[], float] = time.perf_counter) -> float:
        """An image, of a pass; the logits come back from the device."""
        network(torch.zeros(1, 3, self.size, self.size, device=self.device)).cpu()
        start = clock()
        for photos in self.loader:
            images = self._checked(photos).to(self.device, non_blocking=True)
            network((images - self.mean) / self.std).cpu()
        return (clock() - start) / self.count

    @staticmethod
    def _checked(photos: Tensor | OSError) -> Tensor:
        if isinstance(photos, OSError):
            raise photos
        return photos


def _as_it_is(batch: Any) -> Any:
    return batch  # made by __getitems__
