"""What `data.classes` means in a data set that declares its own names."""

from __future__ import annotations

import reprlib
from collections.abc import Sequence

from data.annotation import AUTO, ClassSet, DatasetError
from data.formats.kitti import CLASS_SETS, DONT_CARE, names_in, with_neighbours

SHOWN = 8  # names in a message


def class_set_among(declared: Sequence[str], spec: str | Sequence[str], where: str) -> ClassSet:
    """`auto` is every declared name. KITTI's sets are for data that has some of their names. Else as for KITTI."""
    declared = [name for name in declared if name != DONT_CARE]
    names = names_in(spec, declared)
    if spec == AUTO:
        return ClassSet(names, frozenset({DONT_CARE}))
    if isinstance(spec, str) and spec.strip().lower() in CLASS_SETS and not set(names) & set(declared):
        shown = ", ".join(declared[:SHOWN]) + (", ..." if len(declared) > SHOWN else "")
        raise DatasetError(f"classes: {spec} are KITTI's, and {where} has {shown}; set data.classes=auto, or name some")
    return with_neighbours(names)


def unique_names(names: Sequence[object], where: str) -> tuple[str, ...]:
    """Declared names as they are. Only those that become classes must be fit for file names."""
    unique = dict[str, None]()
    for name in names:
        if not isinstance(name, str) or not name.strip():
            raise DatasetError(f"{where}: {reprlib.repr(name)} is no class name; write a word in quotes")
        if name in unique:
            raise DatasetError(f"{where}: the class name {name[:40]!a} stands there twice; rename one of them")
        unique[name] = None
    return tuple(unique)
