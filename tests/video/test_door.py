"""Whole runs of detect.py in processes of their own, with a detector that needs no weights."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pytest
from fakes import decode, make_video, picture
from test_live import jpegs, serve

from data.formats.kitti import read_labels

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
CLIPS = ROOT.parent / "shared" / "video"


def start(*arguments, cwd, seconds=0.0, env=None, **options):
    command = [sys.executable, str(HERE / "fake_door.py"), str(seconds), *map(str, arguments)]
    return subprocess.Popen(
        command,
        cwd=cwd,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **(env or {})},
        **options,
    )


def detect(*arguments, cwd, seconds=0.0):
    process = start(*arguments, cwd=cwd, seconds=seconds)
    out, err = process.communicate(timeout=120)
    return process.returncode, out, err


def lines(path):
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_a_video_becomes_an_annotated_video_and_a_line_a_frame_in_the_next_free_folder(tmp_path):
    clip = make_video(tmp_path / "my clip ü.mp4", frames=20, rate=10)
    for folder in ("my clip ü", "my clip ü-2"):
        code, out, err = detect(clip, cwd=tmp_path)
        assert (code, err) == (0, "")
        output = tmp_path / "runs/detect" / folder
        assert str(Path("runs/detect") / folder) in out
    images, times, duration = decode(output / "video/my clip ü.mp4")
    assert len(images) == 20 and duration == 2.0 and times[7] == 0.7
    written = lines(output / "detections.jsonl")
    assert [line["frame"] for line in written] == list(range(20)) and written[0]["source"] == str(clip)
    summary = json.loads((output / "summary.json").read_text())
    assert summary["frames"] == 20 and summary["detections"] == {"Car": 20} and summary["failed"] == {}
    assert summary["ms_per_frame"].keys() >= {"read", "preprocess", "network", "postprocess", "draw", "write"}
    assert "20 in" in out and "Car 20" in out


def test_a_folder_of_images_becomes_pictures_and_a_line_each(tmp_path):
    (tmp_path / "in").mkdir()
    for number in range(4):
        cv2.imwrite(str(tmp_path / f"in/{number:06d}.png"), picture(number)[..., ::-1])
    code, *_ = detect("in", "--save", "image,kitti,json,csv", "--crops", "--output", "out", cwd=tmp_path)
    assert code == 0
    assert sorted(p.name for p in (tmp_path / "out/image").iterdir()) == [f"{n:06d}.jpg" for n in range(4)]
    (label,) = read_labels(tmp_path / "out/kitti/000003.txt")
    assert label.box == (14, 40, 38, 56) and label.score == 0.9
    assert lines(tmp_path / "out/detections.jsonl")[3]["detections"][0]["box"] == [14, 40, 38, 56]
    assert len(list((tmp_path / "out/crops/Car").iterdir())) == 4


def test_broken_files_among_many_are_reported_and_skipped_with_status_1(tmp_path):
    make_video(tmp_path / "in_a.mp4", frames=5)
    (tmp_path / "in_b.mp4").write_text("this is text")
    (tmp_path / "in_c.mp4").write_bytes(b"")
    cv2.imwrite(str(tmp_path / "in_d.png"), picture())
    (tmp_path / "in_e.jpg").write_bytes(b"\xff\xd8\xff\xe0 broken")
    make_video(tmp_path / "in_f.mp4", frames=5)
    code, out, err = detect(f"{tmp_path}/in_*", "--output", "out", cwd=tmp_path)
    assert code == 1
    assert len(err.splitlines()) == 3 and all(line.startswith("skipped: ") for line in err.splitlines())
    assert "3 of 6 sources" in out
    summary = json.loads((tmp_path / "out/summary.json").read_text())
    assert {Path(source).name for source in summary["failed"]} == {"in_b.mp4", "in_c.mp4", "in_e.jpg"}
    assert summary["frames"] == 11 and len(decode(tmp_path / "out/video/in_f.mp4")[0]) == 5


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["nowhere.mp4"], "no such file"),
        (["clip.mp4", "--save", "png"], "choose from image,video,kitti,json,csv"),
        (["a.png", "--save", "video"], "all sources are images"),
        (["clip.mp4", "--start", "soon"], "time 'soon'"),
        (["clip.mp4", "--every", "0"], "--every 0"),
        (["clip.mp4", "--batch", "0"], "--batch 0"),
        (["clip.mp4", "--conf", "Car"], "expected a score such as 0.25"),
        (["clip.mp4", "--output", "clip.mp4/out"], "cannot write there"),
        (["text.mp4"], "not a video"),
    ],
)
def test_wrong_input_is_told_in_one_line_with_status_2(tmp_path, arguments, told):
    make_video(tmp_path / "clip.mp4", frames=3)
    (tmp_path / "text.mp4").write_text("this is text")
    cv2.imwrite(str(tmp_path / "a.png"), picture())
    code, _, err = detect(*arguments, cwd=tmp_path)
    assert code == 2 and told in err and len(err.splitlines()) == 1


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_keeps_what_is_done_and_leaves_a_playable_video(tmp_path, sent):
    clip = make_video(tmp_path / "clip.mp4", frames=300, rate=30)
    process = start(clip, "--output", "out", cwd=tmp_path, seconds=0.02)
    written = tmp_path / "out/detections.jsonl"
    deadline = time.monotonic() + 30
    while not (written.exists() and written.read_text().count("\n") >= 10) and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(sent)
    out, err = process.communicate(timeout=30)
    assert (process.returncode, err) == (130, "") and "interrupted" in out
    frames = len(lines(written))
    images, *_ = decode(tmp_path / "out/video/clip.mp4")
    assert 10 <= frames < 300 and len(images) == frames
    assert json.loads((tmp_path / "out/summary.json").read_text())["interrupted"] is True


def test_a_tracked_run_that_is_killed_leaves_whole_files_and_the_same_command_does_it_all(tmp_path):
    arguments = [make_video(tmp_path / "clip.mp4", frames=60), "--track", "--save", "video,kitti,json,csv,coco,mot"]
    process = start(*arguments, "--output", "out", cwd=tmp_path, seconds=0.05)
    written, out = tmp_path / "out/detections.jsonl", tmp_path / "out"
    deadline = time.monotonic() + 60
    while not (written.exists() and written.read_text().count("\n") >= 10) and time.monotonic() < deadline:
        time.sleep(0.05)
    process.kill()
    process.communicate()
    there = {path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file()}
    labels = [name for name in there if name.startswith("kitti/clip/0")]
    hidden = {name for name in there if Path(name).name.startswith(".")}
    assert there - hidden == {"detections.jsonl", "detections.csv", *labels}  # the others are not there before they end
    assert len(lines(written)) >= 10 and all(read_labels(out / name) for name in labels)

    assert detect(*arguments, "--output", "out", cwd=tmp_path)[0] == 0
    assert len(lines(written)) == 60 and len(decode(out / "video/clip.mp4")[0]) == 60
    assert len(json.loads((out / "coco.json").read_text())) == 60
    assert len((out / "mot/clip.txt").read_text().splitlines()) == 59  # an object has an id from its second frame on
    assert not list(out.rglob(".*")), "parts of the killed run are left"


def test_a_name_that_is_no_text_is_a_source_like_others(tmp_path):
    name = os.fsdecode(b"caf\xe9")
    cv2.imwrite(str(tmp_path / "a.png"), picture()[..., ::-1])
    (tmp_path / "a.png").rename(tmp_path / f"{name}.png")
    make_video(tmp_path / "b.mp4", frames=3).rename(tmp_path / f"{name}.mp4")
    saves = "image,video,kitti,json,csv,coco,mot"
    code, _, err = detect(f"{name}.png", f"{name}.mp4", "--track", "--save", saves, "--output", "out", cwd=tmp_path)
    assert (code, err) == (0, "")
    assert {entry["image_id"] for entry in json.loads((tmp_path / "out/coco.json").read_text())} >= {"caf\\udce9"}
    (video,) = (tmp_path / "out/video").iterdir()
    assert len(decode(video)[0]) == 3


def test_a_stream_that_goes_away_is_given_up_with_status_1_and_its_video_so_far_plays(tmp_path):
    with serve([jpegs(15), jpegs(5, then_hang=True), None]) as url:
        code, out, err = detect(url, "--timeout", "2", "--output", "out", cwd=tmp_path)
    frames = len(lines(tmp_path / "out/detections.jsonl"))
    (video,) = (tmp_path / "out/video").iterdir()
    assert code == 1 and 10 <= frames <= 20 and len(decode(video)[0]) == frames
    told = err.splitlines()
    assert sum("trying again in" in line for line in told) >= 2
    assert told[-1].startswith(f"skipped: {url}: gave up after") and "1 of 1 sources" in out


def test_a_full_disk_or_any_failure_while_writing_is_told_once(tmp_path):
    make_video(tmp_path / "clip.mp4", frames=30)
    (tmp_path / "out").mkdir()
    (tmp_path / "out/video").write_text("a file where the folder should be")
    code, _, err = detect("clip.mp4", "--output", "out", cwd=tmp_path)
    assert code == 2 and len(err.splitlines()) == 1 and "out/video" in err


def test_two_processes_of_torchrun_share_the_sources_and_join_their_outputs(tmp_path):
    pytest.importorskip("torch")
    (tmp_path / "in").mkdir()
    for number in range(7):
        cv2.imwrite(str(tmp_path / f"in/{number:06d}.png"), picture(number)[..., ::-1])
    make_video(tmp_path / "in/x.mp4", frames=5)
    make_video(tmp_path / "in/y.mp4", frames=6)
    (tmp_path / "in/z.mp4").write_text("text")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    place = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "OMP_NUM_THREADS": "1"}
    arguments = ["in", "--save", "image,video,kitti,json,csv,coco"]
    ranks = [start(*arguments, cwd=tmp_path, env={**place, "RANK": str(rank)}) for rank in range(2)]
    _, other = [process.communicate(timeout=120) for process in ranks]
    assert ([process.returncode for process in ranks], other[0]) == ([1, 0], ""), other
    output = tmp_path / "runs/detect/in"
    together = lines(output / "detections.jsonl")
    names = [Path(line["source"]).name for line in together]
    assert names == [f"{n:06d}.png" for n in range(7)] + ["x.mp4"] * 5 + ["y.mp4"] * 6
    assert len((output / "detections.csv").read_text().splitlines()) == 1 + 18
    assert sorted(p.name for p in output.iterdir()) == [
        "coco.json",
        "detections.csv",
        "detections.jsonl",
        "image",
        "kitti",
        "summary.json",
        "video",
    ]
    assert len(json.loads((output / "coco.json").read_text())) == 18
    summary = json.loads((output / "summary.json").read_text())
    assert summary["frames"] == 18 and list(summary["failed"]) == ["in/z.mp4"] and summary["detections"] == {"Car": 18}
    assert len(decode(output / "video/y.mp4")[0]) == 6


@pytest.mark.skipif(shutil.which("Xvfb") is None, reason="needs Xvfb, a screen that nobody sees")
def test_a_window_opens_and_closes_and_everything_is_saved_beside_it(tmp_path):
    make_video(tmp_path / "clip.mp4", frames=10)
    ours, theirs = os.pipe()
    screen = subprocess.Popen(["Xvfb", "-displayfd", str(theirs)], pass_fds=[theirs], stderr=subprocess.DEVNULL)
    try:
        place = {"DISPLAY": f":{os.read(ours, 20).decode().strip()}", "QT_LOGGING_RULES": "*=false"}
        process = start("clip.mp4", "--show", "--output", "out", cwd=tmp_path, env=place)
        out, err = process.communicate(timeout=60)
    finally:
        screen.terminate()
        screen.wait()
    assert process.returncode == 0 and "10 in" in out, err
    assert len(decode(tmp_path / "out/video/clip.mp4")[0]) == 10


@pytest.mark.slow
@pytest.mark.parametrize("clip", ["kitti_2011_09_26_drive_0052.mp4", "solidWhiteRight.mp4"])
def test_a_real_clip_comes_out_with_the_same_frames_times_and_duration(tmp_path, clip):
    if not (CLIPS / clip).exists():
        pytest.skip(f"no real clips in {CLIPS}")
    assert detect(CLIPS / clip, "--output", "out", cwd=tmp_path)[0] == 0
    (images, times, duration), (drawn, new_times, new_duration) = (
        decode(CLIPS / clip),
        decode(tmp_path / "out/video" / clip),
    )
    assert len(drawn) == len(images) and drawn[0].shape == images[0].shape
    assert new_times == pytest.approx(times) and new_duration == pytest.approx(duration)
    # the same picture up to compression and the boxes
    assert np.median(np.abs(drawn[30].astype(int) - images[30])) < 6


@pytest.mark.slow
def test_memory_stays_flat_over_a_long_video(tmp_path):
    """A clip listed 60 times, 12 000 frames: the process must not grow between the first and the last third."""
    psutil = pytest.importorskip("psutil")
    make_video(tmp_path / "clip.mp4", frames=12_000, rate=10)
    process = start("clip.mp4", "--output", "out", cwd=tmp_path)
    readings = []
    watched = psutil.Process(process.pid)
    while process.poll() is None:
        try:
            readings.append(watched.memory_info().rss / 2**20)
        except psutil.NoSuchProcess:
            break
        time.sleep(0.1)
    assert process.returncode == 0 and len(readings) > 15
    middle, end = readings[len(readings) // 3], readings[-2]
    assert end - middle < 30, f"{middle:.0f} MiB after a third, {end:.0f} MiB at the end"
