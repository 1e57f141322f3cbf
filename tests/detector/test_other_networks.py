"""Runs of torchvision's detectors: the loop, resuming, the shorter side, checkpoints, and one detector from another."""

from __future__ import annotations

import signal
from pathlib import Path

import numpy as np
import pytest
import torch

from data.batches import Batch, BatchSampler, make_loader
from data.detection import DetectionDataset
from data.images import read_image
from detector.api.detector import Detector
from detector.config import Config
from detector.task import DetectionTask
from training.checkpoint import load_checkpoint
from training.config import ConfigError
from training.distributed import World
from training.trainer import Trainer

ALONE = World(0, 1, torch.device("cpu"))
SMALL = (
    "phases=[{size: 64, epochs: 2, batch_size: 2}]",
    "data.resize=shorter",
    "network.attention=none",
    "train.ema=0.5",
)


def config(tiny_config: Path, kind: str, *overrides: str) -> Config:
    return Config.load(tiny_config, (*SMALL, f"network.kind={kind}", *overrides))


def frugal(trainer: Trainer) -> Trainer:
    """Heads that learn from fewer proposals: their layers are the largest by far."""
    if hasattr(trainer.network, "roi_heads"):
        trainer.network.roi_heads.fg_bg_sampler.batch_size_per_image = 16
    return trainer


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["faster_rcnn", "retinanet"])
def test_a_run_that_was_stopped_goes_on_to_the_same_bits(tiny_config: Path, tmp_path: Path, kind: str) -> None:
    """What its samplers draw is part of that."""
    settings = config(tiny_config, kind)
    whole = frugal(Trainer(DetectionTask(settings), tmp_path / "whole", ALONE))
    assert whole.run() == 0
    stopped = frugal(Trainer(DetectionTask(settings), tmp_path / "stopped", ALONE))
    step = stopped.step

    def then_stop(batches: list[Batch]) -> dict[str, float]:
        stopped.signal = signal.SIGTERM if stopped.progress.step == 4 else 0
        return step(batches)

    stopped.step = then_stop  # type: ignore[method-assign]
    assert stopped.run() == signal.SIGTERM
    checkpoint = load_checkpoint(tmp_path / "stopped" / "last.pt")
    assert checkpoint.training["progress"]["step"] == 5
    resumed = frugal(Trainer(DetectionTask(settings), tmp_path / "stopped", ALONE, checkpoint))
    assert resumed.run() == 0
    weights, same = (run._network_to_use().state_dict() for run in (whole, resumed))
    assert [name for name in weights if not torch.equal(weights[name], same[name])] == []
    about = load_checkpoint(tmp_path / "whole" / "best.pt").about
    assert about["network"] == kind and "anchors" not in about


def test_a_checkpoint_detects_in_pictures_of_all_shapes_and_starts_other_runs(
    tiny_config: Path, tmp_path: Path
) -> None:
    trainer = Trainer(DetectionTask(config(tiny_config, "retinanet", "train.ema=0")), tmp_path, ALONE)
    torch.nn.init.normal_(trainer.network.head.classification_head.cls_logits.bias)
    trainer.save(best=True)
    detector = Detector(tmp_path / "best.pt", conf=0.4)
    tall, wide = detector([np.zeros((200, 90, 3), np.uint8), np.zeros((90, 200, 3), np.uint8)])
    assert len(tall) and len(wide)
    assert tall.boxes[:, 3].max() > 110 and wide.boxes[:, 2].max() > 110  # their longer sides
    assert (tall.boxes <= [90, 200, 90, 200]).all() and (wide.boxes <= [200, 90, 200, 90]).all()
    other = Trainer(
        DetectionTask(config(tiny_config, "retinanet", f"train.start={tmp_path / 'best.pt'}")), tmp_path, ALONE
    )
    ours, theirs = other.network.state_dict(), trainer.network.state_dict()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_frames_of_other_shapes_share_a_batch_and_keep_their_boxes(boxes_root: Path) -> None:
    """A frame is where its geometry says, and so are its boxes; the rest of the input is grey."""
    dataset = DetectionDataset(boxes_root, "val")
    sampler = BatchSampler(len(dataset), 3, (96, 96), shuffle=False, drop_last=False)
    (batch,) = make_loader(dataset, sampler, policy="shorter")
    assert batch.images.shape == (3, 3, 96, 160)  # 64 x 128 -> 80 x 160: twice as long would be more than 5/3
    for k, (frame, geometry) in enumerate(zip(batch.ids, batch.geometries, strict=True)):
        assert geometry.content == (0, 0, 160, 80)
        assert (batch.images[k, :, 80:] == 114).all()
        own = batch.targets.boxes[batch.targets.image == k].numpy()
        boxes = np.array([found.box for found in dataset.annotations(frame)])
        np.testing.assert_allclose(geometry.invert(own), boxes, atol=1e-3)
        assert read_image(dataset.image_path(frame)).shape[:2] == geometry.source


def test_the_shorter_side_is_one_number(tiny_config: Path) -> None:
    with pytest.raises(ConfigError, match=r"phases\.0\.size \[64, 128\]: data\.resize=shorter takes one number"):
        config(tiny_config, "retinanet", "phases=[{size: [64, 128]}]")
