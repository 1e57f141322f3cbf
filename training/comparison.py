"""What a comparison is given: its words and its file. No torch, so what is wrong with them is told at once."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import Field, ValidationError

from data.settings import Settings
from system.command import Parser, exit_status, names
from training.config import RunConfig, check_run_name, of_task
from training.values import ConfigError, apply, config_path, merge, read_yaml

Configs = Mapping[tuple[str, int], RunConfig]  # by variant and seed
Compare = Callable[[Path, Sequence[str], Sequence[str], Sequence[int]], int]  # comparison, overrides, only, seeds


class Comparison(Settings):
    """What a comparison file holds."""

    name: str = Field(description="folder of the comparison in the runs folder")
    recipe: str = Field(description="config that all variants share, relative to this file")
    seeds: tuple[int, ...] = Field((0,), min_length=1, description="every variant is trained with each of these")
    baseline: str = Field("none", description="variant that the others' ratios refer to")
    variants: dict[str, dict[str, Any]] = Field(min_length=1, description="label: the settings that differ")
    relative: dict[str, str] = Field({}, description="label: the variant of whose gain its own is told as a multiple")
    rounds: int = Field(30, ge=1, description="rounds of the interleaved speed measurement")


def read_at_once(
    kinds: Mapping[str, type[RunConfig]], path: Path, overrides: Sequence[str] = (), seeds: Sequence[int] = ()
) -> tuple[Comparison, Configs]:
    """The comparison, and the config of every (variant, seed), without torch; the recipe says which of
    `kinds` it is."""
    comparison = _read_file(path, seeds)
    recipe_file = path.parent / comparison.recipe
    values = read_yaml(recipe_file)
    kind = of_task(kinds, values)
    apply(values, overrides)
    recipe = kind.parse_at_once(values, where=str(recipe_file)).plain()
    return comparison, {
        (label, seed): kind.parse_at_once(
            merge(merge(recipe, difference), {"train": {"seed": seed}}), where=f"{path}: variants.{label}"
        )
        for label, difference in comparison.variants.items()
        for seed in comparison.seeds
    }


def _read_file(path: Path, seeds: Sequence[int]) -> Comparison:
    values = read_yaml(path)
    if seeds:
        values["seeds"] = seeds
    try:
        comparison = Comparison.model_validate(values)
    except ValidationError as fault:
        error = fault.errors()[0]
        raise ConfigError(f"{path}: {'.'.join(map(str, error['loc']))}: {error['msg'].lower()}") from None
    for what, name in (("name", comparison.name), *(("variant", label) for label in comparison.variants)):
        check_run_name(f"{path}: {what}", name)
    if len(set(comparison.seeds)) < len(comparison.seeds):
        raise ConfigError(f"{path}: seeds {list(comparison.seeds)}: one stands there twice; each is trained once")
    if comparison.baseline not in comparison.variants:
        raise ConfigError(f"{path}: baseline {comparison.baseline!r} is not among the variants")
    return comparison


def check_labels(path: Path, comparison: Comparison, only: Sequence[str]) -> None:
    named = [*only, *comparison.relative.keys(), *comparison.relative.values()]
    unknown = [label for label in named if label not in comparison.variants]
    if unknown:
        raise ConfigError(f"{path}: no variant {unknown[0]!r}; there are {', '.join(comparison.variants)}")


def command(kinds: Mapping[str, type[RunConfig]], compare: Compare, prog: str, description: str, example: str) -> int:
    """The command line of a comparison: what is wrong with its words and its file is told before `compare` is called,
    which may import torch."""
    words = _parse(prog, description, example)

    def work() -> int:
        comparison, _ = read_at_once(kinds, words.comparison, words.overrides, words.seeds)
        check_labels(words.comparison, comparison, words.only)
        return compare(words.comparison, words.overrides, words.only, words.seeds)

    return exit_status(work)


def _parse(prog: str, description: str, example: str) -> argparse.Namespace:
    parser = Parser(prog=prog, description=description)
    parser.add_argument("comparison", type=config_path, help=f"a comparison file, for example {example}")
    parser.add_argument("overrides", nargs="*", metavar="section.key=value", help="settings of the recipe that differ")
    parser.add_argument("--only", type=names, default=(), metavar="LABEL,..", help="train these, write no table")
    parser.add_argument("--seeds", type=_seeds, default=(), metavar="N,..", help="train each variant with these")
    return parser.parse_intermixed_args()


def _seeds(text: str) -> list[int]:
    try:
        return [int(seed) for seed in text.split(",")]
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a list of whole numbers such as 0,1,2") from None
