"""A world of one sends nothing; a world of two agrees, also on errors."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import torch

from training.distributed import World

ROOT = Path(__file__).parents[2]
TWO = """
import sys
import torch
from training.distributed import IN_STEP, World
world = World.from_environment(torch.device("cpu"))
world.join(IN_STEP)
try:
    world.main_does(lambda: open("/no/such/file"))
except OSError as error:
    told = error.strerror
def asked():
    assert world.is_main
    return "main's"
values = (
    world.mean(torch.tensor([1.0 + world.rank])).item(),
    world.any(world.rank == 1),
    world.any(False),
    world.gather(10 * world.rank),
    world.share("abc"),
    world.main_does(asked),
    told,
)
sys.stdout.write(" ".join(map(str, values)) + "\\n")  # in one piece: torchrun's processes share the pipe, unbuffered
world.leave()
"""


def test_a_process_alone_is_a_world_of_one() -> None:
    world = World()
    values = torch.tensor([2.0])
    assert world.is_main and world.mean(values) is values
    assert (world.any(True), world.any(False)) == (True, False)
    assert (world.gather("a"), world.share([1, 2]), world.main_does(lambda: 3)) == (["a"], [1, 2], 3)


def test_two_processes_agree_and_share_an_error(tmp_path: Path) -> None:
    script = tmp_path / "two.py"
    script.write_text(TWO)
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", str(script)]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=120, cwd=ROOT, env={"PYTHONPATH": str(ROOT), "PATH": ""}
    )
    said = sorted(done.stdout.splitlines())
    common = "1.5 True False [0, 10] {} main's No such file or directory"
    assert said == sorted([common.format(["a", "c"]), common.format(["b"])]), done.stderr


def test_a_world_needs_no_torch_until_it_has_peers() -> None:
    told = "import sys; from training.distributed import World; World().main_does(int); print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", told], capture_output=True, text=True, cwd=ROOT)
    assert done.stdout.strip() == "False", done.stderr
