"""The project as a wheel: what is in it, and that it works from another folder."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

import compare
import detect
import evaluate
import train

ROOT = Path(__file__).parents[2]
PIP = ["-m", "pip", "--disable-pip-version-check"]


def test_every_door_says_its_version(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    monkeypatch.setattr(sys, "argv", ["door.py", "--version"])
    for door in (train, evaluate, detect, compare):
        with pytest.raises(SystemExit) as ended:
            door.main()
        assert ended.value.code == 0
        assert re.fullmatch(r"kitti-attention-detector \d+\.\d+\.\d+\n", capsys.readouterr().out)


def test_the_constraints_fit_the_requirements() -> None:
    from packaging.requirements import Requirement
    from packaging.utils import canonicalize_name

    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pins = dict(line.split("==") for line in lines if not line.startswith("#"))
    for file in ROOT.glob("requirements*.txt"):
        for line in file.read_text().splitlines():
            text = line.partition("#")[0].strip()
            if text and not text.startswith("-r"):
                wanted = Requirement(text)
                assert wanted.specifier.contains(pins[canonicalize_name(wanted.name)]), f"{file.name}: {text}"


def test_another_package_of_the_same_name_is_told(tmp_path: Path) -> None:
    (tmp_path / "data.py").write_text("")
    (tmp_path / "mine.py").write_text("from detector import Detector")
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    said = subprocess.run([sys.executable, "mine.py"], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert said.returncode == 1 and f"{tmp_path}/data.py: hides the package 'data'" in said.stderr


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from a copy, as building leaves folders behind."""
    folder = tmp_path_factory.mktemp("wheel")
    for name in subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True).stdout.splitlines():
        if not name.startswith(("tests/", "docs/")) and (ROOT / name).is_file():
            (folder / "source" / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / "source" / name).write_bytes((ROOT / name).read_bytes())
    words = ["wheel", "--no-deps", "--no-build-isolation", "--no-index", "--wheel-dir", folder, folder / "source"]
    subprocess.run([sys.executable, *PIP, *words], check=True, capture_output=True)
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment with the wheel, and this one's packages for all it depends on. Returns its folder of commands."""
    folder = tmp_path_factory.mktemp("environment")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
    (site,) = folder.glob("lib/python*/site-packages")
    (site / "ours.pth").write_text(sysconfig.get_path("purelib") + "\n")
    words = ["install", "--no-deps", "--no-index", wheel]
    subprocess.run([folder / "bin/python", *PIP, *words], check=True, capture_output=True)
    return folder / "bin"


@pytest.mark.slow
def test_the_wheel_holds_what_the_program_reads_and_no_vague_modules(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    top = {name.split("/")[0] for name in names if ".dist-info" not in name}
    assert top == {"kitti_attention_detector"} | {path.parent.name for path in ROOT.glob("*/__init__.py")}
    doors = {name for name in names if re.fullmatch(r"kitti_attention_detector/\w+\.py", name)}
    assert {Path(name).stem for name in doors} == {"train", "evaluate", "detect", "compare"}
    tracked = subprocess.run(["git", "ls-files", *top, "configs"], cwd=ROOT, capture_output=True, text=True).stdout
    for name in tracked.split():
        assert (f"kitti_attention_detector/{name}" if name.startswith("configs/") else name) in names
    metadata = zipfile.ZipFile(wheel).read(next(name for name in names if name.endswith("METADATA"))).decode()
    assert "Requires-Dist: albumentations==2.0.8\n" in metadata
    assert 'Requires-Dist: onnx>=1.18; extra == "export"\n' in metadata


@pytest.mark.slow
def test_an_installed_wheel_trains_evaluates_and_detects_from_another_folder(installed: Path, tmp_path: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"} | {"OMP_NUM_THREADS": "1"}

    def call(command: str, *words: object) -> str:
        line = [str(word) for word in (installed / command, *words)]
        done = subprocess.run(line, cwd=tmp_path, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout

    call("python", "-m", "data.scenes", "scenes", "--frames", 8, "--workers", 1)
    phases = "phases=[{size: 64, epochs: 1, batch_size: 2}]"
    settings = ("data.root=scenes", "data.workers=0", "network.width=0.125", phases, "optimizer.warmup_epochs=0")
    call("kitti-train", "demo", *settings, "train.runs=runs", "train.precision=fp32")
    (weights,) = tmp_path.glob("runs/*/best.pt")
    call("kitti-evaluate", "--weights", weights, "--data", "scenes", "--split", "val", "--report", "report")
    call("kitti-detect", "scenes/training/image_2/000000.png", "--weights", weights, "--output", "found")
    assert (tmp_path / "found/image/000000.jpg").exists() and (tmp_path / "report/index.html").exists()
    where = call("python", "-c", "import detector; print(detector.Detector, detector.__file__)")
    assert "detector.api.detector.Detector" in where and str(installed.parent) in where
    assert "usage: kitti-detect " in call("kitti-detect", "--help")
