"""Files that survive crashes, and files that are not what they claim."""

from __future__ import annotations

import io
import os
import pickle
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from training.checkpoint import Checkpoint, CheckpointError, load_checkpoint, save_checkpoint


@pytest.fixture(scope="module")
def checkpoint() -> Checkpoint:
    return Checkpoint("guess", {"name": "mine"}, {"weight": torch.rand(3)}, {"unit": "metres"}, {"score": 0.5})


def test_what_is_saved_is_what_is_loaded(checkpoint: Checkpoint, tmp_path: Path) -> None:
    save_checkpoint(tmp_path / "a.pt", checkpoint)
    loaded = load_checkpoint(tmp_path / "a.pt")
    assert torch.equal(loaded.model["weight"], checkpoint.model["weight"])
    assert replace(loaded, model={}) == replace(checkpoint, model={})


def test_a_file_that_names_no_task_is_a_detector_of_version_0_1(checkpoint: Checkpoint, tmp_path: Path) -> None:
    save_checkpoint(tmp_path / "a.pt", checkpoint)
    content = torch.load(tmp_path / "a.pt", weights_only=True)
    del content["task"]
    torch.save(content, tmp_path / "a.pt")
    assert load_checkpoint(tmp_path / "a.pt").task == "detection"


class Bomb:
    def __reduce__(self) -> tuple[object, ...]:
        return os.mkdir, ("exploded",)


def test_a_strangers_file_runs_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"format": "kitti-attention-detector/1", "config": Bomb()}, tmp_path / "bomb.pt")
    (tmp_path / "bare.pt").write_bytes(pickle.dumps(Bomb()))
    for name in ("bomb.pt", "bare.pt"):
        with pytest.raises(CheckpointError, match=f"{name}: not a PyTorch weight file that can be read safely"):
            load_checkpoint(tmp_path / name)
    assert not (tmp_path / "exploded").exists()


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"", "can be read safely"), (b"hello", "can be read safely"), (b"PK\x03\x04 torn", "can be read safely")],
)
def test_a_torn_or_foreign_file_is_named(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "x.pt").write_bytes(content)
    with pytest.raises(CheckpointError, match=message) as caught:
        load_checkpoint(tmp_path / "x.pt")
    assert "x.pt" in str(caught.value) and "\n" not in str(caught.value)


def test_weights_of_another_project_are_refused(tmp_path: Path) -> None:
    torch.save({"state_dict": {}}, tmp_path / "x.pt")
    with pytest.raises(CheckpointError, match="not a checkpoint of this project"):
        load_checkpoint(tmp_path / "x.pt")


def test_a_full_disk_keeps_the_previous_checkpoint(checkpoint: Checkpoint, tmp_path: Path) -> None:
    """/dev/full refuses every byte, as a full disk does."""
    path = tmp_path / "last.pt"
    save_checkpoint(path, checkpoint)
    before = path.read_bytes()
    partial = path.with_name(f".last.pt.{os.getpid()}.part")
    partial.symlink_to("/dev/full")
    with pytest.raises(CheckpointError, match=r"last\.pt: could not be saved .*the previous one is intact"):
        save_checkpoint(path, checkpoint)
    assert path.read_bytes() == before
    assert not partial.is_symlink()


def test_an_unwritable_folder_is_named(checkpoint: Checkpoint, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"nowhere/last\.pt: could not be saved .*nothing was written"):
        save_checkpoint(tmp_path / "nowhere" / "last.pt", checkpoint)


def test_a_flipped_bit_of_a_tensor_is_told(checkpoint: Checkpoint, tmp_path: Path) -> None:
    path = tmp_path / "a.pt"
    save_checkpoint(path, checkpoint)
    content = bytearray(path.read_bytes())
    content[content.index(checkpoint.model["weight"].numpy().tobytes()) + 5] ^= 4
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=r"a\.pt: damaged \(.*data/0 is not as it was saved\)"):
        load_checkpoint(path)


def test_a_second_ctrl_c_during_a_save_is_no_full_disk(
    checkpoint: Checkpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Interrupted(io.BytesIO):
        def write(self, content: object) -> int:
            if self.tell() > 100:
                raise KeyboardInterrupt
            return super().write(content)

    monkeypatch.setattr("builtins.open", lambda *_: Interrupted())
    with pytest.raises(KeyboardInterrupt):
        save_checkpoint(tmp_path / "last.pt", checkpoint)
