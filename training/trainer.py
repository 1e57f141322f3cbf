"""The training loop, from top to bottom: epochs, steps, validation, saving, stopping."""

from __future__ import annotations

import math
import signal
import time
from collections.abc import Iterator, Mapping
from contextlib import nullcontext
from dataclasses import asdict, replace
from itertools import islice
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from data.batches import BatchSampler
from system.command import Failure
from training.checkpoint import Checkpoint, CheckpointError, save_checkpoint
from training.config import ConfigError, changed
from training.distributed import World
from training.ema import EMA
from training.memory import try_largest_step
from training.parameters import freeze, make_optimizer, set_rate, train_mode
from training.precision import autocast, pick_precision
from training.progress import Progress
from training.run_log import RunLog
from training.schedule import Schedule
from training.settings import PhaseSettings
from training.task import Batch, Task, Validation


class TrainingError(Failure):
    """Training cannot go on; the message says why and what to change."""


class _Stopped(BaseException):
    """Told to stop while validating. A resumed run validates again."""


class Trainer:
    """One run: `Trainer(task, folder, world).run()` returns the signal that ended it early, or 0."""

    def __init__(self, task: Task[Any], folder: Path, world: World, resume: Checkpoint | None = None) -> None:
        self.task, self.config, self.folder, self.world = task, task.config, folder, world
        settings, self.device = self.config.train, world.device or torch.device("cpu")
        if settings.threads:
            torch.set_num_threads(settings.threads)
        torch.manual_seed(settings.seed)
        self.log = RunLog(folder, world.is_main, task.chart)

        self.samplers = [self._sampler(phase) for phase in self.config.phases]
        steps_of_phase = [sampler.batches_per_epoch // settings.accumulate for sampler in self.samplers]
        self.schedule = Schedule(self.config, steps_of_phase)

        self.network: nn.Module = task.build().to(self.device)
        if not resume and (started := task.start(self.network)):
            self.log.say(started)
        if settings.channels_last:
            self.network.to(memory_format=torch.channels_last)
        if settings.sync_bn and world.size > 1:
            self.network = nn.SyncBatchNorm.convert_sync_batchnorm(self.network)
        freeze(task.backbone(self.network), settings)
        self.ema = EMA(self.network, settings.ema) if settings.ema else None
        self.optimizer = make_optimizer(self.network, task.backbone(self.network), self.config.optimizer)
        wanted = resume.training.get("precision", settings.precision) if resume else settings.precision
        self.precision = world.main_does(lambda: pick_precision(wanted, self.device))
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=self.precision == "fp16")
        self.progress = Progress()
        self.signal = 0
        self._validating = False
        self._loader: tuple[int, Any] | None = None
        if resume:
            self._restore(resume)
        self.model = self._wrap(self.network)

    # ------------------------------------------------------------------ the loop

    def run(self) -> int:
        """Trains to the end, or until told to stop. Returns the signal that stopped it, or 0."""
        self._train_mode()
        micro_batches = [self._micro_batch(phase) for phase in self.config.phases]
        try_largest_step(self.task, self.network, micro_batches, self.precision)
        previous = {number: signal.signal(number, self._on_signal) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            self.log.open(self.config, self.progress.epoch)
            self.log.say(self._headline())
            while not self._done():
                self.train_epoch()
                if self.signal:
                    self.save()
                    return self.signal
                try:
                    validation = self.validate_if_due()
                except _Stopped:
                    self.save()
                    return self.signal
                is_best = validation is not None and self.progress.count_score(validation.score)
                self.finish_epoch(validation)
                self.save(best=is_best)
        finally:
            for number, handler in previous.items():
                signal.signal(number, handler)
            self.log.close()
        return 0

    def train_epoch(self) -> None:
        """The steps of one epoch that are still to do; returns early when the run was told to stop."""
        progress = self.progress
        phase = self.schedule.phase_of_epoch[progress.epoch]
        steps = self.schedule.steps_of_phase[phase]
        images_per_step = self.config.phases[phase].batch_size
        self._train_mode()
        self.log.start_epoch(f"epoch {progress.epoch + 1}/{self.schedule.epochs}", steps, progress.step_in_epoch)
        mark = last_save = time.perf_counter()
        for micro_batches in self.micro_batches(phase):
            waited = time.perf_counter() - mark
            parts = self.step(micro_batches)
            now = time.perf_counter()
            progress.count_step(parts, images_per_step, seconds=now - mark, waited=waited)
            mark = now
            self.log.step(progress, parts, self.lr, micro_batches[0].images.shape[2:])
            if self._told_to_stop():
                return
            if mark - last_save >= 60 * self.config.train.save_minutes and progress.step_in_epoch < steps:
                self.save()
                mark = last_save = time.perf_counter()

    def step(self, micro_batches: list[Batch]) -> dict[str, float]:
        """Forward, backward, clip, update. Returns the loss parts; a non-finite step changes nothing."""
        device, count = self.device, len(micro_batches)
        set_rate(self.optimizer, self.lr)
        statistics = [buffer.clone() for buffer in self.network.buffers()]
        sums: dict[str, Tensor] = {}
        for k, batch in enumerate(batch.to(device) for batch in micro_batches):
            with self._gradients_stay_here() if k < count - 1 else nullcontext():
                with autocast(device, self.precision):
                    outputs = self.model(*self.task.inputs(batch))
                losses = self.task.loss(self.network, outputs, batch)
                self.scaler.scale(losses["total"] / count).backward()
            for name, value in losses.items():
                sums[name] = sums.get(name, torch.zeros_like(value)) + value.detach() / count

        self.scaler.unscale_(self.optimizer)
        limit = self.config.optimizer.clip_norm or math.inf
        norm = nn.utils.clip_grad_norm_([p for p in self.network.parameters() if p.requires_grad], limit)
        values = torch.stack([*sums.values(), norm.to(losses["total"].dtype)])
        *means, length = self.world.mean(values).tolist()  # the step's one wait for the device
        parts = dict(zip(sums, means, strict=True))

        if math.isfinite(length):
            self.scaler.step(self.optimizer)
            if self.ema:
                self.ema.update(self.network)
            self.progress.bad_in_a_row = 0
        else:
            # The weights are as before, but the forward pass may have put nan into BatchNorm's running statistics.
            for buffer, before in zip(self.network.buffers(), statistics, strict=True):
                buffer.copy_(before)
            finding_scale = self.scaler.is_enabled() and math.isfinite(parts["total"])  # fp16 overflows until it has it
            if not finding_scale:
                self._count_bad_step(parts, [frame for batch in micro_batches for frame in batch.ids])
        self.scaler.update()
        self.optimizer.zero_grad(set_to_none=True)
        return parts

    def validate_if_due(self) -> Validation | None:
        every, done = self.config.train.validate_every, self.progress.epoch + 1
        if done < self.schedule.epochs and (every == 0 or done % every):
            return None
        self.log.end_steps()
        self._validating = True
        try:
            return self.task.validate(self._network_to_use(), self.precision, self.world)
        finally:
            self._validating = False

    def finish_epoch(self, validation: Validation | None) -> None:
        """Metrics, a line for the terminal, and on to the next epoch."""
        progress, schedule = self.progress, self.schedule
        height, width = self.config.phases[schedule.phase_of_epoch[progress.epoch]].height_width
        row = {
            "epoch": progress.epoch + 1,
            "step": progress.step,
            "height": height,
            "width": width,
            "lr": schedule.lr(progress.step - 1),
            **progress.losses,
            "images_per_second": progress.images_per_second,
            "wait_share": progress.wait_share,
            "skipped_steps": progress.skipped,
            "minutes": progress.seconds / 60,
            **(validation.metrics if validation else {}),
        }
        left = schedule.seconds_left(progress.epoch, progress.sums.get("seconds", 0.0))
        self.log.end_epoch(row, schedule.epochs, left, validation)
        progress.end_epoch()

    def save(self, best: bool = False) -> None:
        """last.pt to resume from, best.pt to use. A failed save is told and training goes on, the old file intact."""
        if not self.world.is_main:
            return
        weights = {name: value.detach().cpu() for name, value in self._network_to_use().state_dict().items()}
        metrics = {"score": self.progress.best, "epoch": float(self.progress.epoch)}
        checkpoint = Checkpoint(self.task.name, self.config.plain(), weights, self.task.about(), metrics)
        training = {
            "progress": asdict(self.progress),
            "network": self.network.state_dict(),
            "ema_updates": self.ema.updates if self.ema else 0,
            "optimizer": self.optimizer.state_dict(),
            "scaler": self.scaler.state_dict(),
            "precision": self.precision,
            "rng": {"cpu": torch.get_rng_state(), "cuda": torch.cuda.get_rng_state_all()},
        }
        files = {"best.pt": checkpoint} if best else {}
        failed: list[CheckpointError] = []
        for name, content in {**files, "last.pt": replace(checkpoint, training=training)}.items():
            try:
                save_checkpoint(self.folder / name, content)
            except CheckpointError as fault:
                failed.append(fault)
        if failed and (self.signal or self._done()):  # nothing comes after this that could save it
            raise failed[0]
        for failure in failed:
            self.log.say(f"warning: {failure}")

    # ------------------------------------------------------------------ what the loop stands on

    @property
    def lr(self) -> float:
        return self.schedule.lr(self.progress.step)

    def micro_batches(self, phase: int) -> Iterator[list[Batch]]:
        """For each step still to come in this epoch, its micro-batches."""
        progress = self.progress
        if self._loader is None or self._loader[0] != phase:
            self._loader = (phase, self.task.batches(self.samplers[phase], self.device.type == "cuda"))
        accumulate = self.config.train.accumulate
        self.samplers[phase].set_epoch(progress.epoch, progress.step_in_epoch * accumulate)
        batches = iter(self._loader[1])
        for _ in range(progress.step_in_epoch, self.schedule.steps_of_phase[phase]):
            yield list(islice(batches, accumulate))

    def _sampler(self, phase: PhaseSettings) -> BatchSampler:
        return BatchSampler(
            self.task.train_count,
            self._micro_batch(phase),
            phase.height_width,
            size_range=phase.size_range,
            seed=self.config.train.seed,
            rank=self.world.rank,
            world=self.world.size,
        )

    def _micro_batch(self, phase: PhaseSettings) -> int:
        """Images of one forward pass on one process."""
        shares = self.world.size * self.config.train.accumulate
        if phase.batch_size % shares:
            raise ConfigError(
                f"batch_size {phase.batch_size} does not divide among {self.world.size} processes x "
                f"train.accumulate {self.config.train.accumulate}; choose a multiple of {shares}"
            )
        return phase.batch_size // shares

    def _wrap(self, network: nn.Module) -> nn.Module:
        model: nn.Module = network
        if self.config.train.compile:
            model = torch.compile(model)  # type: ignore[assignment]
        if self.world.size > 1:
            ids = [self.device.index] if self.device.type == "cuda" else None
            model = DistributedDataParallel(model, device_ids=ids)
        return model

    def _gradients_stay_here(self) -> Any:
        """Between micro-batches of a step, ranks need not exchange gradients."""
        return self.model.no_sync() if isinstance(self.model, DistributedDataParallel) else nullcontext()

    def _train_mode(self) -> None:
        train_mode(self.network, self.task.backbone(self.network), self.config.train)

    def _network_to_use(self) -> nn.Module:
        return self.ema.model if self.ema else self.network

    def _restore(self, checkpoint: Checkpoint) -> None:
        if not checkpoint.training:
            raise ConfigError("best.pt holds weights for use only; resume from a run folder whose last.pt is whole")
        before = self.task.config_type.restore(checkpoint.config, where=str(self.folder / "last.pt"))
        differing = changed(before, self.config)
        if differing:
            names = ", ".join(differing)
            raise ConfigError(f"cannot resume with changed settings: {names}; leave them as they were, or start anew")
        try:
            self._take_up(checkpoint)
        except (ArithmeticError, AttributeError, LookupError, RuntimeError, TypeError, ValueError) as fault:
            reason = f"{type(fault).__name__}: {' '.join(str(fault).split()):.160}"
            mend = "it is damaged, or was changed; resume from a copy, or start anew"
            raise CheckpointError(f"{self.folder / 'last.pt'}: cannot go on from it ({reason}); {mend}") from None

    def _take_up(self, checkpoint: Checkpoint) -> None:
        state = checkpoint.training
        self.progress = Progress(**state["progress"])
        self.network.load_state_dict(state["network"])
        if self.ema:
            self.ema.model.load_state_dict(checkpoint.model)
            self.ema.updates = int(state["ema_updates"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.scaler.load_state_dict(state["scaler"])
        torch.set_rng_state(state["rng"]["cpu"])
        if len(state["rng"]["cuda"]) == torch.cuda.device_count():
            torch.cuda.set_rng_state_all(state["rng"]["cuda"])

    def _count_bad_step(self, parts: Mapping[str, float], frames: list[str]) -> None:
        progress = self.progress
        progress.skipped += 1
        progress.bad_in_a_row += 1
        shown = ", ".join(f"{name} {value:.4g}" for name, value in parts.items())
        report = f"step {progress.step} is not finite ({shown}; lr {self.lr:.3g}; frames {', '.join(frames)})"
        self.log.say(f"warning: {report}: skipped, {progress.skipped} so far")
        if progress.bad_in_a_row >= self.config.train.bad_steps:
            raise TrainingError(
                f"{progress.bad_in_a_row} steps in a row were not finite; the last: {report}. Lower optimizer.lr, or "
                f"look at those frames; the last checkpoint in {self.folder} is intact"
            )

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if self.signal:  # a second one: now
            raise KeyboardInterrupt
        self.signal = number
        if self._validating and self.world.size == 1:
            raise _Stopped
        self.log.say("stopping after this step; a second interrupt stops at once, without saving")

    def _told_to_stop(self) -> bool:
        """One vote a step, so that all ranks stop together whichever of them was told."""
        stop = self.world.any(bool(self.signal))
        if stop and not self.signal:
            self.signal = signal.SIGTERM
        return stop

    def _done(self) -> bool:
        patience = self.config.train.patience
        out_of_patience = bool(patience) and self.progress.worse >= patience
        return out_of_patience or self.progress.epoch >= self.schedule.epochs

    def _headline(self) -> str:
        start = f"resuming at step {self.progress.step}" if self.progress.step else "starting"
        network, data = self.task.describe()
        millions = sum(p.numel() for p in self.network.parameters()) / 1e6
        alone = self.world.size == 1
        machine = f"{torch.get_num_threads()} CPU threads" if alone else f"{self.world.size} processes"
        return (
            f"{start} in {self.folder}: {network}, {millions:.1f} M parameters; {data}; "
            f"{self.schedule.total_steps} steps; {self.precision} on {self.device}, {machine}"
        )
