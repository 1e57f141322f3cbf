"""A detector that starts from another one: all that fits is taken over, the rest begins anew and is named."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor

from detector.network.model import DetectionModel


@dataclass(frozen=True)
class StartReport:
    source: str
    loaded: int
    fresh: tuple[str, ...]  # weights that are new here or have another shape: they keep their initial values
    known: tuple[str, ...]  # classes that both know
    new: tuple[str, ...]  # classes that only this network knows

    def __str__(self) -> str:
        parts = [f"{self.source}: {self.loaded} tensors loaded"]
        if self.new:
            parts.append(f"classes that begin anew: {', '.join(self.new)}")
            parts.append(f"classes that it knows: {', '.join(self.known) or 'none'}")
        if self.fresh:
            shown, rest = ", ".join(self.fresh[:4]), len(self.fresh) - 4
            parts.append(f"weights that begin anew: {shown}" + (f" and {rest} more" if rest > 0 else ""))
        return "; ".join(parts)


def start_from(
    network: DetectionModel,
    classes: Sequence[str],
    weights: Mapping[str, Tensor],
    classes_there: Sequence[str],
    source: str,
) -> StartReport:
    """Takes `weights` of a detector of `classes_there` into `network`, in place. A class of the same name keeps what
    was learnt of it. Anchors stay the network's own.
    """
    own = network.state_dict()
    there = {key: tensor for key, tensor in weights.items() if key in own and key not in network.exact}
    for key, rows in network.class_rows().items():
        if key in there:
            there[key] = rows.translate(own[key], classes, there[key], classes_there)
    fitting = {key: tensor for key, tensor in there.items() if tensor.shape == own[key].shape}
    fresh = tuple(key for key in own if key not in fitting and key not in network.exact)
    network.load_state_dict(fitting, strict=False)
    known = tuple(name for name in classes if name in classes_there)
    return StartReport(source, len(fitting), fresh, known, tuple(name for name in classes if name not in known))
