"""data/scenes: expectations come from the pinhole equation worked out by hand for boxes placed by hand."""

from __future__ import annotations

import math
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from data.formats import open_source
from data.formats.kitti import CLASSES, DONT_CARE, Label, read_labels
from data.masks import area, decode
from data.scenes import make_clip, make_scenes, render
from data.scenes.annotate import majority
from data.scenes.camera import AHEAD, CENTRE_X, CENTRE_Y, FOCAL, HEIGHT, RIGHTWARDS, WIDTH, Camera
from data.scenes.layout import KINDS
from data.scenes.light import Light
from data.scenes.mesh import Mesh
from data.scenes.scene import Actor, Scene
from data.scenes.shapes import Shape
from data.scenes.street import draw_street
from data.scenes.write import _CLIP, ScenesError, make_coco_scenes

ROOT = Path(__file__).resolve().parents[2]
NOON = Light(
    to_sun=np.array([0.0, 1.0, 0.0]),
    sun=np.full(3, 0.6),
    ambient=np.full(3, 0.5),
    zenith=np.array([80.0, 130.0, 200.0]),
    horizon=np.array([200.0, 210.0, 220.0]),
    cloud=np.full(3, 240.0),
    cover=0.3,
    visibility=800.0,
    shadow=0.4,
    gain=np.ones(3),
    gamma=1.0,
    noise=1.0,
    blur=0.0,
)


def block(name: str, x: float, z: float, width: float, height: float = 1.5, length: float = 0.2) -> Actor:
    """A box whose near face stands at z: what one sees of it is a rectangle."""
    shape = Shape()
    shape.box(0.0, length, 0.0, height, -width / 2, width / 2, (180, 40, 40))
    return Actor(name, Mesh(shape), x, z, AHEAD, (height, width, length))


def seen(*actors: Actor, camera: Camera | None = None) -> list[Label]:
    return render(Scene(camera or Camera(), NOON, ground=(100, 110, 80), actors=actors)).labels


def column(x: float, z: float) -> float:
    return FOCAL * x / z + CENTRE_X


@pytest.fixture(scope="module")
def pictures() -> list[tuple[Scene, list[Label], np.ndarray]]:
    drawn = []
    for index in range(36):
        scene = draw_street((77, index)).at(0.0)
        frame = render(scene)
        drawn.append((scene, frame.labels, frame.image))
    return drawn


def test_a_box_is_where_the_pinhole_equation_puts_it() -> None:
    (label,) = seen(block("Car", x=2.0, z=15.0, width=1.8))
    expected = (
        FOCAL * 1.1 / 15 + CENTRE_X,
        FOCAL * (1.65 - 1.5) / 15 + CENTRE_Y,
        FOCAL * 2.9 / 15 + CENTRE_X,
        FOCAL * 1.65 / 15 + CENTRE_Y,
    )
    assert label.name == "Car"
    assert label.box == pytest.approx(expected, abs=1.0)
    assert (label.truncation, label.occlusion) == (0.0, 0)
    assert label.location == pytest.approx((2.0, 1.65, 15.0), abs=0.01)
    assert label.dimensions == (1.5, 1.8, 0.2)
    assert label.rotation_y == pytest.approx(-math.pi / 2, abs=0.01)  # it points away from the camera
    assert label.alpha == pytest.approx(-math.pi / 2 - math.atan2(2, 15), abs=0.01)


@pytest.mark.parametrize(
    ("covered", "grade"), [(0.0, 0), (0.1, 0), (0.3, 1), (0.65, 2), (0.9, 3)], ids=lambda value: str(value)
)
def test_occlusion_is_graded_by_the_share_that_a_nearer_car_leaves(covered: float, grade: int) -> None:
    # the far one spans x = -1..1 at 20 m; the near one, at 10 m and higher, hides all right of `edge` there
    edge = 1.0 - 2.0 * covered
    near = block("Car", x=edge / 2 + 2.0, z=10.0, width=4.0, height=2.5)
    labels = seen(block("Van", x=0.0, z=20.0, width=2.0), near)
    van = next(label for label in labels if label.name == "Van")
    assert van.occlusion == grade
    # KITTI's boxes go around the whole object, hidden parts included
    assert van.box[0] == pytest.approx(column(-1.0, 20.0), abs=1.0)
    assert van.box[2] == pytest.approx(column(1.0, 20.0), abs=1.0)
    assert next(label for label in labels if label.name == "Car").occlusion == 0


