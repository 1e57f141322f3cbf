"""A run from the command line's words to an exit status: config, run folder, process group, trainer."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from detector.config import Config, ConfigError, changed, load_config, override
from training.checkpoint import Checkpoint, load_checkpoint
from training.distributed import World, join_world, leave_world
from training.precision import pick_device
from training.trainer import Trainer


def train_run(config_file: str | None, overrides: Sequence[str], resume: str | None, name: str | None) -> int:
    """Returns the exit status: 0 done, 130 or 143 stopped by a signal after saving."""
    checkpoint = load_checkpoint(Path(resume) / "last.pt") if resume else None
    config = _resolve(config_file, overrides, checkpoint)
    if name:
        config = override(config, [f"name={name}"])
    world = join_world(config.train.device)
    try:
        folder = Path(resume) if resume else _new_folder(config, world)
        stopped_by = Trainer(config, folder, world, checkpoint).run()
        if world.is_main:
            _say_what_next(folder, stopped_by)
        return 128 + stopped_by if stopped_by else 0
    finally:
        leave_world(world)


def train_in(folder: Path, config: Config) -> int:
    """Starts, continues or skips the run of this folder, so that it is whole. Returns the stopping signal or 0."""
    last = folder / "last.pt"
    checkpoint = load_checkpoint(last) if last.exists() else None
    epochs = sum(phase.epochs for phase in config.phases)
    if checkpoint and checkpoint.training["progress"]["epoch"] >= epochs and not changed(checkpoint.config, config):
        return 0
    return Trainer(config, folder, World(0, 1, pick_device(config.train.device)), checkpoint).run()


def _resolve(config_file: str | None, overrides: Sequence[str], checkpoint: Checkpoint | None) -> Config:
    if config_file:
        return load_config(config_file, overrides)
    if checkpoint:
        return override(checkpoint.config, overrides)
    raise ConfigError("which experiment? give a config file, for example configs/kitti.yaml, or --resume RUN_DIR")


def _new_folder(config: Config, world: World) -> Path:
    """runs/<name>, or runs/<name>-2 and so on: a run never writes into another one's folder."""
    runs = Path(config.train.runs)
    taken: Path | None = None
    if world.is_main:
        names = [config.name, *(f"{config.name}-{k}" for k in range(2, 10_000))]
        taken = next(runs / name for name in names if not (runs / name).exists())
        taken.mkdir(parents=True)
    return Path(world.from_main(taken))


def _say_what_next(folder: Path, stopped_by: int) -> None:
    if stopped_by:
        print(f"stopped and saved; go on with: python train.py --resume {folder}")
    else:
        print(f"done: {folder}/best.pt (use it), last.pt, metrics.csv, losses.png, ap.png, lr.png, tensorboard/")
