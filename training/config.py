"""One experiment as one frozen object: YAML and `section.key=value` words in, typed and validated settings out."""

from __future__ import annotations

import difflib
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal, TypeVar

from pydantic import BaseModel, Field, ValidationError, model_validator
from typing_extensions import Self

from data.settings import Settings
from system.command import door
from system.names import check_name
from training.settings import AT_ONCE, OptimizerSettings, PhaseSettings, TrainSettings
from training.values import ConfigError, apply, config_path, read_yaml, shortened

Chosen = TypeVar("Chosen")
LONGEST_NAME = 200  # characters of a run's, with room for what is put behind it


class RunConfig(Settings):
    """What every run has. A task's config adds its sections, narrows `task` to its name, and may widen `harmless`."""

    # What may differ when a run is resumed: it changes where and how fast the run goes, not what it computes.
    harmless: ClassVar[frozenset[str]] = frozenset(
        {"name"}
        | {f"train.{key}" for key in ("device", "threads", "runs", "save_minutes", "validate_every", "patience")}
        | {"train.bad_steps"}
    )

    task: str = Field(description="what is trained")
    name: str = Field(description="name of the run folder")
    phases: tuple[PhaseSettings, ...] = Field(
        (PhaseSettings(),), min_length=1, description="stretches of training, in order"
    )
    optimizer: OptimizerSettings = Field(default_factory=OptimizerSettings, description="SGD and its schedule")
    train: TrainSettings = Field(default_factory=TrainSettings, description="the loop")

    @property
    def size(self) -> tuple[int, int]:
        """The input size (height, width) that is validated and deployed: the last phase's."""
        return self.phases[-1].height_width

    def at_size(self, size: tuple[int, int]) -> Self:
        """The same, deployed at another input size."""
        return self.model_copy(
            update={"phases": (*self.phases[:-1], self.phases[-1].model_copy(update={"size": size}))}
        )

    @property
    def epochs(self) -> int:
        return sum(phase.epochs for phase in self.phases)

    @model_validator(mode="after")
    def _phases_fit_the_loop(self) -> Self:
        for k, phase in enumerate(self.phases):
            if phase.batch_size % self.train.accumulate:
                found = f"phases.{k}.batch_size {phase.batch_size}"
                raise ValueError(f"{found} does not divide by train.accumulate {self.train.accumulate}")
        if self.optimizer.warmup_epochs > self.epochs:
            found = f"optimizer.warmup_epochs {self.optimizer.warmup_epochs}"
            raise ValueError(f"{found} is longer than the {self.epochs} epochs of all phases")
        milestones = self.optimizer.milestones
        in_time = milestones and all(0 < epoch < self.epochs for epoch in milestones)
        if self.optimizer.schedule == "steps" and not in_time:
            mend = f"schedule steps needs some, all before epoch {self.epochs}, the last; schedule cosine needs none"
            raise ValueError(f"optimizer.milestones {list(milestones)}: {mend}")
        return self

    @classmethod
    def load(cls, path: str | Path, overrides: Sequence[str] = ()) -> Self:
        """Reads a YAML file (and the one its `base:` names), applies `section.key=value`, validates the whole."""
        values = read_yaml(Path(path))
        apply(values, overrides)
        return cls.parse(values, where=str(path))

    @classmethod
    def parse(cls, values: dict[str, Any], where: str) -> Self:
        """Validates plain values; the first fault becomes one readable line that begins with `where`."""
        return cls._validated(values, where)

    @classmethod
    def parse_at_once(cls, values: dict[str, Any], where: str) -> Self:
        """As `parse`, without torch, and so without knowing whether the backbone exists."""
        return cls._validated(values, where, AT_ONCE)

    @classmethod
    def _validated(cls, values: dict[str, Any], where: str, context: str | None = None) -> Self:
        try:
            config = cls.model_validate(values, context=context)
        except ValidationError as fault:
            raise ConfigError(f"{where}: {_explain(fault.errors()[0], cls)}") from None
        except RecursionError:
            raise ConfigError(f"{where}: nested too deep; a config has sections, keys and short lists") from None
        for key, value in flatten(config).items():
            if isinstance(value, str) and not value.isprintable():
                raise ConfigError(f"{where}: {key} = {shortened(value)}: expected printable characters")
        return config

    @classmethod
    def restore(cls, values: dict[str, Any], where: str) -> Self:
        """The config in a checkpoint, which an earlier version may have written."""
        return cls.parse(values, where)

    def override(self, overrides: Sequence[str]) -> Self:
        """A copy with `section.key=value` changes."""
        values = self.plain()
        apply(values, overrides)
        return self.parse(values, where="overrides")

    def plain(self) -> dict[str, Any]:
        """As plain values, for a file."""
        return self.model_dump(mode="json")


def check_words(kinds: Mapping[str, type[RunConfig]], config: str | None, overrides: Sequence[str]) -> None:
    """Raises ConfigError for a file that cannot be read and for settings that are wrong; `kinds` by their task."""
    if config:
        path = config_path(config)
        values = read_yaml(path)
        kind = of_task(kinds, values)
        apply(values, overrides)
        kind.parse_at_once(values, where=str(path))


def of_task(choices: Mapping[str, Chosen], values: Mapping[str, Any]) -> Chosen:
    """What belongs to the task that a config names; one that names none is of the first."""
    return choices[check_name("task", values.get("task", next(iter(choices))), choices)]


