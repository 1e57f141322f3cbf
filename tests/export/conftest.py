from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from network_pieces import wake
from small_network import CLASSES, SETTINGS, pictures

from detector.config import Config
from detector.inference.card import Card
from detector.inference.trained import Trained, load_trained
from detector.network.build import build_detector

for package in ("onnx", "onnxscript", "onnxruntime", "openvino", "nncf"):
    pytest.importorskip(package)

from detector.export.graph import ImagesToBoxes, halve_weights, save_openvino, to_openvino, write_onnx  # noqa: E402
from detector.export.quantise import quantise_onnx, quantise_openvino  # noqa: E402


@pytest.fixture(scope="session")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint whose untrained heads are wide awake: scores from 0 to 0.9, boxes of all sizes."""
    torch.manual_seed(0)
    config = Config.parse(SETTINGS, "here")
    network = build_detector(config.network, len(CLASSES))
    wake(network)
    path = tmp_path_factory.mktemp("export") / "net.pt"
    Trained(config, CLASSES, network.state_dict()).save(path)
    return path


@pytest.fixture(scope="session")
def card() -> Card:
    return Card(CLASSES, (64, 96), "letterbox", "fp32")


@pytest.fixture(scope="session")
def graph(weights: Path) -> ImagesToBoxes:
    return ImagesToBoxes(load_trained(weights).build()).eval()


@pytest.fixture(scope="session")
def inputs() -> list[np.ndarray]:
    return [image[None] for image in pictures(6, 64, 96, seed=3)]


@pytest.fixture(scope="session")
def exported(weights: Path, graph: ImagesToBoxes, card: Card, inputs: list[np.ndarray]) -> dict[str, Path]:
    """The same network as a file of every kind. Traced by torch once, which takes most of the time."""
    folder = weights.parent
    files = {name: folder / f"{name}.onnx" for name in ("onnx", "onnx-fp16", "onnx-int8")}
    files |= {name: folder / f"{name}.xml" for name in ("openvino", "openvino-bf16", "openvino-int8")}
    write_onnx(graph, card, None, files["onnx"])
    shutil.copy(files["onnx"], files["onnx-fp16"])
    halve_weights(files["onnx-fp16"], replace(card, precision="fp16"))
    quantise_onnx(files["onnx"], files["onnx-int8"], replace(card, precision="int8"), inputs)
    save_openvino(to_openvino(files["onnx"]), card, files["openvino"])
    save_openvino(to_openvino(files["onnx"]), replace(card, precision="bf16"), files["openvino-bf16"])
    quantised = quantise_openvino(to_openvino(files["onnx"]), inputs)
    save_openvino(quantised, replace(card, precision="int8"), files["openvino-int8"])
    return files


@pytest.fixture(scope="session")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six frames with a car each, four of them to train."""
    root = tmp_path_factory.mktemp("data")
    for folder in ("training/image_2", "training/label_2", "ImageSets"):
        (root / folder).mkdir(parents=True)
    for k, image in enumerate(pictures(6)):
        cv2.imwrite(str(root / f"training/image_2/{k:06d}.png"), image)
        line = f"Car 0.00 0 0.00 {10 + k}.00 10.00 {60 + k}.00 50.00 1.5 1.6 3.5 1.0 1.5 20.0 0.0\n"
        (root / f"training/label_2/{k:06d}.txt").write_text(line)
    (root / "ImageSets/train.txt").write_text("000000\n000001\n000002\n000003\n")
    (root / "ImageSets/val.txt").write_text("000004\n000005\n")
    return root
