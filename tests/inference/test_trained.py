"""A detector in its checkpoint: what its reader needs, and what another version or task has written."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from detector.config import Config
from detector.inference.trained import Trained, load_trained
from detector.network.build import build_detector
from training.checkpoint import CheckpointError


@pytest.fixture(scope="module")
def trained() -> Trained:
    config = Config().override(["network.width=0.125", "data.classes=[Car, Tram]", "data.resize=letterbox"])
    return Trained(config, ("Car", "Tram"), build_detector(config.network, 2).state_dict())


def rewrite(path: Path, **changes: object) -> None:
    torch.save({**torch.load(path, weights_only=True), **changes}, path)


def test_what_is_saved_is_what_is_loaded(trained: Trained, tmp_path: Path) -> None:
    trained.save(tmp_path / "a.pt")
    loaded = load_trained(tmp_path / "a.pt")
    assert (loaded.config, loaded.classes) == (trained.config, ("Car", "Tram"))
    network = loaded.build()
    assert not network.training
    assert all(torch.equal(value, trained.weights[name]) for name, value in network.state_dict().items())


def test_a_file_tells_everything_detection_needs_in_plain_types(trained: Trained, tmp_path: Path) -> None:
    trained.save(tmp_path / "a.pt")
    content = torch.load(tmp_path / "a.pt", weights_only=True)
    assert (content["task"], content["network"], content["classes"]) == ("detection", "yolov3", ["Car", "Tram"])
    assert content["resize"] == {"policy": "letterbox", "size": [448, 448]}
    assert len(content["anchors"]) == 9
    assert content["normalisation"]["mean"] == [123.675, 116.28, 103.53]


def test_a_checkpoint_of_version_0_1_loads(trained: Trained, tmp_path: Path) -> None:
    """It names neither task nor network, and its config has the engine of augmentation."""
    trained.save(tmp_path / "a.pt")
    content = torch.load(tmp_path / "a.pt", weights_only=True)
    del content["task"], content["network"], content["config"]["task"], content["config"]["network"]["kind"]
    content["config"]["data"]["augment"]["engine"] = "fused"
    torch.save(content, tmp_path / "a.pt")
    assert load_trained(tmp_path / "a.pt").config == trained.config


def test_another_task_and_a_later_version_are_told(trained: Trained, tmp_path: Path) -> None:
    path = tmp_path / "a.pt"
    trained.save(path)
    rewrite(path, task="naming")
    with pytest.raises(CheckpointError, match=r"a\.pt: of the task 'naming', which finds no objects; python eval"):
        load_trained(path)
    rewrite(path, task="detection", config={"later": 1})
    with pytest.raises(CheckpointError, match=r"a\.pt: written by a version .*unknown setting later"):
        load_trained(path)
