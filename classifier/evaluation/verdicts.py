"""What a classifier says of every picture of a split, and what follows from it: top-1, top-5, confusions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from tqdm import tqdm

from data.batches import BatchSampler
from data.classification import make_picture_loader
from data.pictures import Pictures
from data.settings import PictureSettings
from training.distributed import World
from training.precision import autocast

BATCH = 128


@dataclass(frozen=True, slots=True)
class Verdicts:
    """One row a picture: `labels` its class, `said` the class that the network names, `rank` how many classes it takes
    for likelier than the right one, `sure` the probability of the named class, `cost` the cross-entropy."""

    labels: NDArray[np.int64]
    said: NDArray[np.int64]
    rank: NDArray[np.int64]
    sure: NDArray[np.float64]
    cost: NDArray[np.float64]

    @classmethod
    def of(cls, logits: Tensor, labels: Tensor) -> Verdicts:
        """logits [B, K], labels [B]"""
        logarithms = logits.double().log_softmax(1)
        best, said = logarithms.max(1)
        rows = (labels, said, rank_of(logits, labels), best.exp(), -logarithms.gather(1, labels[:, None])[:, 0])
        return cls(*(row.cpu().numpy() for row in rows))

    @classmethod
    def joined(cls, parts: Sequence[Verdicts]) -> Verdicts:
        return cls(*(np.concatenate([getattr(part, field.name) for part in parts]) for field in fields(cls)))

    def __getitem__(self, rows: NDArray[np.int64] | NDArray[np.bool_]) -> Verdicts:
        return Verdicts(*(getattr(self, field.name)[rows] for field in fields(self)))

    def __len__(self) -> int:
        return len(self.labels)

    def top(self, k: int) -> float:
        """Percent of the pictures whose class is among the k likeliest."""
        return 100 * float((self.rank < k).mean()) if len(self) else 0.0

    @property
    def loss(self) -> float:
        """Mean cross-entropy."""
        return float(self.cost.mean()) if len(self) else 0.0

    def confusion(self, classes: int) -> NDArray[np.int64]:
        """[K, K]: how many pictures of class `row` were named `column`."""
        counts = np.bincount(self.labels * classes + self.said, minlength=classes * classes)
        return counts.reshape(classes, classes)


def rank_of(logits: Tensor, labels: Tensor) -> Tensor:
    """How many classes come before the right one: those with more, and of equals those with a smaller number; nan comes
    first, so that a network that says nothing is never right. [B, K], [B] -> [B]"""
    own = logits.gather(1, labels[:, None])
    earlier = torch.arange(logits.shape[1], device=logits.device) < labels[:, None]
    before = torch.where(earlier, ~(logits < own), ~(logits <= own))
    return before.sum(1)


@torch.inference_mode()
def judge(
    network: nn.Module,
    pictures: Pictures,
    settings: PictureSettings,
    size: tuple[int, int],
    precision: str,
    world: World,
    batch_size: int = BATCH,
    title: str = "",
) -> Verdicts:
    """Every picture in order. Every rank judges its share, and all get the whole. `title` heads a progress bar."""
    device = world.device or torch.device("cpu")
    network.eval()
    sampler = BatchSampler(
        *(len(pictures.labels), batch_size, size), shuffle=False, drop_last=False, rank=world.rank, world=world.size
    )
    order = [request.frame for batch in sampler for request in batch]
    parts = []
    loader = make_picture_loader(pictures, sampler, settings, training=False, pin_memory=device.type == "cuda")
    for batch in tqdm(loader, title, leave=False, disable=None if title else True):
        moved = batch.to(device)
        with autocast(device, precision):
            logits = network(moved.images)
        parts.append(Verdicts.of(logits, moved.labels))
    shares = world.gather((order, Verdicts.joined(parts) if parts else None))
    present = [(rows, verdicts) for rows, verdicts in shares if verdicts is not None]
    whole = Verdicts.joined([verdicts for _, verdicts in present])
    return whole[np.argsort(np.concatenate([rows for rows, _ in present]))]
