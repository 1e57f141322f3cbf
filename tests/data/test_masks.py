from __future__ import annotations

import numpy as np
import pytest

from data import masks
from data.annotation import DatasetError, Rle
from data.masks import PackedMasks


def random_mask(rng: np.random.Generator) -> np.ndarray:
    height, width = rng.integers(1, 30, 2)
    return (rng.random((height, width)) < rng.choice((0.02, 0.5, 0.98))).astype(np.uint8)


def plain_runs(mask: np.ndarray) -> list[int]:
    """Lengths of the runs of 0, 1, 0, ... down the columns, by a loop."""
    runs, value = [0], 0
    for pixel in mask.T.ravel().tolist():
        if pixel != value:
            runs.append(0)
            value = pixel
        runs[-1] += 1
    return runs


@pytest.mark.parametrize("seed", range(30))
def test_a_mask_is_kept_as_its_runs_and_comes_back(seed: int) -> None:
    mask = random_mask(np.random.default_rng(seed))
    rle = masks.encode(mask)
    assert rle == masks.encode(mask * 7)
    np.testing.assert_array_equal(masks.decode(rle), mask)
    runs = {"size": list(mask.shape), "counts": plain_runs(mask)}
    assert masks.from_json(runs, None, "here") == rle
    assert masks.from_json(masks.to_json(rle), mask.shape, "here") == rle
    assert masks.area(rle) == mask.sum()
    rows, columns = np.nonzero(mask)
    if len(rows):
        assert masks.box_of(rle) == (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)


def test_overlaps_are_those_of_pixels() -> None:
    rng = np.random.default_rng(0)
    some = [(rng.random((9, 14)) < share).astype(np.uint8) for share in (0.2, 0.5, 0.8, 1.0)]
    rles, crowd = [masks.encode(mask) for mask in some], [False, True, False, True]
    expected = [
        [(a & b).sum() / (a.sum() if is_crowd else (a | b).sum()) for b, is_crowd in zip(some, crowd, strict=True)]
        for a in some
    ]
    np.testing.assert_array_equal(masks.overlaps(rles, rles, crowd), expected)
    assert masks.overlaps([], rles, crowd).shape == (0, 4)


def test_polygons_are_joined_and_cut_at_the_picture() -> None:
    square, beyond = [2, 3, 8, 3, 8, 9, 2, 9], [10.0, 0.0, 25.0, 0.0, 25.0, 5.0, 10.0, 5.0]
    expected = np.zeros((12, 20), np.uint8)
    expected[3:9, 2:8] = expected[0:5, 10:20] = 1
    np.testing.assert_array_equal(masks.decode(masks.from_json([square, beyond], (12, 20), "here")), expected)
    assert masks.overhang([square, beyond], (12, 20)) == 5
    assert masks.overhang([square], (12, 20)) == 0


def test_a_box_is_a_mask_cut_at_the_picture() -> None:
    expected = np.zeros((6, 10), np.uint8)
    expected[2:6, 0:4] = 1
    np.testing.assert_array_equal(masks.decode(masks.from_box((-3, 2, 4, 99), (6, 10))), expected)


def test_packed_masks_are_the_same_masks() -> None:
    rng = np.random.default_rng(1)
    some = [masks.encode(random_mask(rng)) for _ in range(5)]
    packed = PackedMasks([some[0], None, *some[1:]])
    assert [packed[row] for row in (0, 2, 3, 4, 5)] == some
    assert packed[1] == Rle((0, 0), b"")


@pytest.mark.parametrize(
    ("segmentation", "found"),
    [
        ("abc", "segmentation is 'abc', expected polygons"),
        ([[1, 1, 5, 5]], "a polygon of 2 points"),
        ([[1, 1, 5, 5, 3]], "segmentation has [1, 1, 5, 5, 3], expected polygons"),
        ([1, 1, 5, 5, 3, 3], "segmentation has 1, expected polygons"),
        ([[1, 1, 5, 5, 3, "a"]], "expected polygons"),
        ([[1, 1, 5, 5, 3, float("nan")]], "expected polygons"),
        ([[1, 1, 5, 5, 3, 1e8]], "reaches from 1 to 1e+08, the picture is 8 x 6"),
        ({"counts": "ab"}, "the size of its mask is None, expected [height, width]"),
        ({"size": [6, 1e8], "counts": "ab"}, "the size of its mask is [6, 100000000.0]"),
        ({"size": [8, 6], "counts": [48]}, "a mask of 6 x 8 pixels in a picture of 8 x 6"),
        ({"size": [6, 8]}, "the counts of its mask are no run lengths"),
        ({"size": [6, 8], "counts": [50, -2]}, "the counts of its mask are no run lengths"),
        ({"size": [6, 8], "counts": [10**4000] * 9}, "the counts of its mask are no run lengths"),
        ({"size": [6, 8], "counts": "zzz"}, "the counts of its mask are no run lengths"),
        ({"size": [6, 8], "counts": "PPPPPPPPPPPPPPP"}, "the counts of its mask are no run lengths"),
        ({"size": [6, 8], "counts": "\u00e9"}, "the runs of its mask are 15 pixels long"),
        ({"size": [6, 8], "counts": ""}, "the runs of its mask are 0 pixels long, expected 8 x 6"),
        ({"size": [6, 8], "counts": [40, 7]}, "the runs of its mask are 47 pixels long, expected 8 x 6"),
    ],
)
def test_a_mask_that_cannot_be_is_told(segmentation: object, found: str) -> None:
    with pytest.raises(DatasetError) as told:
        masks.from_json(segmentation, (6, 8), "here")
    assert str(told.value).startswith("here: ")
    assert found in str(told.value)


def test_polygons_need_the_size_of_their_picture() -> None:
    with pytest.raises(DatasetError, match="write its height and width into images"):
        masks.from_json([[1, 1, 5, 5, 3, 1]], None, "here")
