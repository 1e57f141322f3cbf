"""One process or many, started by torchrun: the few collective operations that training and detection need.

Torch-free for a process alone, so that exported networks run without it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    import torch
    from torch import Tensor

T = TypeVar("T")
IN_STEP = timedelta(minutes=10)  # ranks that train wait for each other at every step; one that waits longer gives up
APART = timedelta(days=30)  # shares of a detection may differ by hours, so nobody may lose patience


@dataclass(frozen=True, slots=True)
class World:
    """This process among its peers. A process that torchrun did not start is a world of one and sends nothing."""

    rank: int = 0
    size: int = 1
    device: torch.device | None = None  # where tensors that are exchanged lie

    @classmethod
    def from_environment(cls, device: torch.device | None = None) -> World:
        """What torchrun says in the environment."""
        return cls(int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1")), device)

    @property
    def is_main(self) -> bool:
        return self.rank == 0

    def join(self, timeout: timedelta) -> None:
        """Meets the others. NCCL between GPUs; else gloo, as only names and numbers are exchanged."""
        if self.size > 1:
            import torch.distributed as dist

            on_gpu = self.device is not None and self.device.type == "cuda"
            dist.init_process_group("nccl" if on_gpu else "gloo", timeout=timeout)

    def leave(self) -> None:
        if self.size > 1:
            import torch.distributed as dist

            if dist.is_initialized():
                dist.destroy_process_group()

    def mean(self, values: Tensor) -> Tensor:
        """Mean over the ranks."""
        if self.size == 1:
            return values
        import torch.distributed as dist

        values = values.clone()
        dist.all_reduce(values)
        return values / self.size

    def any(self, flag: bool) -> bool:
        """Whether the flag is set on any rank."""
        if self.size == 1:
            return flag
        import torch
        import torch.distributed as dist

        vote = torch.tensor(float(flag), device=self.device)
        dist.all_reduce(vote, op=dist.ReduceOp.MAX)
        return bool(vote)

    def gather(self, item: T) -> list[T]:
        """Every rank's item, in the order of ranks, on every rank; waits for the last one."""
        if self.size == 1:
            return [item]
        import torch.distributed as dist

        items: list[Any] = [None] * self.size
        dist.all_gather_object(items, item)
        return items

    def main_does(self, work: Callable[[], T]) -> T:
        """The main rank does the work; every rank gets its result, or its error."""
        if self.size == 1:
            return work()
        import torch.distributed as dist

        box: list[Any] = [None]
        if self.is_main:
            try:
                box = [work()]
            except (OSError, ValueError) as error:
                box = [error]
        dist.broadcast_object_list(box, src=0, device=self.device)
        if isinstance(box[0], (OSError, ValueError)):
            raise box[0]
        result: T = box[0]
        return result

    def share(self, items: Sequence[T]) -> list[T]:
        """Every world-th item: neighbours in a folder are alike in size, so shares are too."""
        return list(items[self.rank :: self.size])


def join_world(device_name: str) -> World:
    """The world that trains on this device, joined; on several GPUs each rank takes its own."""
    import torch

    from training.precision import pick_device

    device = pick_device(device_name)
    world = World.from_environment(device)
    if world.size > 1 and device.type == "cuda":
        world = World(world.rank, world.size, torch.device("cuda", int(os.environ["LOCAL_RANK"])))
        torch.cuda.set_device(world.device)
    world.join(IN_STEP)
    return world
