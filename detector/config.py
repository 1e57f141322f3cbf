"""Every setting once: typed, validated, documented. YAML and `section.key=value` overrides become one frozen Config."""

from __future__ import annotations

import difflib
import textwrap
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, Field, ValidationError, model_validator

from data.batches import size_choices
from data.settings import DataSettings, Settings
from detector.network.settings import LossSettings, NetworkSettings


class ConfigError(ValueError):
    """A setting is wrong; the message names it, says what was found and what would be right."""


class PhaseSettings(Settings):
    """One stretch of training at one input size, or at random sizes in a range."""

    size: int | tuple[int, int] = Field(
        448, description="input size: one number for a square, or [height, width]; multiples of 32"
    )
    size_range: tuple[int, int] | None = Field(
        None,
        description="random height of every batch: [smallest, largest]; the width keeps size's aspect; null keeps size",
    )
    epochs: int = Field(30, ge=1, description="passes over the training split")
    batch_size: int = Field(16, ge=1, description="images a step, over all processes and accumulated micro-batches")

    @property
    def height_width(self) -> tuple[int, int]:
        return (self.size, self.size) if isinstance(self.size, int) else self.size

    @model_validator(mode="after")
    def _sizes_make_sense(self) -> PhaseSettings:
        if any(side < 32 or side % 32 for side in self.height_width):
            raise ValueError(f"size {self.size} must be multiples of 32, for example 224, 448 or [256, 832]")
        if self.size_range is not None:
            size_choices(self.height_width, self.size_range)
        return self


class OptimizerSettings(Settings):
    """The paper's SGD with polynomial decay; AdamW for short runs from scratch."""

    kind: Literal["sgd", "adamw"] = Field("sgd", description="sgd as in the paper, or adamw (lr about 0.001)")
    lr: float = Field(0.1, gt=0, description="learning rate after the warm-up")
    momentum: float = Field(0.9, ge=0, lt=1, description="momentum of SGD, beta 1 of AdamW")
    weight_decay: float = Field(5e-4, ge=0, description="L2 decay of weights (never of biases and BatchNorm)")
    power: float = Field(4.0, ge=0, description="power of the polynomial decay; 0 keeps the rate constant")
    warmup_epochs: float = Field(1.0, ge=0, description="epochs over which the rate rises from zero")
    clip_norm: float = Field(10.0, ge=0, description="largest gradient norm; 0 does not clip")


class TrainSettings(Settings):
    """How the loop runs."""

    seed: int = Field(0, ge=0, description="seed of weights, order, sizes and augmentation")
    precision: Literal["auto", "fp32", "bf16", "fp16"] = Field(
        "auto", description="arithmetic of the network; auto measures a step and takes the fastest sound one"
    )
    channels_last: bool = Field(True, description="memory format that convolutions like best")
    compile: bool = Field(False, description="torch.compile the network (a minute of warm-up; pays on GPUs)")
    accumulate: int = Field(1, ge=1, description="micro-batches a step, for batches that do not fit in memory")
    ema: float = Field(0.999, ge=0, lt=1, description="decay of the averaged weights that are evaluated; 0: none")
    sync_bn: bool = Field(False, description="BatchNorm statistics over all processes")
    freeze_stem: bool = Field(False, description="keep stem and first stage fixed (for pretrained weights)")
    freeze_bn: bool = Field(False, description="keep the backbone's BatchNorm statistics and weights fixed")
    bad_steps: int = Field(5, ge=1, description="non-finite steps in a row after which training stops")
    validate_every: int = Field(1, ge=0, description="epochs between validations; 0 validates only at the end")
    best: Literal["mAP50", "AP", "Car", "Pedestrian", "Cyclist"] = Field(
        "mAP50", description="metric that chooses best.pt: COCO mAP50 or AP, or the moderate AP40 of one class"
    )
    patience: int = Field(0, ge=0, description="stop after this many validations without a better one; 0 never does")
    save_minutes: float = Field(
        5.0, ge=0, description="minutes between saves of last.pt within an epoch; 0 saves every step"
    )
    device: str = Field("auto", description="auto, cpu, cuda or cuda:N")
    threads: int = Field(0, ge=0, description="CPU threads of the network; 0 takes all cores")
    runs: str = Field("runs", description="folder that holds the run folders")


