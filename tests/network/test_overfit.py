"""The proof that all of it fits together: network, assignment, loss, decoding and resize learn four frames by heart."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch
from network_pieces import ANCHORS, targets_of

from backbones import build_backbone
from data.resize import fit, resize
from detector.inference.decode import detect
from detector.network.settings import LossSettings
from detector.network.yolov3.boxes import Coder
from detector.network.yolov3.loss import DetectionLoss
from detector.network.yolov3.network import YOLOv3

FRAME = (375, 1242)  # KITTI's
INPUT = (96, 320)
SHAPES = 3  # a wide red block, a tall green ellipse, a blue triangle


def frame(generator):
    """A noisy frame with six objects, one in each sixth of its width -> image, [(label, x1, y1, x2, y2)]."""
    image = generator.integers(60, 120, (*FRAME, 3), dtype=np.uint8)
    objects = []
    for k in range(6):
        label = int(generator.integers(SHAPES))
        w, h = [(170, 80), (60, 150), (110, 110)][label] * generator.uniform(0.6, 1.1, 2)
        x1, y1 = generator.uniform(k * 207, (k + 1) * 207 - w), generator.uniform(5, FRAME[0] - h - 5)
        x1, y1, x2, y2 = (round(v) for v in (x1, y1, x1 + w, y1 + h))
        if label == 0:
            cv2.rectangle(image, (x1, y1), (x2, y2), (200, 40, 40), -1)
        elif label == 1:
            cv2.ellipse(
                image, ((x1 + x2) // 2, (y1 + y2) // 2), ((x2 - x1) // 2, (y2 - y1) // 2), 0, 0, 360, (40, 200, 40), -1
            )
        else:
            cv2.fillPoly(image, [np.array([(x1, y2), (x2, y2), ((x1 + x2) // 2, y1)])], (40, 40, 220))
        objects.append((label, x1, y1, x2, y2))
    return image, objects


def average_precision(found, frames, label):
    """AP50 of one class: area under the precision envelope over all recalls. found: a Detections a frame."""
    wanted = [[np.array(o[1:]) for o in objects if o[0] == label] for _, objects in frames]
    claims = sorted(
        (
            (s, k, b)
            for k, d in enumerate(found)
            for b, s, c in zip(d.boxes, d.scores, d.labels, strict=True)
            if c == label
        ),
        key=lambda claim: -claim[0],
    )
    hits, used = [], set()
    for _, k, box in claims:
        best, which = 0.5, None
        for n, truth in enumerate(wanted[k]):
            sides = np.minimum(box[2:], truth[2:]) - np.maximum(box[:2], truth[:2])
            common = sides.clip(0).prod()
            iou = common / ((box[2:] - box[:2]).prod() + (truth[2:] - truth[:2]).prod() - common)
            if iou > best and (k, n) not in used:
                best, which = iou, (k, n)
        hits.append(which is not None)
        used.add(which)
    recall = np.cumsum(hits) / sum(map(len, wanted))
    precision = np.cumsum(hits) / np.arange(1, len(hits) + 1)
    envelope = np.maximum.accumulate(precision[::-1])[::-1]
    return float((np.diff(recall, prepend=0) * envelope).sum())


def learn_by_heart(attention, settings, steps, lr, coder):
    """Mean AP50 over classes of four frames that the detector has been trained on for `steps`, and the last loss."""
    generator = np.random.default_rng(7)
    frames = [frame(generator) for _ in range(4)]
    geometry = fit(FRAME, INPUT, "stretch")
    images = torch.from_numpy(np.stack([resize(image, geometry) for image, _ in frames])).permute(0, 3, 1, 2)
    placed = [
        (k, o[0], *geometry.apply(np.array([o[1:]], np.float64))[0].tolist())
        for k, (_, objects) in enumerate(frames)
        for o in objects
    ]
    targets = targets_of(placed)

    torch.manual_seed(0)
    scale = torch.tensor([INPUT[1] / 448, INPUT[0] / 448])
    network = YOLOv3(build_backbone("resnet18", attention), SHAPES, ANCHORS * scale * 2, 0.25, coder)
    network.to(memory_format=torch.channels_last).train()
    criterion = DetectionLoss(network.anchors, network.strides, SHAPES, coder, settings)
    optimizer = torch.optim.SGD(network.parameters(), lr, momentum=0.9, weight_decay=5e-4)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda k: min((k + 1) / 10, (1 - k / steps) * 1.5, 1))
    for _ in range(steps):
        loss = criterion(network(images), targets)["total"]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    network.eval()
    with torch.no_grad():
        found = detect(network, network(images), [geometry] * 4, 0.05, 0.5)
    return float(np.mean([average_precision(found, frames, label) for label in range(SHAPES)])), float(loss.detach())


YOLOV3 = LossSettings()
CIOU = LossSettings(
    kind="ciou", assignment="neighbours", ignore_iou=1, objectness_iou_target=True, box=3, objectness=0.3
)


def test_the_paper_recipe_learns_four_frames_by_heart():
    ap50, _ = learn_by_heart("emca-se", YOLOV3, steps=45, lr=0.1, coder=Coder())
    assert ap50 > 0.95


@pytest.mark.slow
@pytest.mark.parametrize("attention", ["emca-se", "se", "eca", "none"])
@pytest.mark.parametrize(("settings", "coder"), [(YOLOV3, Coder()), (CIOU, Coder(2.0))], ids=["yolov3", "ciou"])
def test_every_backbone_and_loss_learns_four_frames_by_heart(attention, settings, coder):
    """Within a minute on two cores; measured, not asserted."""
    ap50, _ = learn_by_heart(attention, settings, steps=80, lr=0.1, coder=coder)
    assert ap50 > 0.95
