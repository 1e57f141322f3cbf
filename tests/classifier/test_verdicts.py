"""Ranks, top-k and confusions against torch's topk and against plain loops."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import nn

from classifier.evaluation.verdicts import Verdicts, judge, rank_of
from data.settings import PictureSettings
from training.distributed import World


def test_top_k_is_torchs_topk() -> None:
    generator = torch.Generator().manual_seed(0)
    logits, labels = torch.randn(200, 7, generator=generator), torch.randint(0, 7, (200,), generator=generator)
    verdicts = Verdicts.of(logits, labels)
    for k in (1, 2, 5, 7):
        found = (logits.topk(k).indices == labels[:, None]).any(1).float().mean()
        assert verdicts.top(k) == pytest.approx(100 * float(found))
    assert verdicts.said.tolist() == logits.argmax(1).tolist()
    assert verdicts.loss == pytest.approx(float(nn.functional.cross_entropy(logits, labels)))
    assert verdicts.sure == pytest.approx(logits.softmax(1).max(1).values.numpy())


def test_a_network_that_says_the_same_of_every_class_is_right_by_its_order_only() -> None:
    assert rank_of(torch.zeros(3, 3), torch.arange(3)).tolist() == [0, 1, 2]


def test_nan_is_never_right() -> None:
    broken = torch.tensor([[math.nan, 0.0, 0.0], [1.0, math.nan, 0.0], [math.nan] * 3])
    assert rank_of(broken, torch.tensor([0, 0, 1])).tolist() == [3, 1, 3]


def test_the_confusion_counts_rows_as_true_classes() -> None:
    logits = torch.tensor([[3.0, 1.0, 0.0], [0.0, 1.0, 2.0], [0.0, 5.0, 2.0], [0.0, 1.0, 2.0]])
    verdicts = Verdicts.of(logits, torch.tensor([0, 1, 1, 1]))
    assert verdicts.confusion(3).tolist() == [[1, 0, 0], [0, 1, 2], [0, 0, 0]]


class Numbers:
    """Ten grey pictures; the class is the brightness of the first pixel."""

    classes = tuple("abcdefghij")
    labels = np.arange(10)[::-1].copy()

    def read(self, index: int) -> np.ndarray:
        return np.full((32, 32, 3), self.labels[index], np.uint8)

    def name(self, index: int) -> str:
        return str(index)


class Brightness(nn.Module):
    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return nn.functional.one_hot(images[:, 0, 0, 0].long(), 10).float()


class TwoRanks(World):
    """Both ranks of two, one after the other."""

    def gather(self, item):  # type: ignore[no-untyped-def]
        if self.rank == 0:
            TwoRanks.first = item
            return [item]
        return [TwoRanks.first, item]


def test_every_picture_is_judged_once_and_in_order_however_many_share_the_work() -> None:
    settings = PictureSettings(crop="padded", workers=0)
    alone = judge(Brightness(), Numbers(), settings, (32, 32), "fp32", World(), batch_size=3)
    assert alone.labels.tolist() == alone.said.tolist() == list(range(9, -1, -1)) and alone.top(1) == 100
    for rank in (0, 1):
        shared = judge(Brightness(), Numbers(), settings, (32, 32), "fp32", TwoRanks(rank, 2), batch_size=3)
    assert shared.labels.tolist() == alone.labels.tolist()