def test_masks_are_the_pixels_that_are_seen() -> None:
    near, far = block("Car", 0.4, 12.0, 1.6), block("Van", 0.0, 24.0, 3.0)
    frame = render(Scene(Camera(), NOON, ground=(100, 110, 80), actors=(near, far)))
    front, back = (decode(label.mask) for label in frame.masked_labels() if label.mask)
    assert not (front & back).any()
    (x1, y1, x2, y2), (left, top, right, bottom) = (label.box for label in frame.labels)
    assert front.sum() == pytest.approx((x2 - x1) * (y2 - y1), rel=0.03)
    hidden = (min(x2, right) - max(x1, left)) * (min(y2, bottom) - max(y1, top))
    assert 0 < hidden < (right - left) * (bottom - top)
    assert back.sum() == pytest.approx((right - left) * (bottom - top) - hidden, rel=0.08)


def test_a_pixel_is_whose_most_of_it_is() -> None:
    canvas = np.random.default_rng(0).integers(0, 3, (40, 60), dtype=np.uint8)
    for (row, column), winner in np.ndenumerate(majority(canvas)):
        four = canvas[2 * row : 2 * row + 2, 2 * column : 2 * column + 2].ravel().tolist()
        most = max(map(four.count, four))
        assert winner == next(one for one in four if four.count(one) == most)


def test_scenes_as_coco_have_the_pictures_and_boxes_of_kittis_and_masks(tmp_path: Path) -> None:
    make_scenes(tmp_path / "kitti", 3, seed=2, val_share=0.34, progress=False)
    said = make_coco_scenes(tmp_path / "coco", 3, seed=2, val_share=0.34, progress=False)
    kitti, coco = open_source(tmp_path / "kitti"), open_source(tmp_path / "coco", masks=True)
    assert "frames: train 2, val 1" in said
    for split in ("train", "val"):
        frames = kitti.frames(split)
        assert coco.frames(split) == frames
        for frame in frames:
            assert coco.image_path(frame).read_bytes() == kitti.image_path(frame).read_bytes()
            before, after = kitti.annotations(frame), coco.annotations(frame)
            assert [(item.name, item.box, item.ignore) for item in after] == [
                (item.name, item.box, item.ignore) for item in before
            ]
            for item in after:
                assert item.mask is not None
                assert item.area == area(item.mask)
                rows, columns = np.nonzero(decode(item.mask))
                x1, y1, x2, y2 = item.box
                assert columns.min() >= x1 - 1
                assert rows.min() >= y1 - 1
                assert columns.max() <= x2 + 1
                assert rows.max() <= y2 + 1


def test_what_is_wholly_hidden_is_not_labelled() -> None:
    assert [label.name for label in seen(block("Van", 0.0, 20.0, 2.0), block("Car", 0.0, 10.0, 3.0, 3.0))] == ["Car"]


def test_scenery_hides_too_but_has_no_label() -> None:
    (label,) = seen(block("Car", 0.0, 20.0, 2.0), block("", 0.5, 10.0, 1.0, 3.0))
    assert (label.name, label.occlusion) == ("Car", 2)  # everything right of the middle is behind it


def test_a_long_tram_hides_who_stands_beyond_it_though_its_middle_is_farther_away() -> None:
    tram = Shape()
    tram.box(-20.0, 20.0, 0.0, 3.3, -1.2, 1.2, (200, 200, 40))
    long = Actor("Tram", Mesh(tram), -5.0, 30.0, AHEAD, (3.3, 2.4, 40.0))
    beyond = block("Pedestrian", -7.5, 16.0, 0.6, 1.7)  # nearer than the middle of the tram, behind its near half
    before = block("Pedestrian", -3.0, 28.0, 0.6, 1.7)
    labels = seen(long, beyond, before)
    assert sorted(label.name for label in labels) == ["Pedestrian", "Tram"]
    (walker,) = (label for label in labels if label.name == "Pedestrian")
    assert walker.location[2] == pytest.approx(28.0)
    assert walker.occlusion == 0


@pytest.mark.parametrize("share", [0.25, 0.5, 0.75])
def test_truncation_is_the_share_of_the_box_outside_the_image(share: float) -> None:
    # 2 m wide at 10 m, so far to the left that the given share of it is beyond column 0
    left_edge = -CENTRE_X * 10.0 / FOCAL
    (label,) = seen(block("Car", left_edge + 1.0 - 2.0 * share, 10.0, 2.0, length=0.01))
    assert label.truncation == pytest.approx(share, abs=0.02)
    assert label.box[0] == 0.0
    assert label.box[2] == pytest.approx(2.0 * (1 - share) * FOCAL / 10.0, abs=1.0)


