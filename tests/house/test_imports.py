"""Imports run one way, read from the source: the rooms stand on each other and never look up."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ROOMS = ("system", "backbones", "data", "training", "detector", "classifier", "insight")
STANDS_ON = {
    "system": set(),
    "backbones": {"system"},
    "data": {"system"},
    "training": {"system", "backbones", "data"},
    "detector": {"system", "backbones", "data", "training"},
    "classifier": {"system", "backbones", "data", "training"},
    "insight": {"system", "backbones", "data", "training", "detector", "classifier"},
}
# Within the detector, each on those before it.
DETECTOR = ("network", "config", "inference", "video", "api", "evaluation", "export", "task", "compare")


def modules() -> dict[str, Path]:
    """Every module of the product by its name; a package is its __init__."""
    found = {}
    for room in ROOMS:
        for path in sorted((ROOT / room).rglob("*.py")):
            parts = path.relative_to(ROOT).with_suffix("").parts
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


MODULES = modules()


def imported(path: Path) -> Iterator[str]:
    """Our modules that a file imports, wherever in it; not those it only needs for types."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for_types = {
        inner
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        for inner in ast.walk(node)
    }
    for node in ast.walk(tree):
        if node in for_types:
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name.split(".")[0] in ROOMS)
        elif isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] in ROOMS:
            for alias in node.names:
                whole = f"{node.module}.{alias.name}"
                yield whole if whole in MODULES else node.module


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_imports_only_those_it_stands_on(room: str) -> None:
    for name, path in MODULES.items():
        if name.split(".")[0] == room:
            rooms = {other.split(".")[0] for other in imported(path)} - {room}
            assert rooms <= STANDS_ON[room], f"{name} imports {rooms - STANDS_ON[room]}"


def test_the_stages_of_the_detector_stand_on_each_other() -> None:
    for name, path in MODULES.items():
        if not name.startswith("detector."):
            continue
        own = DETECTOR.index(name.split(".")[1])
        for other in imported(path):
            if other.startswith("detector."):
                assert DETECTOR.index(other.split(".")[1]) <= own or other == "detector.network.settings", (
                    f"{name} imports {other}"
                )


def test_no_module_leads_back_to_itself() -> None:
    graph = {name: set(imported(path)) - {name} for name, path in MODULES.items()}
    tuple(TopologicalSorter(graph).static_order())  # raises CycleError, which names the circle


def test_nothing_lies_loose_in_the_detector() -> None:
    assert {path.name for path in (ROOT / "detector").glob("*.py")} == {
        "__init__.py",
        "config.py",
        "task.py",
        "compare.py",
    }


def test_every_room_has_its_tests_and_the_makefile_runs_them() -> None:
    line = next(line for line in (ROOT / "Makefile").read_text().splitlines() if line.startswith("ROOMS :="))
    with_tests = {path.parent.relative_to(ROOT / "tests").as_posix() for path in (ROOT / "tests").rglob("test_*.py")}
    assert set(line.removeprefix("ROOMS :=").split()) == with_tests


def test_exported_networks_start_without_torch() -> None:
    """What detect.py and evaluate.py load for an .onnx or .xml file, at import."""
    late = {"detector.inference.pytorch", "detector.inference.trained"}
    seen: set[str] = set()
    waiting = [
        "detector.inference.predictor",
        "detector.inference.onnx_runtime",
        "detector.inference.openvino_runtime",
        "detector.video.session",
    ]
    while waiting:
        name = waiting.pop()
        if name in seen or name in late:
            continue
        seen.add(name)
        tree = ast.parse(MODULES[name].read_text(encoding="utf-8"))
        top = [node for node in tree.body if isinstance(node, (ast.Import, ast.ImportFrom))]
        names = [alias.name for node in top if isinstance(node, ast.Import) for alias in node.names]
        names += [node.module or "" for node in top if isinstance(node, ast.ImportFrom)]
        assert not [other for other in names if other.split(".")[0] in ("torch", "torchvision")], name
        waiting += [other for other in imported(MODULES[name]) if other in MODULES and other in names]


def test_messages_name_a_door_as_it_was_called() -> None:
    """`system.command.door` knows that; only docstrings may spell a door as a file."""
    spelt = re.compile(r"\b(train|evaluate|detect|compare)\.py\b")
    for path in [*MODULES.values(), *(ROOT / f"{name}.py" for name in ("train", "evaluate", "detect", "compare"))]:
        tree = ast.parse(path.read_text(encoding="utf-8"))
        of_docs = {
            node.body[0].value
            for node in ast.walk(tree)
            if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef))
            and isinstance(next(iter(node.body), None), ast.Expr)
        }
        for node in set(ast.walk(tree)) - of_docs:
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                assert not spelt.search(node.value), f"{path}:{node.lineno}: {node.value:.80}"