def check_run_name(what: str, name: str) -> None:
    """It becomes a folder in train.runs, and is no way out of it."""
    if Path(name).name != name or name.strip(" .") == "" or not name.isprintable() or len(name) > LONGEST_NAME:
        expected = f"a run's name is printable, at most {LONGEST_NAME} characters long and no path"
        raise ConfigError(f"{what} {name!r:.80}: {expected}; train.runs=DIR says where it goes")


def flatten(config: RunConfig) -> dict[str, Any]:
    """`section.key` -> value, with phases as `phases.0.size` and so on."""

    def walk(prefix: str, value: Any) -> Iterator[tuple[str, Any]]:
        if isinstance(value, BaseModel):
            for name in type(value).model_fields:
                yield from walk(f"{prefix}.{name}" if prefix else name, getattr(value, name))
        elif isinstance(value, tuple) and value and isinstance(value[0], BaseModel):
            for k, item in enumerate(value):
                yield from walk(f"{prefix}.{k}", item)
        else:
            yield prefix, value

    return dict(walk("", config))


def changed(before: RunConfig, after: RunConfig) -> list[str]:
    """Names of the settings that differ and that change what a run has computed: phases added at its end do not."""
    old, new = flatten(before), flatten(after)
    added = tuple(f"phases.{k}." for k in range(len(before.phases), len(after.phases)))
    differing = [key for key in sorted(old.keys() | new.keys()) if old.get(key) != new.get(key)]
    return [key for key in differing if key not in after.harmless and not key.startswith(added)]


def settings_table(kind: type[RunConfig]) -> list[tuple[str, str, str, str]]:
    """(name, type, default, meaning) of every setting, in the order of the models."""

    def walk(prefix: str, model: type[BaseModel]) -> Iterator[tuple[str, str, str, str]]:
        for name, field in model.model_fields.items():
            annotation = field.annotation
            if isinstance(annotation, type) and issubclass(annotation, BaseModel):
                yield from walk(f"{prefix}{name}.", annotation)
            elif name == "phases":
                yield from walk("phases.N.", PhaseSettings)
            else:
                default = field.get_default(call_default_factory=True)
                yield prefix + name, _type_name(annotation), _plain(default), field.description or ""

    return list(walk("", kind))


def settings_page(kind: type[RunConfig], command: str) -> str:
    """The table of settings as a Markdown page, which `command` makes."""
    lines = [
        f"| `{name}` | {type_name} | {default} | {meaning} |".replace(type_name, type_name.replace("|", "\\|"))
        for name, type_name, default, meaning in settings_table(kind)
    ]
    return (
        f"# Settings\n\nMade by `{command}`. A YAML file in `configs/` sets them, or\n"
        "`section.key=value` on the command line. `base: other.yaml` in a file starts from that file.\n"
        "`phases.N` counts from 0.\n\n"
        "| setting | type | default | meaning |\n|---|---|---|---|\n" + "\n".join(lines)
    )


def settings_help(kind: type[RunConfig], beside: type[RunConfig] | None = None, width: int = 80) -> str:
    """The table of settings as text, for `train.py --help`; with `beside` only those that differ from its settings."""
    lines = []
    known = settings_table(beside) if beside else []
    for name, type_name, default, meaning in (row for row in settings_table(kind) if row not in known):
        lines.append(f"  {name} = {default}   ({type_name})")
        lines += textwrap.wrap(meaning, width, initial_indent="      ", subsequent_indent="      ")
    return "\n".join(lines)


def _explain(error: Any, kind: type[RunConfig]) -> str:
    noise = ("tuple", "int", "str", "constrained")  # pydantic's names for the branches of a union
    where = ".".join(str(part) for part in error["loc"] if not str(part).startswith(noise))
    where = where if len(where) <= 80 else f"{where[:77]}..."
    if error["type"] == "extra_forbidden":
        near = difflib.get_close_matches(where, _valid_names(kind), n=1, cutoff=0.5)
        hint = f"; did you mean {near[0]}?" if near else f"; `{door('train')} --help` lists them all"
        return f"unknown setting {where}{hint}"
    if error["type"] == "value_error":
        return f"{where}: {error['ctx']['error']}" if where else str(error["ctx"]["error"])
    return f"{where} = {shortened(error['input'])}: {error['msg'][0].lower()}{error['msg'][1:]}"


def _valid_names(kind: type[RunConfig]) -> list[str]:
    names = [name for name, *_ in settings_table(kind)]
    sections = {name.rsplit(".", 1)[0] for name in names if "." in name}
    phases = [name.replace(".N.", f".{k}.") for name in names if ".N." in name for k in range(3)]
    return names + phases + sorted(sections)


def _type_name(annotation: Any) -> str:
    if getattr(annotation, "__origin__", None) is Literal:
        return " | ".join(str(choice) for choice in annotation.__args__)
    if isinstance(annotation, type) and not hasattr(annotation, "__args__"):
        return annotation.__name__
    text = str(annotation)
    for noise in ("typing.", "Literal", "NoneType"):
        text = text.replace(noise, {"NoneType": "null", "Literal": ""}.get(noise, ""))
    return text.replace("None", "null").replace("[", " [", 0)


def _plain(value: Any) -> str:
    if isinstance(value, tuple):
        return "[" + ", ".join(_plain(item) for item in value) + "]"
    return "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
