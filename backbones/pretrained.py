"""Weights from a file into any variant of the same depth: torchvision's ImageNet weights, or a checkpoint of ours.

Attention may be missing (it then starts fresh), also where it stands in place of a 3x3 convolution of the file. The
last layer of a classifier may be left over, missing, or of other classes. Anything else is an error.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor
from torchvision.models import get_model_weights

from backbones.attention.place import Place
from backbones.attention.seat import Seat, block_path
from backbones.opening import open_fresh_gates
from backbones.resnet import AttentionResNet
from backbones.weight_file import WeightsError, read_weight_file


@dataclass(frozen=True)
class LoadReport:
    """What happened to every key that did not simply fit."""

    source: str
    loaded: int
    fresh: tuple[str, ...]  # attention and last layer that the file does not have so: they keep their initial values
    unused: tuple[str, ...]  # in the file, not in this network: its classifier, other attention, replaced convolutions
    replaced: tuple[str, ...]  # 3x3 convolutions of the file in whose place the network has attention that starts fresh
    opened: tuple[str, ...]  # attention on a branch that the file has without: its gate starts open (opening.py)

    def __str__(self) -> str:
        parts = [f"{self.source}: {self.loaded} tensors loaded"]
        if self.fresh:
            parts.append(f"not in the file, or of another shape, starting fresh: {_first(self.fresh)}")
        if self.replaced:
            parts.append(f"{len(self.replaced)} of its 3x3 convolutions replaced by attention: {_first(self.replaced)}")
        if self.opened:
            parts.append(f"{len(self.opened)} fresh gates start open")
        if self.unused:
            parts.append(f"in the file but not used: {_first(self.unused)}")
        return "; ".join(parts)


def load_pretrained(backbone: AttentionResNet, source: str | os.PathLike[str]) -> LoadReport:
    """Load `source` into `backbone`, in place; nothing in a file is run.

    source: the path of a state dict of torchvision's ResNet or of a checkpoint of ours; or "imagenet": torchvision's
    best weights of this depth, downloaded once to torch's cache
    """
    if source == "imagenet":
        return load_state(backbone, _imagenet_state(backbone.arch), f"torchvision's {backbone.arch} (ImageNet)")
    return load_state(backbone, _read(Path(source)), str(source))


def load_state(backbone: AttentionResNet, state: Mapping[str, Tensor], source: str) -> LoadReport:
    """Load `state` into `backbone`, in place. Nothing is changed if it does not fit."""
    own = backbone.state_dict()
    replaced = [place for place in backbone.replaced if not _same_module(_replaced_paths(place), own, state)]
    paths_of_replaced = [path for place in replaced for path in _replaced_paths(place)]
    optional = _attention_paths(backbone) | {"fc"}

    compared = {key for key in (*own, *state) if not _is_within(key, paths_of_replaced)}
    missing = [key for key in own if key in compared and key not in state]
    unexpected = [key for key in state if key in compared and key not in own]
    other_shape = [key for key in own if key in compared and key in state and state[key].shape != own[key].shape]

    # A counter that torchvision's older files lack; BatchNorm's default momentum does not read it.
    lacking = [k for k in missing if not _is_within(k, optional) and not k.endswith("num_batches_tracked")]
    foreign = [k for k in unexpected if not _is_within(k, optional)]
    misshapen = [k for k in other_shape if not _is_within(k, optional)]
    problems = []
    if misshapen:
        key = misshapen[0]
        shapes = f"{key} is {list(state[key].shape)} in the file, {list(own[key].shape)} here"
        problems.append(f"{len(misshapen)} of another shape ({shapes}; {_first(misshapen)})")
    if lacking:
        problems.append(f"{len(lacking)} missing ({_first(lacking)})")
    if foreign:
        problems.append(f"{len(foreign)} unknown ({_first(foreign)})")
    if problems:
        advice = "use weights of the same arch, with a 3x3 convolution wherever this network has one"
        raise WeightsError(f"{source}: not for {backbone.arch}: {', '.join(problems)}; {advice}")

    fitting = {key: state[key] for key in own if key in compared and key in state and key not in other_shape}
    backbone.load_state_dict(fitting, strict=False)
    fresh = [k for k in missing if _is_within(k, optional)] + other_shape + [k for k in own if k not in compared]
    unused = unexpected + other_shape + [k for k in state if k not in compared]
    convolutions = tuple(Seat.CONVOLUTION.path(place) for place in replaced)
    opened = open_fresh_gates(backbone, _gates_on_plain_branches(backbone, state))
    return LoadReport(source, len(fitting), tuple(fresh), tuple(unused), convolutions, tuple(opened))


def _gates_on_plain_branches(backbone: AttentionResNet, state: Mapping[str, Tensor]) -> list[str]:
    """Attention on the residual branch, with weights, where the file has none of any kind."""
    on_branches = {Seat.RESIDUAL.path(place) for place in backbone.places} & set(backbone.attention_paths)
    with_weights = (path for path in on_branches if backbone.get_submodule(path).state_dict())
    return sorted(path for path in with_weights if not any(_is_within(key, (path,)) for key in state))


def _attention_paths(backbone: AttentionResNet) -> set[str]:
    """The names of all modules that a network of this arch can have in a seat beside torchvision's own modules."""
    return {seat.path(place) for seat in Seat if not seat.replaces_convolution for place in backbone.places}


