"""albumentations' transforms in a config: what is accepted, what is said of the rest, what is done to a frame."""

from __future__ import annotations

import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError

from data.augment import Augment
from data.detection import Sample
from data.effects import Effects, Wanted
from data.resize import PADDING
from data.settings import AugmentSettings

NOTHING = {"crop": 0, "rotation": 0, "flip": 0, "hue": 0, "saturation": 0, "value": 0}


def noise(height: int, width: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


def augmented(effects: tuple[Wanted, ...], seed: int = 0, policy: str = "stretch") -> np.ndarray:
    """Noise of 50 x 100 pixels through nothing but `effects`, at 64 x 64."""
    sample = Sample(noise(50, 100), np.float32([[10, 10, 60, 40]]), np.array([0]), np.zeros((0, 4), np.float32), "a")
    out = np.empty((64, 64, 3), np.uint8)
    settings = AugmentSettings(**NOTHING, albumentations=effects)
    placed = Augment(settings, policy)(sample, np.random.default_rng(seed), lambda: sample, out)
    assert policy != "stretch" or np.allclose(placed.boxes, [[6.4, 12.8, 38.4, 51.2]])
    return placed.image


def complaint(*effects: object) -> str:
    with pytest.raises(ValidationError) as caught:
        AugmentSettings(albumentations=effects)
    (error,) = caught.value.errors()
    message = str(error["ctx"]["error"])
    assert "\n" not in message
    return message


def test_a_transform_changes_the_picture_and_leaves_the_boxes() -> None:
    grey = augmented(({"ToGray": {"p": 1.0}},))
    assert (grey[..., 0] == grey[..., 1]).all()
    assert not np.array_equal(augmented(()), grey)


def test_a_bare_name_has_the_librarys_own_probability() -> None:
    pictures = [augmented(("ToGray",), seed) for seed in range(40)]  # its p is a half
    assert 5 < sum(bool((picture[..., 0] == picture[..., 1]).all()) for picture in pictures) < 35


def test_padding_stays_grey() -> None:
    picture = augmented(({"InvertImg": {"p": 1.0}},), policy="letterbox")
    plain = augmented((), policy="letterbox")
    assert (picture[:16] == PADDING).all() and (picture[48:] == PADDING).all()
    assert (picture[16:48] == 255 - plain[16:48]).all()


def test_the_same_generator_gives_the_same_bytes_and_another_one_others() -> None:
    effects = ({"RandomRain": {"p": 1.0}}, {"GaussNoise": {"p": 1.0}})
    assert np.array_equal(augmented(effects, 3), augmented(effects, 3))
    assert not np.array_equal(augmented(effects, 3), augmented(effects, 4))


def test_each_transform_has_a_probability_of_its_own() -> None:
    """With one seed for both, either both would happen or none."""
    happened = set()
    for seed in range(40):
        picture, rng = np.full((8, 8, 3), (10, 60, 60), np.uint8), np.random.default_rng(seed)
        Effects(({"InvertImg": {"p": 0.5}}, {"ToGray": {"p": 0.5}}))(picture, rng)
        happened.add((picture.mean() > 127, picture[0, 0, 0] == picture[0, 0, 1]))
    assert len(happened) == 4


def test_an_empty_list_draws_no_random_number() -> None:
    picture, rng = noise(8, 8), np.random.default_rng(1)
    Effects(())(picture, rng)
    assert rng.bit_generator.state == np.random.default_rng(1).bit_generator.state
    assert np.array_equal(picture, noise(8, 8))


def test_effects_can_be_handed_to_a_worker() -> None:
    picture, again = noise(32, 32), noise(32, 32)
    effects = Effects(({"RandomRain": {"p": 1.0}},))
    pickle.loads(pickle.dumps(effects))(picture, np.random.default_rng(1))
    effects(again, np.random.default_rng(1))
    assert np.array_equal(picture, again)


def test_an_unknown_name_is_told_with_the_nearest_one() -> None:
    assert complaint("MotionBlurr") == "albumentations has no transform 'MotionBlurr'; did you mean MotionBlur?"
    assert "did you mean" in complaint("np")


def test_a_transform_that_moves_boxes_belongs_to_the_warp() -> None:
    assert "HorizontalFlip moves boxes, and geometry is the warp's" in complaint({"HorizontalFlip": {"p": 1}})


@pytest.mark.parametrize(
    ("item", "says"),
    [
        ({"MotionBlur": {"p": 2}}, "MotionBlur does not take {'p': 2}: p: "),
        ({"MotionBlur": {"blur": 3}}, "MotionBlur does not take {'blur': 3}: "),
        ({"MotionBlur": {}, "ToGray": {}}, "names 2 transforms; write one an item"),
        ({"ToFloat": {}}, "ToFloat makes float32"),
        ("FDA", "FDA "),
        ("TextImage", "TextImage "),
    ],
)
def test_what_cannot_be_done_is_said_when_the_settings_are_read(item: object, says: str) -> None:
    assert says in complaint(item)


@pytest.mark.parametrize(("effects", "loaded"), [("()", False), ("('ToGray',)", True)])
def test_albumentations_is_loaded_only_where_it_is_wanted_and_asks_the_internet_nothing(
    effects: str, loaded: bool
) -> None:
    code = (
        "import socket, sys, data.batches\nfrom data.settings import AugmentSettings\n"
        "def no(*_): raise SystemExit('asked the internet')\nsocket.socket.connect = no\nsocket.getaddrinfo = no\n"
        f"AugmentSettings(albumentations={effects})\n"
        f"sys.exit(('albumentations' in sys.modules) is not {loaded})"
    )
    root = Path(__file__).resolve().parents[2]
    assert subprocess.run([sys.executable, "-c", code], cwd=root, check=False).returncode == 0
