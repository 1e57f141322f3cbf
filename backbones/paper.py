"""What the paper prints (EMCA, IEEE Access 2022, Tables 2 to 5; 224 x 224, 1000 classes), to stand beside ours.

Keys are (attention, placement, coverage); values are for ResNet-18, -34, -50. M is 2^20 and G is 2^30 in the paper.
The paper's SRM rows leave out the weights of SRM's style layer (2 per channel), so they are below the true counts.
"""

from __future__ import annotations

Key = tuple[str, str | None, str | None]

COLUMNS = ("resnet18", "resnet34", "resnet50")

_SE_ONE_BLOCK = (11.189, 20.829, 25.037)
_ECA = (11.148, 20.788, 24.373)
_SRM_ONE_BLOCK = (11.150, 20.790, 24.380)

PARAMS_M: dict[Key, tuple[float, float, float]] = {
    ("none", None, None): (11.148, 20.788, 24.373),
    ("se", "all", None): (11.231, 20.938, 26.772),
    ("se", "first", None): _SE_ONE_BLOCK,
    ("se", "last", None): _SE_ONE_BLOCK,
    ("eca", "all", None): _ECA,
    ("eca", "first", None): _ECA,
    ("eca", "last", None): _ECA,
    ("srm", "all", None): (11.152, 20.795, 24.402),
    ("srm", "first", None): _SRM_ONE_BLOCK,
    ("srm", "last", None): _SRM_ONE_BLOCK,
    ("emca-se", "first", "0,0"): _SE_ONE_BLOCK,
    ("emca-se", "first", "1,1"): _SE_ONE_BLOCK,
    ("emca-se", "first", "1,N"): (11.190, 20.829, 25.037),
    ("emca-se", "first", "i-1,1"): (11.190, 20.829, 25.037),
    **{("emca-eca", "first", coverage): _ECA for coverage in ("0,0", "1,1", "1,N", "i-1,1")},
    **{("emca-srm", "first", coverage): _SRM_ONE_BLOCK for coverage in ("0,0", "1,1", "1,N", "i-1,1")},
}

GFLOPS: dict[Key, tuple[float, float, float]] = {
    ("none", None, None): (1.694, 3.419, 3.829),
    ("se", "all", None): (1.695, 3.421, 3.837),
    ("eca", "all", None): (1.695, 3.420, 3.834),
    ("srm", "all", None): (1.694, 3.419, 3.829),
    ("emca-se", "first", "1,N"): (1.695, 3.421, 3.835),
    ("emca-eca", "first", "1,N"): (1.695, 3.421, 3.834),
    ("emca-srm", "first", "1,N"): (1.694, 3.419, 3.829),
}


def printed(
    figures: dict[Key, tuple[float, float, float]],
    arch: str,
    attention: str,
    placement: str | None,
    coverage: str | None,
) -> float | None:
    """The paper's figure for this variant, or None where it prints none."""
    row = figures.get((attention, placement, coverage))
    return row[COLUMNS.index(arch)] if row and arch in COLUMNS else None
