"""How often is a classifier right? Of pictures as they are, or after something was done to what it sees of them."""

from __future__ import annotations

from collections.abc import Callable
from itertools import islice

import numpy as np
import torch
from tqdm import tqdm

from classifier.evaluation.verdicts import Verdicts
from insight.frames import Frames, Image
from insight.subject import ClassifierSubject


@torch.inference_mode()
def top(
    subject: ClassifierSubject,
    frames: Frames,
    change: Callable[[Image], Image] = lambda seen: seen,
    batch: int = 32,
    title: str = "",
) -> dict[str, float]:
    """Top-1 and top-5 in percent; `change` comes after the crop."""
    assert frames.named is not None
    parts, pictures = [], iter(tqdm(frames, unit="img", desc=title or subject.name, disable=None))
    while some := list(islice(pictures, batch)):
        images = np.stack([change(subject.seen(image)) for _, image in some])
        labels = torch.tensor([subject.classes.index(frames.named[name]) for name, _ in some])
        parts.append(Verdicts.of(subject.logits(subject.to_input(images)).cpu(), labels))
    verdicts = Verdicts.joined(parts)
    return {"top1": verdicts.top(1), "top5": verdicts.top(5)}