def _replaced_paths(place: Place) -> tuple[str, str]:
    """A 3x3 convolution and its BatchNorm: their statistics belong together."""
    return Seat.CONVOLUTION.path(place), f"{block_path(place)}.{place.norm}"


def _same_module(paths: Iterable[str], own: Mapping[str, Tensor], state: Mapping[str, Tensor]) -> bool:
    """True if the file has the very module that the network has there, by the names and shapes of its weights."""
    here, there = ({k: v.shape for k, v in s.items() if _is_within(k, paths)} for s in (own, state))
    return here == there


def _is_within(key: str, paths: Iterable[str]) -> bool:
    """Whether this weight belongs to a module at `paths`, as layer1.0.attention.conv.weight to layer1.0.attention."""
    parts = key.split(".")
    return any(".".join(parts[:depth]) in paths for depth in range(1, len(parts)))


def _first(keys: tuple[str, ...] | list[str], count: int = 4) -> str:
    rest = len(keys) - count
    return ", ".join(keys[:count]) + (f" and {rest} more" if rest > 0 else "")


def _imagenet_state(arch: str) -> Mapping[str, Tensor]:
    weights = get_model_weights(arch).DEFAULT
    try:
        return weights.get_state_dict(progress=True, check_hash=True)
    except (OSError, RuntimeError) as error:  # URLError is an OSError; a wrong hash is a RuntimeError
        raise WeightsError(
            f"{weights.url}: cannot be downloaded ({error}); download it yourself and give the file's path instead"
        ) from error


def _read(path: Path) -> dict[str, Tensor]:
    """The backbone's state dict: the file itself, or what a detector has under "backbone." (a checkpoint of ours, in
    "model") or under "backbone.body." (torchvision's detectors)."""
    content = read_weight_file(path)
    state = content.get("model", content) if isinstance(content, Mapping) else content
    if not _is_state_dict(state):
        raise WeightsError(f"{path}: holds no state dict (tensors by name); use torch.save(net.state_dict(), path)")
    for prefix in ("backbone.body.", "backbone."):
        within = {key.removeprefix(prefix): tensor for key, tensor in state.items() if key.startswith(prefix)}
        if within:
            return within
    return dict(state)


def _is_state_dict(state: Any) -> bool:
    return isinstance(state, Mapping) and bool(state) and all(isinstance(v, Tensor) for v in state.values())
