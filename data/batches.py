"""Batches of one size each, chosen in the sampler, so that workers, ranks and resumed runs agree."""

from __future__ import annotations

import logging
import math
import shutil
import signal
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, TypeVar

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from data.augment import Augment, Placed, place
from data.copy_paste import CopyPaste
from data.detection import DetectionDataset, Sample
from data.resize import PADDING, Geometry, fit_together, largest_input, size_choices
from data.settings import AugmentSettings
from system.command import Failure

log = logging.getLogger(__name__)
Made = TypeVar("Made")  # a batch, of whatever task

AHEAD = 2  # batches that a worker prepares ahead
GRACE_S = 60  # for a training that is told to stop to end its step and save it
PATIENCE_S = 600  # a batch takes milliseconds; a worker that gives none for so long never will
_BOXES = 1 << 16  # bytes of a batch beside its images and masks, generously
_MASKS = 2  # a batch may have twice as many as is usual
_ORDER, _SIZES = 0, 1  # what a random stream is for; part of its seed


@dataclass(frozen=True, slots=True)
class Targets:
    """The objects of a whole batch, flat: row k belongs to image `image[k]` of the batch.

    boxes [n, 4] float32 x1 y1 x2 y2 in pixels of the network input, labels [n] int64, image [n] int64;
    ignore [m, 4] and ignore_image [m]: regions in which a prediction is neither right nor wrong; masks [n, H, W] uint8
    of 0 and 1 where they are asked for.
    """

    boxes: Tensor
    labels: Tensor
    image: Tensor
    ignore: Tensor
    ignore_image: Tensor
    masks: Tensor | None = None

    def to(self, device: torch.device | str) -> Targets:
        return self._each(lambda tensor: tensor.to(device, non_blocking=True))

    def pin_memory(self) -> Targets:
        return self._each(Tensor.pin_memory)

    def _each(self, change: Callable[[Tensor], Tensor]) -> Targets:
        tensors = {name: getattr(self, name) for name in self.__slots__}
        return replace(self, **{name: change(tensor) for name, tensor in tensors.items() if tensor is not None})


@dataclass(frozen=True, slots=True)
class Batch:
    """images [B, 3, H, W] uint8 RGB, their targets, frame ids and the resize that made each of them.

    The memory of `images` is [B, H, W, 3] (channels last): decoded pixels are written there and never moved again,
    and convolutions on CPUs and on tensor cores want that order anyway.
    """

    images: Tensor
    targets: Targets
    ids: tuple[str, ...]
    geometries: tuple[Geometry, ...]

    def to(self, device: torch.device | str) -> Batch:
        return replace(self, images=self.images.to(device, non_blocking=True), targets=self.targets.to(device))

    def pin_memory(self) -> Batch:
        """Called by the DataLoader, which knows nothing of our types."""
        return replace(self, images=self.images.pin_memory(), targets=self.targets.pin_memory())


class Request(NamedTuple):
    """One image of a batch to come: which frame, how large (height, width), and the seed of its random changes.

    The seed names the place of the image in the run, so what becomes of it does not depend on who prepares it or when.
    """

    frame: int
    size: tuple[int, int]
    seed: tuple[int, int, int]


