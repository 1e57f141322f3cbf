"""What is told before the network loads, and what is left behind when nothing was read."""

from __future__ import annotations

import threading

import cv2
import numpy as np
import pytest
from fakes import BrightSpot, make_video, picture

import detect
from detector.video.frames import Selection
from detector.video.session import Options, _share, run
from detector.video.sources import Item
from training.distributed import World


def never(ahead):
    raise AssertionError("the network was loaded")


def go(*sources, **options):
    return run(Options(sources=tuple(map(str, sources)), **options), lambda ahead: (BrightSpot(), 1), threading.Event())


def test_what_is_no_video_and_no_image_is_told_before_the_network_loads(tmp_path):
    (tmp_path / "a.mp4").write_text("text")
    (tmp_path / "b.png").write_text("text")
    for sources, said in (
        (["a.mp4"], r"a\.mp4: not a video"),
        (["b.png"], r"b\.png: not an image"),
        (["b.png", "a.mp4"], r"b\.png: not an image.*; no other source can be read either$"),
    ):
        with pytest.raises(ValueError, match=said):
            run(Options(sources=tuple(str(tmp_path / name) for name in sources)), never, threading.Event())


def test_one_source_that_can_be_read_is_enough(tmp_path, capsys):
    (tmp_path / "a.mp4").write_text("text")
    make_video(tmp_path / "b.mp4", frames=2)
    assert go(tmp_path / "a.mp4", tmp_path / "b.mp4", output=tmp_path / "out") == 1
    assert "a.mp4: not a video" in capsys.readouterr().err and (tmp_path / "out/video/b.mp4").exists()


def test_a_camera_that_is_not_there_is_told_at_once_and_alone(capfd):
    with pytest.raises(ValueError, match=r"^camera 63: cannot be opened: is it connected"):
        run(Options(sources=("63",)), never, threading.Event())
    assert capfd.readouterr() == ("", "")  # OpenCV and FFmpeg have much to say


def test_to_name_a_tracker_is_to_track():
    for words, track, tracker in (([], False, "bytetrack"), (["--track"], True, "bytetrack")):
        options = detect._options(detect.parse(["a.mp4", *words]))
        assert (options.track, options.tracker) == (track, tracker)
    options = detect._options(detect.parse(["a.mp4", "--tracker", "botsort"]))
    assert (options.track, options.tracker) == (True, "botsort")


def test_the_summary_fits_a_terminal_of_80_columns(tmp_path, capsys):
    make_video(tmp_path / "clip.mp4", frames=3)
    assert go(tmp_path / "clip.mp4", output=tmp_path / "out", track=True) == 0
    *lines, output = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 80 and output == f"output      {tmp_path / 'out'}"
    assert " ".join(" ".join(lines).split()).endswith("(stages run beside each other)")


def test_a_camera_is_opened_once(tmp_path, monkeypatch):
    opened = []

    class Capture:
        def __init__(self, number):
            opened.append(number)

        def isOpened(self):
            return True

        def get(self, _):
            return 25.0

        def read(self):
            return True, picture()

        def release(self):
            pass

    monkeypatch.setattr(cv2, "VideoCapture", Capture)
    assert go("0", output=tmp_path / "out", saves=("json",), selection=Selection(max_frames=3)) == 0
    assert opened == [0] and len((tmp_path / "out/detections.jsonl").read_text().splitlines()) == 3


def test_pictures_whose_objects_get_ids_stay_together():
    items = [
        Item("video" if name.endswith("4") else "image", name, name) for name in ("a.png", "b.mp4", "c.png", "d.mp4")
    ]
    apart = [[item.location for item in _share(World(rank, 2), items, track=False)] for rank in (0, 1)]
    assert apart == [["a.png", "c.png"], ["b.mp4", "d.mp4"]]
    tracked = [[item.location for item in _share(World(rank, 3), items, track=True)] for rank in (0, 1, 2)]
    assert tracked == [["a.png", "c.png"], ["b.mp4"], ["d.mp4"]]


def test_a_camera_that_is_not_there_fails_beside_a_video_without_waiting(tmp_path, capfd):
    clip = make_video(tmp_path / "clip.mp4", frames=3)
    assert go(clip, "63", output=tmp_path / "out", patience=1000) == 1
    told = capfd.readouterr().err.splitlines()
    assert told == ["skipped: camera 63: cannot be opened: is it connected, and may this user read it?"]


def test_nothing_read_leaves_no_folder(tmp_path, capsys):
    assert go("http://127.0.0.1:9/live", output=tmp_path / "out", patience=0.1) == 2
    assert not (tmp_path / "out").exists() and "none, as nothing was read" in capsys.readouterr().out
    (tmp_path / "mine").mkdir()
    assert go("http://127.0.0.1:9/live", output=tmp_path / "mine", patience=0.1) == 2
    assert (tmp_path / "mine/summary.json").exists()


def test_mot_is_refused_without_ids(tmp_path):
    clip = make_video(tmp_path / "clip.mp4", frames=1)
    with pytest.raises(ValueError, match=r"--save mot.*add --track"):
        run(Options(sources=(str(clip),), saves=("mot",)), never, threading.Event())


def test_mot_and_coco_of_a_whole_run(tmp_path):
    import json

    pytest.importorskip("trackers")
    clip = make_video(tmp_path / "clip.mp4", frames=6)
    assert go(clip, output=tmp_path / "out", saves=("mot", "coco"), track=True) == 0
    rows = np.loadtxt(tmp_path / "out/mot/clip.txt", delimiter=",")
    assert rows[:, 0].tolist() == [2, 3, 4, 5, 6] and set(rows[:, 1]) == {1}  # an id comes with the second frame
    boxes = [entry["bbox"] for entry in json.loads((tmp_path / "out/coco.json").read_text())]
    np.testing.assert_allclose(rows[:, 2:6], np.add(boxes[1:], [1, 1, 0, 0]), atol=0.005)
