"""Weather, blur, noise and whatever else albumentations does to pixels, by name: what the fused warp cannot do."""

from __future__ import annotations

import difflib
import os
import warnings
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import ValidationError

if TYPE_CHECKING:
    from albumentations import ImageOnlyTransform

Wanted = str | Mapping[str, Mapping[str, Any]]  # MotionBlur, or {MotionBlur: {p: 0.1}}


class Effects:
    """Transforms in their order, each with its own probability. All randomness comes from the generator passed in."""

    def __init__(self, wanted: Sequence[Wanted]) -> None:
        self._transforms = [_transform(*_name_and_parameters(item)) for item in wanted]

    def __call__(self, picture: np.ndarray, rng: np.random.Generator) -> None:
        """Changes uint8 [h, w, 3] RGB, which may be a view, in place. Without transforms no random number is drawn."""
        for transform in self._transforms:
            transform.set_random_seed(int(rng.integers(2**31)))  # its own: one for all, and all would come together
            picture[:] = transform(image=np.ascontiguousarray(picture))["image"]


def check(wanted: Sequence[Wanted]) -> None:
    """Raises ValueError, one line, unless each transform is there, takes its parameters and leaves a picture one."""
    for item in wanted:
        name, parameters = _name_and_parameters(item)
        transform = _transform(name, parameters)
        transform.p = 1.0
        picture = np.full((64, 96, 3), 114, np.uint8)
        try:
            result = transform(image=picture)["image"]
        except Exception as error:
            raise ValueError(f"{name} needs more than a picture ({_one_line(error)}); leave it out") from None
        if result.dtype != np.uint8 or result.shape != picture.shape:
            found = f"{result.dtype} {list(result.shape)} of uint8 {list(picture.shape)}"
            raise ValueError(f"{name} makes {found}; the network wants pictures as they are, leave it out")


def _name_and_parameters(item: Wanted) -> tuple[str, Mapping[str, Any]]:
    if isinstance(item, str):
        return item, {}
    if len(item) != 1:
        raise ValueError(f"{dict(item)} names {len(item)} transforms; write one an item, as {{MotionBlur: {{p: 0.1}}}}")
    ((name, parameters),) = item.items()
    return name, parameters


def _transform(name: str, parameters: Mapping[str, Any]) -> ImageOnlyTransform:
    os.environ["NO_ALBUMENTATIONS_UPDATE"] = "1"  # it would ask the internet for its newest version on import
    import albumentations  # slow: only where its transforms are wanted

    kind = getattr(albumentations, name, None)
    if not isinstance(kind, type) or not issubclass(kind, albumentations.BasicTransform):
        near = difflib.get_close_matches(name, _pixel_transforms(albumentations), n=1, cutoff=0)
        raise ValueError(f"albumentations has no transform {name!r}; did you mean {near[0]}?")
    if not issubclass(kind, albumentations.ImageOnlyTransform):
        raise ValueError(f"{name} moves boxes, and geometry is the warp's: use data.augment.crop, rotation and flip")
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # a parameter that it does not know is no more than a warning there
        try:
            return kind(**parameters)
        except Exception as error:
            raise ValueError(f"{name} does not take {dict(parameters)}: {_one_line(error)}") from None


def _pixel_transforms(albumentations: Any) -> list[str]:
    base = albumentations.ImageOnlyTransform
    kinds = {name: kind for name, kind in vars(albumentations).items() if isinstance(kind, type)}
    return [name for name, kind in kinds.items() if issubclass(kind, base) and kind is not base]


def _one_line(error: Exception) -> str:
    """The first reason: pydantic's comes after a heading, and all of its lines after that are about itself."""
    for source in (error, error.__cause__):
        if isinstance(source, ValidationError):
            first = source.errors()[0]
            return f"{'.'.join(map(str, first['loc']))}: {first['msg']}"
    return " ".join(str(error).split())
