from __future__ import annotations

import numpy as np
import pytest
import torch
from network_pieces import ANCHORS, TinyBackbone, lively

from backbones import build_backbone
from detector.export.graph import ImagesToBoxes
from detector.network.yolov3.boxes import Coder
from detector.network.yolov3.network import YOLOv3

onnxruntime = pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")


def resnet18(attention):
    return build_backbone("resnet18", attention)


@pytest.mark.parametrize(
    ("backbone", "argument"),
    [
        (TinyBackbone, ()),
        *(pytest.param(resnet18, (name,), marks=pytest.mark.slow) for name in ("none", "emca-se", "emca-srm", "fca")),
    ],
)
def test_onnx_runtime_gives_the_boxes_of_pytorch(backbone, argument, tmp_path):
    torch.manual_seed(0)
    network = YOLOv3(backbone(*argument), 8, ANCHORS, 0.125, Coder(2.0))
    lively(network)
    for head in network.heads:  # boxes near their anchors, scores all over
        torch.nn.init.normal_(head[-1].weight, std=0.02)
        torch.nn.init.normal_(head[-1].bias, std=0.5)
    decoded = ImagesToBoxes(network).eval()
    images = torch.randint(0, 256, (2, 64, 96, 3), dtype=torch.uint8)
    path = tmp_path / "network.onnx"
    torch.onnx.export(
        decoded, (images,), path, dynamo=True, input_names=["images"], output_names=["boxes", "scores"], verbose=False
    )
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    boxes, scores = session.run(None, {"images": images.numpy()})
    with torch.no_grad():
        expected_boxes, expected_scores = (t.numpy() for t in decoded(images))
    assert boxes.shape == (2, 378, 4) and scores.shape == (2, 378, 8)
    assert np.ptp(expected_scores) > 0.1 and np.ptp(expected_boxes) > 100, "outputs too even to prove anything"
    np.testing.assert_allclose(boxes, expected_boxes, rtol=0, atol=1e-3)
    np.testing.assert_allclose(scores, expected_scores, rtol=0, atol=1e-5)
