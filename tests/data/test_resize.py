from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from data.resize import PADDING, POLICIES, Geometry, fit, fit_together, halve, largest_input, resize

sides = st.integers(1, 4000)
multiples = st.integers(1, 40).map(lambda k: 32 * k)


@given(
    st.tuples(sides, sides),
    st.tuples(multiples, multiples),
    st.sampled_from(POLICIES),
    st.lists(st.tuples(*[st.floats(-0.25, 1.25, width=32)] * 4), max_size=5),
)
def test_apply_then_invert_returns_the_box(
    source: tuple[int, int], target: tuple[int, int], policy: str, shares: list[tuple[float, ...]]
) -> None:
    geometry = fit(source, target, policy)
    boxes = np.array(shares, np.float64).reshape(-1, 4) * ([source[1], source[0]] * 2)
    assert np.abs(geometry.invert(geometry.apply(boxes)) - boxes).max(initial=0) < 1e-3
    if max(source) < 20 * min(target):  # float32 positions are good to 1e-5 of a pixel of the input, not of the image
        assert np.abs(geometry.invert(geometry.apply(boxes.astype(np.float32))) - boxes).max(initial=0) < 5e-3
    assert geometry.apply(boxes.astype(np.float32)).dtype == np.float32


@given(st.tuples(sides, sides), st.tuples(multiples, multiples), st.sampled_from(["stretch", "letterbox"]))
def test_the_picture_lies_inside_the_input_and_touches_its_sides(
    source: tuple[int, int], target: tuple[int, int], policy: str
) -> None:
    geometry = fit(source, target, policy)
    x1, y1, x2, y2 = geometry.content
    assert 0 <= x1 < x2 <= target[1]
    assert 0 <= y1 < y2 <= target[0]
    assert (x2 - x1 == target[1]) or (y2 - y1 == target[0])
    whole = geometry.apply(np.array([[0.0, 0, source[1], source[0]]]))
    assert np.allclose(whole, [[x1, y1, x2, y2]], atol=1e-6)


def test_stretch_by_hand() -> None:
    assert fit((375, 1242), (448, 448), "stretch") == Geometry((375, 1242), (448, 448), (448 / 1242, 448 / 375), (0, 0))


def test_letterbox_by_hand() -> None:
    geometry = fit((100, 200), (64, 64), "letterbox")  # scale .32: 64 wide, 32 high, 16 rows of padding above
    assert geometry == Geometry((100, 200), (64, 64), (0.32, 0.32), (0.0, 16.0))
    assert geometry.apply(np.array([[100.0, 50, 200, 100]])).tolist() == [[32, 32, 64, 48]]


def test_a_letterboxed_image_stands_in_grey() -> None:
    image = np.full((100, 200, 3), 7, np.uint8)
    out = resize(image, fit((100, 200), (64, 64), "letterbox"))
    assert (out[16:48] == 7).all()
    assert (out[:16] == PADDING).all()
    assert (out[48:] == PADDING).all()


def test_the_shorter_side_by_hand() -> None:
    """torchvision's sizes of 800 and at most 1333, padded to multiples of 32 at the right and below."""
    inputs = {(480, 640): (800, 1066), (640, 480): (1066, 800), (375, 1242): (402, 1333), (2000, 2000): (800, 800)}
    for source, (height, width) in inputs.items():
        geometry = fit(source, (800, 800), "shorter")
        assert geometry.content == (0, 0, width, height)
        assert geometry.scale == (width / source[1], height / source[0])
        assert geometry.target == (-(-height // 32) * 32, -(-width // 32) * 32)


def test_images_of_a_batch_are_padded_to_the_largest() -> None:
    tall, wide = fit_together([(640, 480), (480, 640)], (800, 800), "shorter")
    assert tall.target == wide.target == (1088, 1088)
    assert (tall.content, wide.content) == ((0, 0, 800, 1066), (0, 0, 1066, 800))
    assert largest_input((800, 800), "shorter") == (1344, 1344)
    assert fit_together([(10, 20), (9, 9)], (64, 96), "letterbox")[1] == fit((9, 9), (64, 96), "letterbox")
    assert largest_input((64, 96), "letterbox") == (64, 96)


@pytest.mark.parametrize("policy", POLICIES)
def test_pixels_and_boxes_go_to_the_same_place(policy: str) -> None:
    image = np.zeros((370, 1224, 3), np.uint8)
    image[100:200, 300:700] = 255
    geometry = fit((370, 1224), (448, 448), policy)
    lit = resize(image, geometry)[..., 0].astype(float) / 255
    if policy != "stretch":
        lit[lit == PADDING / 255] = 0
    x1, y1, x2, y2 = geometry.apply(np.array([[300.0, 100, 700, 200]]))[0]
    assert lit.sum() == pytest.approx((x2 - x1) * (y2 - y1), rel=0.01)
    ys, xs = np.nonzero(lit > 0.5)
    assert [xs.min(), ys.min(), xs.max() + 1, ys.max() + 1] == pytest.approx([x1, y1, x2, y2], abs=0.6)


def test_resize_writes_straight_into_the_buffer_it_is_given() -> None:
    batch = np.zeros((3, 64, 96, 3), np.uint8)
    image = np.random.default_rng(0).integers(0, 256, (50, 70, 3), np.uint8)
    geometry = fit((50, 70), (64, 96), "letterbox")
    assert np.shares_memory(resize(image, geometry, batch[1]), batch)
    assert (batch[1] == resize(image, geometry)).all()
    assert not batch[0].any()
    assert not batch[2].any()


def test_fine_stripes_become_grey_instead_of_flickering() -> None:
    """1242 -> 448 skips pixels; stripes one pixel wide must average out wherever they begin."""
    for start in (0, 1):
        image = np.zeros((375, 1242, 3), np.uint8)
        image[:, start::2] = 200
        out = resize(image, fit((375, 1242), (448, 448), "stretch"))
        assert np.abs(out[:, 2:-2].astype(int) - 100).max() <= 1


def test_halve_leaves_scales_above_one_half_alone() -> None:
    image = np.zeros((100, 200, 3), np.uint8)
    assert halve(image, 0.51, 3) is image
    assert halve(image, 0.5, 1).shape == (100, 100, 3)
    assert halve(image, 0.2, 0.4).shape == (50, 50, 3)


def test_a_reduced_copy_lands_where_the_full_image_does() -> None:
    rng = np.random.default_rng(1)
    coarse = rng.integers(0, 256, (10, 30, 3), np.uint8)
    image = coarse.repeat(30, 0).repeat(30, 1)
    geometry = fit((300, 900), (96, 256), "letterbox")
    half = resize(image, fit((300, 900), (150, 450), "stretch"))
    assert np.abs(resize(half, geometry).astype(int) - resize(image, geometry)).mean() < 2


def test_wrong_sizes_and_policies_are_told() -> None:
    with pytest.raises(ValueError, match="0x10 into 64x32"):
        fit((10, 0), (32, 64), "stretch")
    with pytest.raises(ValueError, match="expected stretch, letterbox, shorter"):
        fit((10, 10), (32, 32), "crop")
