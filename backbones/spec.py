"""Which attention, in one value and in one text: `NAME[:option=value[,option=value...]]`.

    se      emca-se:coverage=i-1,N      fca:placement=all,frequencies=low16

`placement` (which blocks of a stage) is an option where the attention lets one choose; the others are the keyword-only
parameters of what the catalogue builds.
"""

from __future__ import annotations

import inspect
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, get_args, get_origin

from backbones.attention import CATALOGUE
from backbones.names import PLACEMENTS, Placement
from system.names import check_name

DEFAULT_PLACEMENT: Placement = "first"
OptionValue = str | int | float | bool


@dataclass(frozen=True)
class AttentionSpec:
    """An attention of the catalogue with all its choices made. Made by `parse`; equal specs build equal networks.

    placement   None where the attention leaves no choice
    options     every option with its value, in the order in which its builder has them
    """

    name: str
    placement: Placement | None
    options: tuple[tuple[str, OptionValue], ...]

    @classmethod
    def parse(cls, text: str, otherwise: Mapping[str, OptionValue] | None = None) -> AttentionSpec:
        """From its text. `otherwise` has values of options that the text does not give, used where they exist."""
        name, given = split(text)
        values: dict[str, OptionValue] = {}
        for key, parameter in option_parameters(name).items():
            if key in given:
                values[key] = _value(name, key, given.pop(key), parameter.annotation)
            else:
                values[key] = (otherwise or {}).get(key, parameter.default)
        if given:
            _refuse_option(name, next(iter(given)))
        placement = values.pop("placement", None)
        return cls(name, _allowed(name, placement), tuple(values.items()))

    def __str__(self) -> str:
        return self.text()

    def text(self, without: tuple[str, ...] = ()) -> str:
        """The text that `parse` reads. Defaults are left out, and the options named in `without`."""
        chosen = {"placement": self.placement, **dict(self.options)}
        differing = [
            f"{key}={_text(chosen[key])}"
            for key, parameter in option_parameters(self.name).items()
            if key not in without and chosen[key] != parameter.default
        ]
        return f"{self.name}:{','.join(differing)}" if differing else self.name


def split(text: str) -> tuple[str, dict[str, str]]:
    """`emca-se:coverage=i-1,N` -> ("emca-se", {"coverage": "i-1,N"}): a comma ends a value if `word=` follows it."""
    name, colon, rest = text.partition(":")
    check_name("attention", name, CATALOGUE)
    given: dict[str, str] = {}
    for part in re.split(r",(?=\w+=)", rest) if colon else ():
        key, equals, value = part.partition("=")
        if not (key and equals and value) or key in given:
            found = f"{key} twice" if key in given else repr(part)
            raise ValueError(f"attention {text!r}: found {found}, expected NAME:option=value[,option=value...]")
        given[key] = value
    return name, given


def option_parameters(name: str) -> dict[str, inspect.Parameter]:
    """What a person can choose for this attention, with types and defaults; `placement` first, where there is one."""
    entry = CATALOGUE[name]
    placement = inspect.Parameter(
        "placement", inspect.Parameter.KEYWORD_ONLY, default=DEFAULT_PLACEMENT, annotation=Placement
    )
    return {**({"placement": placement} if entry.placements else {}), **entry.options()}


def _refuse_option(name: str, key: str) -> None:
    valid = option_parameters(name)
    if not valid:
        raise ValueError(f"{name} has no options, so no {key!r}: write {name!r} alone")
    check_name(f"option of {name}", key, valid)


def _allowed(name: str, placement: OptionValue | None) -> Placement | None:
    if placement is None:
        return None
    check_name("placement", placement, PLACEMENTS)
    allowed = CATALOGUE[name].placements
    if placement not in allowed:
        raise ValueError(f"placement {placement!r} is not for {name}: use {' or '.join(map(repr, allowed))}")
    return placement


def _value(name: str, key: str, text: str, kind: object) -> OptionValue:
    if get_origin(kind) is Literal:
        return check_name(key, text, get_args(kind))
    if kind is bool:
        return check_name(f"{key} of {name}", text, ("true", "false")) == "true"
    if kind is int:
        if not text.isdecimal() or int(text) < 1:
            raise ValueError(f"{key}={text} of {name}: give a whole number of 1 or more")
        return int(text)
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise ValueError(f"{key}={text} of {name}: give a number, for example 0.5")
    return value


def _text(value: OptionValue | None) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