class BatchSampler(Sampler[list[Request]]):
    """The batches of an epoch, each with its size: a pure function of (seed, epoch), the same on every rank.

    A global batch is `batch_size * world` frames, of which rank r takes every world-th from the r-th on. With
    `drop_last` (training) an incomplete global batch is left out, so all ranks take the same number of steps; without
    (evaluation) it is shared out as it is: no frame comes twice, and a rank may have one batch less than another.
    `size_range` (lo, hi) makes the height of each batch a random multiple of 32 in that range; the width follows.
    """

    def __init__(
        self,
        count: int,
        batch_size: int,
        size: tuple[int, int],
        *,
        size_range: tuple[int, int] | None = None,
        shuffle: bool = True,
        drop_last: bool = True,
        seed: int = 0,
        rank: int = 0,
        world: int = 1,
    ) -> None:
        self.count, self.batch_size, self.shuffle, self.drop_last = count, batch_size, shuffle, drop_last
        self.seed, self.rank, self.world = seed, rank, world
        self.sizes = size_choices(size, size_range)
        self.epoch = self.start_batch = 0
        if batch_size < 1 or not 0 <= rank < world:
            raise ValueError(f"batch size {batch_size}, rank {rank} of {world}: expected size >= 1, rank in 0..world-1")
        if drop_last and count < batch_size * world:
            raise ValueError(
                f"{count} frames do not fill one batch of {batch_size * world}; use a smaller batch or more frames"
            )

    def set_epoch(self, epoch: int, start_batch: int = 0) -> None:
        """Which epoch the next iteration is, and how many of its batches a resumed run has already had."""
        self.epoch, self.start_batch = epoch, start_batch

    @property
    def batches_per_epoch(self) -> int:
        whole, rest = divmod(self.count, self.batch_size * self.world)
        return whole + (not self.drop_last and rest > self.rank)

    def __len__(self) -> int:
        """Batches still to come in this epoch."""
        return max(0, self.batches_per_epoch - self.start_batch)

    def __iter__(self) -> Iterator[list[Request]]:
        order = np.arange(self.count)
        if self.shuffle:
            np.random.default_rng((self.seed, self.epoch, _ORDER)).shuffle(order)
        choices = np.random.default_rng((self.seed, self.epoch, _SIZES)).integers(
            len(self.sizes), size=-(-self.count // (self.batch_size * self.world))
        )
        for batch in range(self.start_batch, self.batches_per_epoch):
            first = batch * self.batch_size * self.world
            mine = order[first : first + self.batch_size * self.world][self.rank :: self.world]
            size = self.sizes[choices[batch]]
            yield [Request(int(i), size, (self.seed, self.epoch, int(i))) for i in mine]


def collate(placed: Sequence[Placed], images: np.ndarray) -> Batch:
    """Placed frames whose pixels are the rows of `images` [B, H, W, 3] -> a Batch; nothing is copied but boxes and
    masks."""

    def flat(arrays: list[np.ndarray]) -> tuple[Tensor, Tensor]:
        owner = np.repeat(np.arange(len(arrays)), [len(array) for array in arrays])
        return torch.from_numpy(np.concatenate(arrays)), torch.from_numpy(owner)

    boxes, image = flat([item.boxes for item in placed])
    ignore, ignore_image = flat([item.ignore for item in placed])
    labels = torch.from_numpy(np.concatenate([item.labels for item in placed]))
    masks = [item.masks for item in placed if item.masks is not None]
    return Batch(
        torch.from_numpy(images).permute(0, 3, 1, 2),
        Targets(boxes, labels, image, ignore, ignore_image, torch.from_numpy(np.concatenate(masks)) if masks else None),
        tuple(item.frame for item in placed),
        tuple(item.geometry for item in placed),
    )


class Prepared(Dataset[Batch]):
    """The dataset as the DataLoader's workers see it: a list of requests in, a Batch out."""

    def __init__(self, dataset: DetectionDataset, policy: str, augment: AugmentSettings | None) -> None:
        self.dataset, self.policy = dataset, policy
        self._within = "stretch" if policy == "shorter" else policy
        self.augment = Augment(augment, "letterbox" if policy == "shorter" else policy) if augment else None
        self._copy_paste = CopyPaste(dataset, augment or AugmentSettings())

    def __getitems__(self, requests: Sequence[Request]) -> Batch | Exception:
        try:
            samples = [self.dataset[request.frame] for request in requests]
            geometries = fit_together([sample.source for sample in samples], requests[0].size, self.policy)
            images = np.empty((len(requests), *geometries[0].target, 3), np.uint8)
            return collate(list(map(self._place, requests, samples, geometries, images)), images)
        except (ValueError, OSError) as error:  # the user's files: see Loader
            return error

    def _place(self, request: Request, sample: Sample, geometry: Geometry, out: np.ndarray) -> Placed:
        if self.policy != "shorter":
            return self._fill(request, sample, out)
        out[:] = PADDING
        _, _, width, height = geometry.content  # a frame has a room of its own size within that of the batch
        placed = self._fill(request, sample, out[:height, :width])
        beyond = [(0, 0), (0, out.shape[0] - height), (0, out.shape[1] - width)]
        masks = None if placed.masks is None else np.pad(placed.masks, beyond)
        return replace(placed, geometry=geometry, masks=masks)

    def _fill(self, request: Request, sample: Sample, out: np.ndarray) -> Placed:
        if self.augment is None:
            return place(sample, self._within, out)
        rng = np.random.default_rng(request.seed)

        def another() -> Sample:
            return self._copy_paste(self.dataset[int(rng.integers(len(self.dataset)))], rng)

        return self.augment(self._copy_paste(sample, rng), rng, another, out)


class Loader(DataLoader[Made]):
    """A DataLoader that raises a worker's error as it was, not as a page of traceback: its text is for the user."""

    def __iter__(self) -> Iterator[Made]:  # type: ignore[override]
        batches = super().__iter__()
        while True:
            try:
                batch = next(batches)
            except StopIteration:
                return
            except (RuntimeError, EOFError, OSError) as fault:  # a worker was killed, or cannot hand over what it has
                reason = (str(fault) or type(fault).__name__).splitlines()[0]
                more = "more room in /dev/shm (docker run --shm-size) or more open files (ulimit -n) may help"
                mend = f"data.workers=0 does without them; {more}"
                raise Failure(f"the processes that prepare batches gave none ({reason:.160}); {mend}") from None
            if isinstance(batch, Exception):
                raise batch
            yield batch


def make_loader(
    dataset: DetectionDataset,
    sampler: BatchSampler,
    *,
    policy: str = "stretch",
    augment: AugmentSettings | None = None,
    workers: int = 0,
    pin_memory: bool = False,
) -> Loader[Batch]:
    """Batches of frames with their objects, resized by `policy`, varied by `augment`."""
    growth = max(math.prod(largest_input(size, policy)) / math.prod(size) for size in sampler.sizes)
    planes = math.ceil(growth * (3 + _MASKS * dataset.masks_a_frame))
    return open_loader(Prepared(dataset, policy, augment), sampler, workers, pin_memory, planes)


def open_loader(
    prepared: Dataset[Made], sampler: BatchSampler, workers: int, pin_memory: bool, planes: int = 3
) -> Loader[Made]:
    """Batches in the sampler's order, prepared by `workers` processes (0: by this one); `planes` bytes a pixel.

    The bytes of a batch depend only on the sampler's seed and epoch, never on the number of workers. Workers live until
    the loader is dropped; a run of several phases makes one loader for each. Batches travel through /dev/shm: where
    that is too small (64 MB in a container of Docker's defaults), fewer workers are taken.
    """
    workers = fitting_workers(workers, sampler, _free_shared_memory(), planes)
    return Loader(
        prepared,
        batch_sampler=sampler,
        num_workers=workers,
        collate_fn=_as_it_is,
        pin_memory=pin_memory,
        worker_init_fn=_start_worker,
        persistent_workers=workers > 0,
        prefetch_factor=AHEAD if workers else None,
        timeout=PATIENCE_S if workers else 0,
        # the loader draws a seed for its workers from this one: torch's own stream stays as the training left it
        generator=torch.Generator().manual_seed(0),
    )


def fitting_workers(workers: int, sampler: BatchSampler, free: int | None, planes: int = 3) -> int:
    """As many of the workers as `free` bytes of shared memory have room for; None: no limit is known."""
    if free is None or not workers:
        return workers
    batch = sampler.batch_size * max(height * width for height, width in sampler.sizes) * planes + _BOXES
    fitting = max(0, min(workers, (free // batch - 1) // AHEAD))  # one more batch is being trained on
    if fitting < workers:
        found = (
            f"/dev/shm has {free / 1e6:.1f} MB free, {workers} workers want {(workers * AHEAD + 1) * batch / 1e6:.1f}"
        )
        log.warning("%s: taking %d; docker run --shm-size=1g gives more", found, fitting)
    return fitting


def _free_shared_memory() -> int | None:
    try:
        return shutil.disk_usage("/dev/shm").free
    except OSError:  # not Linux
        return None


def _as_it_is(batch: Any) -> Any:
    """`Prepared` has made the batch already."""
    return batch


def _start_worker(worker: int) -> None:
    """Workers share the cores by being many; OpenCV's threads in each would only fight (torch sets its own to one).

    Ctrl-C reaches every process of a terminal, SIGTERM every one of a job (Slurm, systemd), but the training process
    decides when its workers end. It may have to do that by SIGTERM, which stays deadly, only later.
    """
    cv2.setNumThreads(0)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda *_: signal.alarm(GRACE_S))
