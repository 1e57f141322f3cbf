"""data.download --only against a real HTTP server: resumed, checked, whole or not there."""

from __future__ import annotations

import hashlib
import io
import tarfile
import threading
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from test_download import Mirror

from data import download, transfer
from data.picture_sets import PICTURE_SETS

CIFAR, TINY = PICTURE_SETS["cifar10"], PICTURE_SETS["tiny-imagenet"]


def tar_of(files: dict[str, bytes]) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return stream.getvalue()


@pytest.fixture()
def mirror(monkeypatch: pytest.MonkeyPatch) -> Iterator[Mirror]:
    server = Mirror()
    tar = tar_of({"cifar-10-batches-py/data_batch_1": b"1" * 5000, "cifar-10-batches-py/test_batch": b"t"})
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("tiny-imagenet-200/train/n01/images/n01_0.JPEG", b"picture")
        archive.writestr("../outside", b"")
    server.files = {CIFAR.file: tar, TINY.file: stream.getvalue()}
    small = {
        "cifar10": replace(CIFAR, md5=hashlib.md5(tar).hexdigest(), unpacked=6000),
        "tiny-imagenet": replace(TINY, unpacked=100),
    }
    monkeypatch.setattr(download, "PICTURE_SETS", small)
    monkeypatch.setattr(transfer, "FIRST_PAUSE", 0.001)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


def fetch(root: Path, mirror: Mirror, name: str) -> int:
    return download.main([str(root), "--only", name, "--url", mirror.url])


def left(root: Path) -> list[str]:
    return sorted(path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file())


def test_cifar10_comes_whole_over_a_line_that_breaks(
    tmp_path: Path, mirror: Mirror, capsys: pytest.CaptureFixture[str]
) -> None:
    root = tmp_path / "cifar10"
    mirror.faults = [{"drop_after": 40}]
    assert fetch(root, mirror, "cifar10") == 0
    assert left(root) == ["cifar-10-batches-py/data_batch_1", "cifar-10-batches-py/test_batch"]
    assert [asked for _, asked, _ in mirror.requests] == [None, "bytes=40-"]
    said = capsys.readouterr().out
    assert "Krizhevsky" in said and "KITTI" not in said and f"python -m data.doctor {root}" in said
    assert fetch(root, mirror, "cifar10") == 0
    assert len(mirror.requests) == 2 and "already there" in capsys.readouterr().out


def test_tiny_imagenet_comes_and_nothing_of_it_lies_elsewhere(tmp_path: Path, mirror: Mirror) -> None:
    root = tmp_path / "deep" / "tiny"
    assert fetch(root, mirror, "tiny-imagenet") == 0
    assert left(tmp_path) == ["deep/tiny/tiny-imagenet-200/train/n01/images/n01_0.JPEG"]


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("cifar10", tar_of({"cifar-10-batches-py/data_batch_1": b"2"}), "its md5 is"),
        ("tiny-imagenet", b"no archive at all", "the archive is damaged"),
        ("tiny-imagenet", None, "the archive is damaged"),
    ],
)
def test_a_damaged_archive_is_removed_and_said(
    tmp_path: Path, mirror: Mirror, name: str, content: bytes | None, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    file = PICTURE_SETS[name].file
    mirror.files[file] = content or mirror.files[file].replace(b"picture", b"PICTURE")  # its checksum is another
    assert fetch(tmp_path, mirror, name) == 2
    line = capsys.readouterr().err.splitlines()[-1]
    assert said in line and "run this again" in line
    assert left(tmp_path) == [] and not any(path.is_dir() for path in tmp_path.iterdir())


def test_kittis_labels_and_another_data_set_do_not_go_together(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        download.main([str(tmp_path), "--only", "cifar10", "--labels-only"])
    assert "give it or --only, not both" in capsys.readouterr().err