def test_far_clutter_becomes_dontcare_and_neighbours_share_a_region() -> None:
    row = [block("Car", x, 95.0, 1.8) for x in (-3.0, -0.5, 2.0)]  # each 11 px high
    labels = seen(*row, block("Car", 40.0, 95.0, 1.8))
    assert [label.name for label in labels] == [DONT_CARE, DONT_CARE]
    first = labels[0]
    assert first.box[0] == pytest.approx(column(-3.9, 95.0), abs=1.0)
    assert first.box[2] == pytest.approx(column(2.9, 95.0), abs=1.0)
    assert (first.truncation, first.occlusion, first.location) == (-1.0, -1, (-1000.0, -1000.0, -1000.0))


def test_rotation_is_kittis_and_follows_the_camera() -> None:
    car = replace(block("Car", 0.0, 15.0, 1.8), heading=RIGHTWARDS)
    assert seen(car)[0].rotation_y == pytest.approx(0.0, abs=0.01)
    assert seen(car, camera=Camera(yaw=0.1))[0].rotation_y == pytest.approx(-0.1, abs=0.01)


def test_every_label_lies_in_the_picture_and_in_kittis_ranges(pictures: list) -> None:
    for _, labels, image in pictures:
        assert image.shape == (HEIGHT, WIDTH, 3)
        for label in labels:
            x1, y1, x2, y2 = label.box
            assert 0 <= x1 < x2 <= WIDTH - 1 and 0 <= y1 < y2 <= HEIGHT - 1
            if label.name != DONT_CARE:
                assert 0 <= label.truncation <= 1 and label.occlusion in (0, 1, 2, 3)
                assert all(abs(angle) <= 3.15 for angle in (label.alpha, label.rotation_y))


def test_the_3d_box_projects_onto_the_2d_box(pictures: list) -> None:
    compared = 0
    for _, labels, _ in pictures:
        for label in labels:
            if label.name not in ("Car", "Van", "Truck") or label.truncation > 0 or label.location[2] < 6:
                continue
            height, width, length = label.dimensions
            corners = np.array([(f, u, s) for f in (-1, 1) for u in (0, -1) for s in (-1, 1)]) * (
                length / 2,
                height,
                width / 2,
            )
            cos, sin = math.cos(label.rotation_y), math.sin(label.rotation_y)
            turn = np.array([[cos, 0, sin], [0, 1, 0], [-sin, 0, cos]])  # KITTI's devkit: about the Y axis
            points = corners @ turn.T + label.location
            pixels = points[:, :2] / points[:, 2:] * FOCAL + (CENTRE_X, CENTRE_Y)
            x1, y1, x2, y2 = np.concatenate([pixels.min(axis=0), pixels.max(axis=0)])
            a1, b1, a2, b2 = label.box
            common = max(0, min(x2, a2) - max(x1, a1)) * max(0, min(y2, b2) - max(y1, b1))
            union = (x2 - x1) * (y2 - y1) + (a2 - a1) * (b2 - b1) - common
            assert common / union > 0.6, (label, (x1, y1, x2, y2))
            compared += 1
    assert compared > 50


def test_the_streets_hold_all_classes_with_cars_in_the_lead_and_every_size(pictures: list) -> None:
    labels = [label for _, labels, _ in pictures for label in labels]
    counts = {name: sum(label.name == name for label in labels) for name in (*CLASSES, DONT_CARE)}
    assert all(counts.values()), counts
    assert counts["Car"] == max(counts.values())
    heights = [label.box[3] - label.box[1] for label in labels if label.name != DONT_CARE]
    assert min(heights) >= 14 and max(heights) > 150
    assert {label.occlusion for label in labels} >= {0, 1, 2, 3}
    assert any(label.truncation > 0.2 for label in labels)


def test_pictures_differ_in_light_and_are_neither_black_nor_white(pictures: list) -> None:
    means = [float(image.mean()) for _, _, image in pictures]
    assert all(45 < mean < 205 for mean in means)
    assert np.std(means) > 5
    assert all(image.std() > 20 for _, _, image in pictures)


def test_same_seed_same_bytes_whatever_the_workers_and_the_number_of_frames(tmp_path: Path) -> None:
    make_scenes(tmp_path / "a", 5, seed=3, workers=1, progress=False)
    make_scenes(tmp_path / "b", 9, seed=3, workers=2, progress=False)
    make_scenes(tmp_path / "c", 1, seed=4, workers=1, progress=False)
    for name in "000000", "000001", "000002":
        for part in f"image_2/{name}.png", f"label_2/{name}.txt":
            assert (tmp_path / "a/training" / part).read_bytes() == (tmp_path / "b/training" / part).read_bytes()
    other = tmp_path / "c/training/image_2/000000.png"
    assert other.read_bytes() != (tmp_path / "a/training/image_2/000000.png").read_bytes()


