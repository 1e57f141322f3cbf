"""A run from the command line's words to an exit status: config, run folder, process group, trainer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from system.command import door
from system.files import locked
from system.names import check_name
from training.checkpoint import Checkpoint, load_checkpoint
from training.config import RunConfig, changed, check_run_name, of_task
from training.distributed import World, join_world
from training.precision import pick_device
from training.task import Task
from training.trainer import Trainer
from training.values import ConfigError, config_path, read_yaml

Tasks = Mapping[str, type[Task[Any]]]


def train_run(
    tasks: Tasks, config_file: str | None, overrides: Sequence[str], resume: str | None, name: str | None
) -> int:
    """Returns the exit status: 0 done, 130 or 143 stopped by a signal after saving. The config says which task."""
    checkpoint = load_checkpoint(Path(resume) / "last.pt") if resume else None
    task_type, config = _resolve(tasks, config_file, overrides, checkpoint)
    if name:
        config = config.override([f"name={name}"])
    world = join_world(config.train.device)
    try:
        folder = Path(resume) if resume else world.main_does(lambda: _new_folder(config))
        task = _settled(task_type(config), checkpoint)
        with locked(folder) if world.is_main else nullcontext():
            stopped_by = Trainer(task, folder, world, checkpoint).run()
        if world.is_main:
            _say_what_next(folder, stopped_by, task_type.chart.name)
        return 128 + stopped_by if stopped_by else 0
    finally:
        world.leave()


def train_in(folder: Path, task: Task[Any]) -> int:
    """Starts, continues or skips the run of this folder, so that it is whole. Returns the stopping signal or 0."""
    last = folder / "last.pt"
    checkpoint = load_checkpoint(last) if last.exists() else None
    config = _settled(task, checkpoint).config
    if checkpoint and checkpoint.training["progress"]["epoch"] >= config.epochs:
        before = task.config_type.restore(checkpoint.config, where=str(last))
        if not changed(before, config):
            with locked(folder):  # which clears away the parts of a run that was killed after its last save
                return 0
    folder.mkdir(parents=True, exist_ok=True)
    with locked(folder):
        return Trainer(task, folder, World(device=pick_device(config.train.device)), checkpoint).run()


def _settled(task: Task[Any], checkpoint: Checkpoint | None) -> Task[Any]:
    """The task, with a config that leaves nothing to the data: a run that goes on has found it out already."""
    task.settle(task.config_type.restore(checkpoint.config, where="last.pt") if checkpoint else None)
    return task


def _resolve(
    tasks: Tasks, config_file: str | None, overrides: Sequence[str], checkpoint: Checkpoint | None
) -> tuple[type[Task[Any]], RunConfig]:
    if config_file:
        path = config_path(config_file)
        task_type = of_task(tasks, read_yaml(path))
        return task_type, task_type.config_type.load(path, overrides)
    if checkpoint:
        task_type = tasks[check_name("task", checkpoint.task, tasks)]
        return task_type, task_type.config_type.restore(checkpoint.config, where="last.pt").override(overrides)
    raise ConfigError("which experiment? give a config file, for example configs/kitti.yaml, or --resume RUN_DIR")


def _new_folder(config: RunConfig) -> Path:
    """runs/<name>, or runs/<name>-2 and so on: a run never writes into another one's folder."""
    check_run_name("name", config.name)
    runs = Path(config.train.runs)
    names = [config.name, *(f"{config.name}-{k}" for k in range(2, 10_000))]
    folder = next(runs / name for name in names if not (runs / name).exists())
    folder.mkdir(parents=True)
    return folder


def _say_what_next(folder: Path, stopped_by: int, chart: str) -> None:
    if stopped_by:
        print(f"stopped and saved; go on with: {door('train')} --resume {folder}")
    else:
        print(f"done: {folder}/best.pt is the one to use")
        print(f"beside it last.pt, metrics.csv, losses.png, {chart}.png, lr.png, tensorboard/")
