"""How many threads a network should take: what the user gives, else every core that this process really has."""

from __future__ import annotations

import os
from pathlib import Path

_TOPOLOGY = Path("/sys/devices/system/cpu")
_QUOTA = Path("/sys/fs/cgroup/cpu.max")


def thread_count(wanted: int | None) -> int:
    """`wanted`, else OMP_NUM_THREADS, else the usable cores. Raises ValueError for less than 1."""
    if wanted is not None:
        if wanted < 1:
            raise ValueError(f"--threads {wanted}: give 1 or more")
        return wanted
    from_environment = os.environ.get("OMP_NUM_THREADS", "")
    return int(from_environment) if from_environment.isdigit() and int(from_environment) else usable_cores()


def usable_cores(topology: Path = _TOPOLOGY, quota: Path = _QUOTA) -> int:
    """Cores within this process's affinity and its container's quota; two hardware threads of a core count once, as
    convolutions keep a core's arithmetic units busy with one. `os.cpu_count` knows none of the three.
    """
    try:
        allowed = sorted(os.sched_getaffinity(0))
    except AttributeError:  # macOS and Windows have no affinity to ask for
        return os.cpu_count() or 1
    cores = {_siblings(topology, cpu) for cpu in allowed}
    try:
        limit, period = quota.read_text().split()
        share = len(cores) if limit == "max" else max(1, int(limit) // int(period))
    except (OSError, ValueError, ZeroDivisionError):
        share = len(cores)
    return max(1, min(len(cores), share))


def _siblings(topology: Path, cpu: int) -> str:
    """The hardware threads that share a core with this one, as the kernel writes them; its own number if unknown."""
    try:
        return (topology / f"cpu{cpu}" / "topology" / "thread_siblings_list").read_text().strip()
    except OSError:
        return str(cpu)