def test_the_dataset_has_kittis_layout_and_splits_every_frame_once(tmp_path: Path) -> None:
    root = make_scenes(tmp_path / "set", 10, seed=1, val_share=0.3, progress=False)
    splits = {split: (root / "ImageSets" / f"{split}.txt").read_text().split() for split in ("train", "val")}
    assert len(splits["val"]) == 3
    assert sorted(splits["train"] + splits["val"]) == [f"{index:06d}" for index in range(10)]
    for name in splits["train"] + splits["val"]:
        image = cv2.imread(str(root / "training" / "image_2" / f"{name}.png"))
        assert image.shape == (HEIGHT, WIDTH, 3)
        read_labels(root / "training" / "label_2" / f"{name}.txt")


def test_our_own_folder_is_made_anew_without_leftovers_and_others_are_left_alone(tmp_path: Path) -> None:
    root = make_scenes(tmp_path / "set", 3, progress=False)
    make_scenes(root, 2, progress=False)
    assert len(list((root / "training" / "image_2").iterdir())) == 2
    assert len(list((root / "training" / "label_2").iterdir())) == 2
    foreign = tmp_path / "holiday"
    foreign.mkdir()
    (foreign / "beach.jpg").write_bytes(b"sand")
    with pytest.raises(ScenesError, match=r"holiday.*not empty.*give a new or an empty folder"):
        make_scenes(foreign, 2, progress=False)
    assert [file.name for file in foreign.iterdir()] == ["beach.jpg"]


def test_a_clip_has_one_label_file_a_frame_and_h264_at_its_rate(tmp_path: Path) -> None:
    av = pytest.importorskip("av")
    labels = make_clip(tmp_path / "drive.mp4", 6, seed=2, fps=10, progress=False)
    with av.open(str(tmp_path / "drive.mp4")) as container:
        stream = container.streams.video[0]
        assert stream.codec_context.name == "h264" and stream.average_rate == 10
        frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(stream)]
    assert sorted(file.name for file in labels.glob("*.txt")) == [f"{index:06d}.txt" for index in range(6)]
    assert len(frames) == 6
    # what is in the file is what was painted, but for the compression
    painted = render(draw_street((1, 2), seconds=0.6, kind="city").at(0.3, instant=3))
    assert np.abs(frames[3][:HEIGHT, :WIDTH].astype(int) - painted.image).mean() < 6
    assert read_labels(labels / "000003.txt") == painted.labels


def test_a_drive_passes_what_stands_and_runs_over_nobody() -> None:
    world = draw_street((1, 0), seconds=5.0, kind="city")
    standing = next(mover for mover in world.movers if not mover.name)
    start, later = (world.at(time).camera.to_camera(standing.at(time).position[None])[0, 2] for time in (0.0, 2.0))
    assert start - later == pytest.approx(2.0 * world.ego_speed, abs=0.5)
    for time in np.arange(0, 5, 0.25):
        camera = world.at(float(time)).camera
        for mover in world.movers:
            if mover.name:
                x, _, z = camera.to_camera(mover.at(float(time)).position[None])[0]
                assert abs(x) > 1.0 or abs(z) > 2.0, f"the camera drives through a {mover.name} at {time} s"


def test_every_kind_of_street_can_be_drawn_and_driven() -> None:
    for kind in KINDS:
        world = draw_street((9,), seconds=2.0, kind=kind)
        assert len(render(world.at(1.0)).image)


def test_a_clip_that_cannot_be_written_is_refused_before_anything_is_drawn(tmp_path: Path) -> None:
    (tmp_path / "holiday.mp4").write_bytes(b"sea")
    for video, reason in ((tmp_path / "holiday.mp4", "not made here"), (tmp_path / "drive.avi", ".mp4")):
        command = [sys.executable, "-m", "data.scenes", str(tmp_path / "set"), "--frames", "1", "--video", str(video)]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
        assert done.returncode == 2 and reason in done.stderr and done.stderr.count("\n") == 1
    assert [file.name for file in tmp_path.iterdir()] == ["holiday.mp4"]


def test_the_command_refuses_with_one_line(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("keep")
    command = [sys.executable, "-m", "data.scenes", str(tmp_path), "--frames", "1"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1 and str(tmp_path) in done.stderr
    assert [file.name for file in tmp_path.iterdir()] == ["mine.txt"]


def test_an_actor_that_has_just_been_passed_does_not_stop_a_clip() -> None:
    """At this moment of this drive an actor lies wholly behind the picture plane, still near enough to be drawn."""
    frame = render(draw_street((_CLIP, 0), seconds=10.0, kind="city").at(1.6, instant=16))
    assert all(label.box[2] > label.box[0] for label in frame.labels)