class Config(Settings):
    """One experiment."""

    name: str = Field("kitti", description="name of the run folder")
    data: DataSettings = Field(default_factory=DataSettings, description="the data set")
    network: NetworkSettings = Field(default_factory=NetworkSettings, description="the detector")
    loss: LossSettings = Field(default_factory=LossSettings, description="the training loss")
    phases: tuple[PhaseSettings, ...] = Field(
        (PhaseSettings(),), min_length=1, description="stretches of training, in order"
    )
    optimizer: OptimizerSettings = Field(default_factory=OptimizerSettings, description="SGD and its schedule")
    train: TrainSettings = Field(default_factory=TrainSettings, description="the loop")

    @property
    def size(self) -> tuple[int, int]:
        """The input size (height, width) that is validated and deployed: the last phase's."""
        return self.phases[-1].height_width

    @model_validator(mode="after")
    def _parts_fit_together(self) -> Config:
        for k, phase in enumerate(self.phases):
            if phase.batch_size % self.train.accumulate:
                found = f"phases.{k}.batch_size {phase.batch_size}"
                raise ValueError(f"{found} does not divide by train.accumulate {self.train.accumulate}")
        if self.loss.assignment == "neighbours" and self.network.xy_scale < 2:
            raise ValueError(
                f"loss.assignment neighbours needs network.xy_scale=2 (now {self.network.xy_scale:g}): "
                "a box predicted in a neighbouring cell must be able to reach its centre"
            )
        epochs = sum(phase.epochs for phase in self.phases)
        if self.optimizer.warmup_epochs > epochs:
            found = f"optimizer.warmup_epochs {self.optimizer.warmup_epochs}"
            raise ValueError(f"{found} is longer than the {epochs} epochs of all phases")
        return self


# What may differ when a run is resumed: it changes where and how fast the run goes, not what it computes.
HARMLESS = {"name", "data.root", "data.cache", "data.cache_limit_gb", "data.cache_dir", "data.workers"} | {
    f"train.{name}"
    for name in ("device", "threads", "runs", "save_minutes", "validate_every", "patience", "best", "bad_steps")
}


def load_config(path: str | Path, overrides: Sequence[str] = ()) -> Config:
    """Reads a YAML file (and the one its `base:` names), applies `section.key=value` overrides, validates the whole."""
    values = read_yaml(Path(path))
    _apply(values, overrides)
    return parse_config(values, where=str(path))


def override(config: Config, overrides: Sequence[str]) -> Config:
    """A copy of `config` with `section.key=value` changes."""
    values = config.model_dump(mode="json")
    _apply(values, overrides)
    return parse_config(values, where="overrides")


def parse_config(values: dict[str, Any], where: str) -> Config:
    """Validates plain values; the first fault becomes one readable line that begins with `where`."""
    try:
        return Config.model_validate(values)
    except ValidationError as fault:
        raise ConfigError(f"{where}: {_explain(fault.errors()[0])}") from None


def flatten(config: Config) -> dict[str, Any]:
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


def changed(before: Config, after: Config) -> list[str]:
    """Names of the settings that differ and that change what a run has computed: phases added at its end do not."""
    old, new = flatten(before), flatten(after)
    added = tuple(f"phases.{k}." for k in range(len(before.phases), len(after.phases)))
    differing = [key for key in sorted(old.keys() | new.keys()) if old.get(key) != new.get(key)]
    return [key for key in differing if key not in HARMLESS and not key.startswith(added)]


def settings_table() -> list[tuple[str, str, str, str]]:
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

    return list(walk("", Config))


def settings_help(width: int = 80) -> str:
    """The table of settings as text, for `train.py --help`."""
    lines = []
    for name, kind, default, meaning in settings_table():
        lines.append(f"  {name} = {default}   ({kind})")
        lines += textwrap.wrap(meaning, width, initial_indent="      ", subsequent_indent="      ")
    return "\n".join(lines)


