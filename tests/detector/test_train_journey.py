"""Whole runs through train.py in processes of their own: finished, killed, interrupted, resumed, shared."""

from __future__ import annotations

import csv
import os
import random
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from training.checkpoint import load_checkpoint

ROOT = Path(__file__).parents[2]
ENV = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}


def command(*arguments: object) -> list[str]:
    return [sys.executable, str(ROOT / "train.py"), *map(str, arguments)]


def run(*arguments: object, status: int = 0) -> str:
    done = subprocess.run(command(*arguments), capture_output=True, text=True, env=ENV, cwd=ROOT, timeout=300)
    assert done.returncode == status, done.stderr
    return done.stdout + done.stderr


def weights(folder: Path) -> dict[str, torch.Tensor]:
    checkpoint = load_checkpoint(folder / "last.pt")
    return {**checkpoint.model, **{f"raw.{k}": v for k, v in checkpoint.training["network"].items()}}


def assert_same_weights(one: Path, other: Path) -> None:
    first, second = weights(one), weights(other)
    assert first.keys() == second.keys()
    different = [name for name in first if not torch.equal(first[name], second[name])]
    assert not different


@pytest.fixture(scope="module")
def whole_run(tmp_path_factory: pytest.TempPathFactory, boxes_root: Path) -> tuple[Path, Path]:
    """(config, run folder) of an undisturbed run."""
    folder = tmp_path_factory.mktemp("whole")
    config = folder / "tiny.yaml"
    config.write_text(
        f"name: tiny\n"
        f"data: {{root: '{boxes_root}', workers: 1, classes: [Car, Pedestrian]}}\n"
        f"network: {{width: 0.125}}\n"
        f"phases: [{{size: 64, epochs: 1, batch_size: 2}},\n"
        f"         {{size: [64, 128], size_range: [32, 64], epochs: 2, batch_size: 2}}]\n"
        f"train: {{runs: '{folder / 'runs'}', precision: fp32, threads: 1}}\n"
    )
    run(config)
    return config, folder / "runs" / "tiny"


