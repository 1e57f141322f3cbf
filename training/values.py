"""Text to plain values: YAML files, `section.key=value` words. No torch, so what is wrong with them is told at once."""

from __future__ import annotations

import difflib
import reprlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from system.shipped import shipped


class ConfigError(ValueError):
    """A setting is wrong; the message names it, says what was found and what would be right."""


def config_path(text: str) -> Path:
    """The file that a person names: a path, or one of the configs that come with the project, `kitti` for example."""
    path = Path(text)
    ours = shipped("configs") / f"{path.name.removesuffix('.yaml')}.yaml"
    return ours if not path.exists() and path.parent.name in ("", "configs") and ours.is_file() else path


def read_yaml(path: Path, seen: tuple[Path, ...] = ()) -> dict[str, Any]:
    """Plain values of a YAML file, laid over those of the file that its `base:` names."""
    try:
        if path.resolve() in seen:
            raise ConfigError(f"{path}: its `base:` leads back to itself")
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        folder = path.parent if path.suffix else shipped("configs")
        near = difflib.get_close_matches(path.stem, [p.stem for p in folder.glob("*.yaml")], n=1)
        hint = f"; did you mean {path.with_name(near[0])}{path.suffix}?" if near else ""
        raise ConfigError(f"{path}: no such config file{hint}") from None
    except ConfigError:
        raise
    except (OSError, ValueError) as fault:  # ValueError: not UTF-8, or a name that no file can have
        reason = fault.strerror if isinstance(fault, OSError) else fault
        raise ConfigError(f"{path}: cannot be read ({reason})") from None
    values = _from_yaml(text, str(path)) or {}
    if not isinstance(values, dict):
        raise ConfigError(f"{path}: expected `section:` keys, found {type(values).__name__}")
    base = values.pop("base", None)
    if base is None:
        return values
    if not isinstance(base, str):
        raise ConfigError(f"{path}: base = {shortened(base)}: expected the name of another file")
    return merge(read_yaml(path.parent / base, (*seen, path.resolve())), values)


def _from_yaml(text: str, where: str) -> Any:
    """The one place where text becomes values. Raises ConfigError for whatever a stranger wrote."""
    try:
        return yaml.safe_load(text)
    except RecursionError:
        raise ConfigError(f"{where}: nested too deep; a config has sections, keys and short lists") from None
    except yaml.YAMLError as fault:
        mark = getattr(fault, "problem_mark", None)
        line = f":{mark.line + 1}" if mark and mark.line else ""
        raise ConfigError(
            f"{where}{line}: not valid YAML ({getattr(fault, 'problem', None) or fault!s:.160})"
        ) from None
    except Exception as fault:  # a date with month 99, a number that is none: its constructors raise anything
        raise ConfigError(f"{where}: not valid YAML ({fault!s:.160})") from None


def merge(under: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    """`over` laid over `under`, section by section."""
    merged = dict(under)
    for key, value in over.items():
        both = isinstance(value, dict) and isinstance(merged.get(key), dict)
        merged[key] = merge(merged[key], value) if both else value
    return merged


def apply(values: dict[str, Any], overrides: Sequence[str]) -> None:
    """`section.key=value` words, in place."""
    for text in overrides:
        key, equals, value = text.partition("=")
        if not equals or not key:
            raise ConfigError(f"override {text!r:.80}: expected section.key=value, for example optimizer.lr=0.05")
        _assign(values, key.split("."), _number_or(_from_yaml(value, f"override {text!r:.80}")))


def _assign(values: dict[str, Any] | list[Any], path: Sequence[str], value: Any) -> None:
    """Sets values[path[0]][path[1]]... = value in place; a number indexes a list of phases."""
    *sections, last = path
    for name in sections:
        key = _key(values, name)
        inner = values[key] if isinstance(values, list) else values.get(key)
        if not isinstance(inner, (dict, list)):
            inner = values[key] = [{}] if name == "phases" else {}
        values = inner
    values[_key(values, last)] = value


def _key(values: dict[str, Any] | list[Any], name: str) -> Any:
    """The name itself, or in a list the number it says."""
    if isinstance(values, dict):
        return name
    if name not in map(str, range(len(values))):
        raise ConfigError(f"override of item {name!r:.80}: there are {len(values)} phases, numbered from 0")
    return int(name)


def _number_or(value: Any) -> Any:
    """YAML 1.1 reads 1e-3 as text; a person means the number."""
    if isinstance(value, str):
        try:
            return float(value)
        except ValueError:
            return value
    return value


def shortened(value: Any) -> str:
    """As repr, but never long: a file of 300 bytes can hold a value that takes 300 MB to print."""
    bounded = reprlib.Repr()
    bounded.maxlevel, bounded.maxstring, bounded.maxlong = 2, 80, 80
    try:
        return bounded.repr(value)
    except ValueError:  # a whole number of thousands of digits, which Python does not print
        return type(value).__name__