def settings_page() -> str:
    """The same as a Markdown page."""
    rows = [[name, kind.replace("|", "\\|"), default, meaning] for name, kind, default, meaning in settings_table()]
    lines = [f"| `{name}` | {kind} | {default} | {meaning} |" for name, kind, default, meaning in rows]
    return (
        "# Settings\n\nMade by `python -m detector.config`. A YAML file in `configs/` sets them, or\n"
        "`section.key=value` on the command line. `base: other.yaml` in a file starts from that file.\n"
        "`phases.N` counts from 0.\n\n"
        "| setting | type | default | meaning |\n|---|---|---|---|\n" + "\n".join(lines)
    )


def _apply(values: dict[str, Any], overrides: Sequence[str]) -> None:
    for text in overrides:
        key, equals, value = text.partition("=")
        if not equals or not key:
            raise ConfigError(f"override {text!r}: expected section.key=value, for example optimizer.lr=0.05")
        try:
            _assign(values, key.split("."), _number_or(yaml.safe_load(value)))
        except yaml.YAMLError:
            raise ConfigError(f"override {text!r}: {value!r} is not a YAML value") from None


def read_yaml(path: Path, seen: tuple[Path, ...] = ()) -> dict[str, Any]:
    """Plain values of a YAML file, laid over those of the file that its `base:` names."""
    if path.resolve() in seen:
        raise ConfigError(f"{path}: its `base:` leads back to itself")
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    except FileNotFoundError:
        near = difflib.get_close_matches(path.stem, [p.stem for p in path.parent.glob("*.yaml")], n=1)
        hint = f"; did you mean {path.parent / near[0]}.yaml?" if near else ""
        raise ConfigError(f"{path}: no such config file{hint}") from None
    except (OSError, UnicodeDecodeError) as fault:
        raise ConfigError(f"{path}: cannot be read ({fault})") from None
    except yaml.YAMLError as fault:
        mark = getattr(fault, "problem_mark", None)
        line = f":{mark.line + 1}" if mark else ""
        raise ConfigError(f"{path}{line}: not valid YAML ({getattr(fault, 'problem', None) or fault})") from None
    if not isinstance(values, dict):
        raise ConfigError(f"{path}: expected `section:` keys, found {type(values).__name__}")
    base = values.pop("base", None)
    if base is None:
        return values
    return merge(read_yaml(path.parent / str(base), (*seen, path.resolve())), values)


def merge(under: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    """`over` laid over `under`, section by section."""
    merged = dict(under)
    for key, value in over.items():
        both = isinstance(value, dict) and isinstance(merged.get(key), dict)
        merged[key] = merge(merged[key], value) if both else value
    return merged


def _assign(values: Any, path: list[str], value: Any) -> None:
    """Sets values[path[0]][path[1]]... = value in place; a number indexes a list of phases."""
    head, rest = path[0], path[1:]
    if isinstance(values, list):
        if not head.isdigit() or int(head) >= len(values):
            raise ConfigError(f"override of item {head!r}: there are {len(values)} phases, numbered from 0")
        if rest:
            _assign(values[int(head)], rest, value)
        else:
            values[int(head)] = value
        return
    if rest:
        if not isinstance(values.get(head), (dict, list)):
            values[head] = [{}] if head == "phases" else {}
        _assign(values[head], rest, value)
    else:
        values[head] = value


def _number_or(value: Any) -> Any:
    """YAML 1.1 reads 1e-3 as text; a person means the number."""
    if isinstance(value, str):
        try:
            return float(value)
        except ValueError:
            return value
    return value


def _explain(error: Any) -> str:
    noise = ("tuple", "int", "str", "constrained")  # pydantic's names for the branches of a union
    where = ".".join(str(part) for part in error["loc"] if not str(part).startswith(noise))
    if error["type"] == "extra_forbidden":
        near = difflib.get_close_matches(where, _valid_names(), n=1, cutoff=0.5)
        hint = f"; did you mean {near[0]}?" if near else "; `python train.py --help` lists them all"
        return f"unknown setting {where}{hint}"
    if error["type"] == "value_error":
        return f"{where}: {error['ctx']['error']}" if where else str(error["ctx"]["error"])
    return f"{where} = {error['input']!r}: {error['msg'][0].lower()}{error['msg'][1:]}"


def _valid_names() -> list[str]:
    names = [name for name, *_ in settings_table()]
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


if __name__ == "__main__":
    print(settings_page())