def test_a_run_leaves_weights_metrics_and_plots_in_its_folder(whole_run: tuple[Path, Path]) -> None:
    _, folder = whole_run
    for name in ("best.pt", "last.pt", "config.yaml", "metrics.csv", "losses.png", "ap.png", "lr.png"):
        assert (folder / name).stat().st_size > 0, name
    assert any((folder / "tensorboard").iterdir())
    with open(folder / "metrics.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["epoch"] for row in rows] == ["1", "2", "3"]
    assert [row["step"] for row in rows] == ["4", "8", "12"]
    assert [row["width"] for row in rows] == ["64", "128", "128"]
    assert all(float(row["loss_total"]) > 0 and 0 <= float(row["mAP50"]) <= 1 for row in rows)


def test_a_second_run_of_the_same_name_gets_a_folder_of_its_own(whole_run: tuple[Path, Path]) -> None:
    config, folder = whole_run
    before = (folder / "metrics.csv").read_bytes()
    said = run(config, "train.validate_every=0")
    assert "tiny-2" in said
    assert (folder / "metrics.csv").read_bytes() == before
    assert_same_weights(folder, folder.with_name("tiny-2"))  # and validating in between changes nothing


def test_a_run_killed_at_random_moments_and_resumed_ends_with_the_same_bits(
    whole_run: tuple[Path, Path], tmp_path: Path
) -> None:
    """Every step is saved, so that kills hit training, saving and validating alike."""
    config, undisturbed = whole_run
    runs, rng = tmp_path / "runs", random.Random(7)
    extra = (f"train.runs={runs}", "train.save_minutes=0", "data.workers=0")
    kills = 0
    for _ in range(4):
        start = (config, *extra) if not (runs / "tiny" / "last.pt").exists() else ("--resume", runs / "tiny")
        if start[0] == config and (runs / "tiny").exists():
            (runs / "tiny").rename(runs / f"before-{kills}")  # killed before the first save: nothing to resume
        silent = subprocess.DEVNULL
        process = subprocess.Popen(command(*start), env=ENV, cwd=ROOT, stderr=silent, stdout=silent)
        patience = rng.uniform(0.0, 0.5)
        last = runs / "tiny" / "last.pt"
        before = last.stat().st_mtime_ns if last.exists() else 0
        while process.poll() is None and (not last.exists() or last.stat().st_mtime_ns == before):
            time.sleep(0.01)  # let it get at least to its first save
        time.sleep(patience)
        if process.poll() is not None:
            break
        process.send_signal(signal.SIGKILL)
        process.wait()
        kills += 1
        load_checkpoint(last)  # whatever it was doing, the file is whole
    else:
        run("--resume", runs / "tiny")
    assert kills >= 1
    assert_same_weights(undisturbed, runs / "tiny")
    with open(runs / "tiny" / "metrics.csv", newline="") as file:
        assert [row["epoch"] for row in csv.DictReader(file)] == ["1", "2", "3"]


@pytest.mark.slow
def test_a_clock_that_jumps_back_and_forth_changes_nothing(whole_run: tuple[Path, Path], tmp_path: Path) -> None:
    config, undisturbed = whole_run
    words = (config, f"train.runs={tmp_path}", "train.save_minutes=0", "data.cache=disk", f"data.cache_dir={tmp_path}")
    jumping = [sys.executable, "-c", JUMPING_CLOCK, *command(*words)[1:]]
    done = subprocess.run(jumping, capture_output=True, text=True, env=ENV, cwd=ROOT, timeout=300)
    assert done.returncode == 0, done.stderr
    assert_same_weights(undisturbed, tmp_path / "tiny")
    assert 0 < load_checkpoint(tmp_path / "tiny" / "last.pt").training["progress"]["seconds"] < 300
    assert list(tmp_path.rglob("*.rgb")), "no image was cached"


JUMPING_CLOCK = """
import itertools, runpy, sys, time
true, jumps = time.time, itertools.cycle((0, -7200, 1e8, -1e9, 86400))
time.time = lambda: true() + next(jumps)
time.time_ns = lambda: int(1e9 * time.time())
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_run_after_a_save_and_says_how_to_go_on(
    whole_run: tuple[Path, Path], tmp_path: Path, number: signal.Signals
) -> None:
    config, undisturbed = whole_run
    pipe = subprocess.PIPE
    process = subprocess.Popen(
        command(config, f"train.runs={tmp_path}"), env=ENV, cwd=ROOT, stderr=pipe, stdout=pipe, text=True
    )
    assert process.stderr is not None
    line = ""
    while "starting in" not in line:
        line = process.stderr.readline()
        assert line, "ended before it started"
    process.send_signal(number)
    out, err = process.communicate(timeout=120)
    assert process.returncode == 128 + number, err
    assert f"--resume {tmp_path / 'tiny'}" in out
    run("--resume", tmp_path / "tiny")
    assert_same_weights(undisturbed, tmp_path / "tiny")


def test_a_finished_run_goes_on_with_phases_added_to_it(whole_run: tuple[Path, Path], tmp_path: Path) -> None:
    longer = shutil.copytree(whole_run[1], tmp_path / "longer")
    old = "{size: 64, epochs: 1, batch_size: 2}, {size: [64, 128], size_range: [32, 64], epochs: 2, batch_size: 2}"
    run("--resume", longer, f"phases=[{old}, {{size: 96, epochs: 2, batch_size: 4}}]")
    with open(longer / "metrics.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["width"] for row in rows] == ["64", "128", "128", "96", "96"]
    assert [row["step"] for row in rows] == ["4", "8", "12", "14", "16"]


def test_a_resumed_run_refuses_changed_settings_by_name(whole_run: tuple[Path, Path]) -> None:
    _, folder = whole_run
    said = run("--resume", folder, "optimizer.lr=0.5", status=2)
    assert said.startswith("error: ") and "optimizer.lr" in said and said.count("\n") == 1


def test_wrong_input_is_one_line_and_status_2(tmp_path: Path, tiny_config: Path) -> None:
    for arguments in (
        (tmp_path / "no.yaml",),
        (tiny_config, "optimizer.lrr=1"),
        (tiny_config, "data.root=/nowhere"),
        (tiny_config, "phases.0.batch_size=100"),
        (tiny_config, "train.device=cuda:9"),
        (tiny_config, "train.device=mps"),
        (tiny_config, "network.attention=srm", "phases.1.batch_size=1"),
        ("--resume", tmp_path / "nothing"),
    ):
        said = run(*arguments, status=2)
        assert only_error(said), said


def only_error(said: str) -> str:
    """The line that ends it, behind nothing but what a run says of its anchors: no traceback."""
    *before, last = said.splitlines()
    assert last.startswith("error: ") and all("anchors" in line for line in before), said
    return last


def test_a_batch_too_large_for_memory_is_one_line_and_status_2(tmp_path: Path, tiny_config: Path) -> None:
    huge = command(tiny_config, f"train.runs={tmp_path}", "phases.1.size=4096", "phases.1.batch_size=8")
    job = f"ulimit -v 14000000; exec {shlex.join(huge)}"  # 14 GB of addresses, half of which torch's libraries may take
    done = subprocess.run(["bash", "-c", job], capture_output=True, text=True, env=ENV, cwd=ROOT, timeout=200)
    assert done.returncode == 2, done.stderr
    told = "error: 8 images of 4096x4096 do not fit into the memory of cpu; lower phases.N."
    assert only_error(done.stderr).startswith(told)


def test_two_processes_share_a_batch_and_end_with_the_same_weights(tiny_config: Path, tmp_path: Path) -> None:
    """Each rank writes its final weights; the job's folder is written by one rank only."""
    probe = tmp_path / "probe.py"
    probe.write_text(
        "import sys, torch\n"
        f"sys.path.insert(0, {str(ROOT)!r})\n"
        "from detector.config import Config\n"
        "from training.distributed import join_world\n"
        "from training.trainer import Trainer\n"
        "from pathlib import Path\n"
        "config = Config.load(sys.argv[1], ['train.validate_every=2'])\n"
        "world = join_world('cpu')\n"
        "from detector.task import DetectionTask\n"
        "trainer = Trainer(DetectionTask(config), Path(sys.argv[2]) / 'run', world)\n"
        "seen = []\n"
        "step = trainer.step\n"
        "def spy(batches):\n"
        "    seen.extend(frame for batch in batches for frame in batch.ids)\n"
        "    return step(batches)\n"
        "trainer.step = spy\n"
        "trainer.run()\n"
        "torch.save({'weights': trainer.network.state_dict(), 'seen': seen, 'rows': trainer.log.rows,\n"
        "            'best': trainer.progress.best}, Path(sys.argv[2]) / f'rank{world.rank}.pt')\n"
        "world.leave()\n"
    )
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", f"--master-port={free_port()}"]
    done = subprocess.run(
        [*torchrun, str(probe), str(tiny_config), str(tmp_path)], capture_output=True, text=True, env=ENV, timeout=300
    )
    assert done.returncode == 0, done.stderr
    first, second = (torch.load(tmp_path / f"rank{rank}.pt", weights_only=True) for rank in (0, 1))
    trained = [name for name in first["weights"] if "running" not in name and "num_batches" not in name]
    assert all(torch.equal(first["weights"][name], second["weights"][name]) for name in trained)
    assert len(first["seen"]) == len(second["seen"]) == 12  # 3 epochs x 4 steps x one image of the batch of two
    assert not set(first["seen"][:4]) & set(second["seen"][:4])
    assert first["best"] == second["best"]
    assert first["rows"] and not second["rows"]


def test_a_rank_that_dies_ends_the_job(tiny_config: Path, tmp_path: Path) -> None:
    script = tmp_path / "die.py"
    script.write_text(
        "import os, signal, sys, threading\n"
        f"sys.path.insert(0, {str(ROOT)!r})\n"
        "sys.argv = ['train.py', *sys.argv[1:]]\n"
        "if os.environ['RANK'] == '1':\n"
        "    threading.Timer(8, lambda: os.kill(os.getpid(), signal.SIGKILL)).start()\n"
        "import train\n"
        "sys.exit(train.main())\n"
    )
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", f"--master-port={free_port()}"]
    job = [*torchrun, str(script), str(tiny_config), "phases.1.epochs=5000"]
    done = subprocess.run(job, capture_output=True, text=True, env=ENV, timeout=200)
    assert done.returncode != 0
    assert "SIGKILL" in done.stderr or "error:" in done.stderr


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
