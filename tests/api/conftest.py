"""Weights that find much, though they have learnt nothing, and pictures to look at."""

from __future__ import annotations

from pathlib import Path

import cv2
import pytest
import torch
from network_pieces import wake
from patches import CLASSES, patches

from detector.config import Config
from detector.inference.trained import Trained
from detector.network.build import build_detector

SETTINGS = {"network": {"width": 0.125}, "data": {"classes": list(CLASSES)}, "phases": [{"size": [64, 96]}]}


@pytest.fixture(scope="session")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Scores from 0 to 0.9, boxes of all sizes."""
    torch.manual_seed(0)
    config = Config.parse(SETTINGS, "here")
    network = build_detector(config.network, len(CLASSES))
    wake(network)
    path = tmp_path_factory.mktemp("weights") / "best.pt"
    Trained(config, CLASSES, network.state_dict()).save(path)
    return path


@pytest.fixture()
def street(tmp_path: Path) -> Path:
    path = tmp_path / "street.png"
    cv2.imwrite(str(path), patches(0)[..., ::-1])
    return path
