from __future__ import annotations

import csv
import json
import threading
from dataclasses import replace
from fractions import Fraction

import cv2
import numpy as np
import pytest
from fakes import CLASSES, decode, picture

from data.formats.kitti import read_labels
from detector.inference.detections import Detections
from detector.video import picture_files
from detector.video.encoder import VideoEncoder
from detector.video.frames import Frame, Stamp
from detector.video.sink import Result
from detector.video.sinks import make_sinks

FOUND = Detections(
    np.array([[10.5, 20.25, 40, 60], [-5, 80, 30, 200]], np.float32), np.array([0.9, 0.3], np.float32), np.array([0, 1])
)
NOTHING = Detections(np.zeros((0, 4), np.float32), np.zeros(0, np.float32), np.zeros(0, np.int64))


def image_frame(name="drive/000007"):
    return Frame(f"/in/{name}.png", name, "image", 0, 0.0, picture())


def video_frame(number, name="clip", rate=10, height=96, width=160):
    stamp = Stamp(number, 1, Fraction(1, rate), Fraction(rate))
    return Frame(f"/in/{name}.mp4", name, "video", number, number / rate, picture(number, height, width), stamp)


def write(tmp_path, saves, *results, crops=False, ids=False):
    made = make_sinks(tmp_path, saves, crops, False, ids, "", threading.Event())
    for result in results:
        for sink in made:
            sink.write(result)
    for sink in made:
        sink.close()


def test_a_line_of_detections_jsonl_has_the_fixed_keys_and_the_boxes_in_pixels(tmp_path):
    write(tmp_path, ["json"], Result(video_frame(3), FOUND, CLASSES), Result(image_frame(), NOTHING, CLASSES))
    first, second = map(json.loads, (tmp_path / "detections.jsonl").read_text().splitlines())
    assert first == {
        "source": "/in/clip.mp4",
        "frame": 3,
        "time_s": 0.3,
        "width": 160,
        "height": 96,
        "detections": [
            {"class": "Car", "score": 0.9, "box": [10.5, 20.25, 40.0, 60.0]},
            {"class": "Pedestrian", "score": 0.3, "box": [-5.0, 80.0, 30.0, 200.0]},
        ],
    }
    assert second["detections"] == [] and second["frame"] == 0


def test_ids_are_written_when_tracking(tmp_path):
    write(tmp_path, ["json", "csv"], Result(video_frame(0), FOUND, CLASSES, [7, None]), ids=True)
    line = json.loads((tmp_path / "detections.jsonl").read_text())
    assert [found["id"] for found in line["detections"]] == [7, None]
    rows = list(csv.DictReader((tmp_path / "detections.csv").read_text().splitlines()))
    assert [row["id"] for row in rows] == ["7", ""]


def test_csv_has_a_line_for_each_object(tmp_path):
    write(tmp_path, ["csv"], Result(video_frame(3), FOUND, CLASSES), Result(image_frame(), NOTHING, CLASSES))
    rows = list(csv.DictReader((tmp_path / "detections.csv").read_text().splitlines()))
    assert len(rows) == 2
    assert ",".join(rows[0]) == "source,frame,time_s,class,score,x1,y1,x2,y2"
    assert list(rows[0].values()) == ["/in/clip.mp4", "3", "0.3", "Car", "0.9", "10.5", "20.25", "40.0", "60.0"]


def test_kitti_files_have_the_decimals_of_evaluate_and_are_empty_where_nothing_was_found(tmp_path):
    write(tmp_path, ["kitti"], Result(video_frame(3), FOUND, CLASSES), Result(image_frame(), NOTHING, CLASSES))
    car, pedestrian = read_labels(tmp_path / "kitti/clip/000003.txt")
    assert (car.name, car.box, car.score) == ("Car", (10.5, 20.25, 40.0, 60.0), 0.9)  # 2 and 6 decimals, as evaluate.py
    assert pedestrian.name == "Pedestrian" and len((tmp_path / "kitti/clip/000003.txt").read_text().split()) == 32
    assert (tmp_path / "kitti/drive/000007.txt").read_text() == ""


def test_cocos_own_program_reads_coco_json(tmp_path):
    from pycocotools.coco import COCO

    found = replace(FOUND, classes=CLASSES)
    write(tmp_path, ["coco"], *(Result(image_frame(name), found, CLASSES) for name in ("000007", "drive/8")))
    truth = COCO()
    images = [{"id": 7}, {"id": "drive/8"}]
    truth.dataset = {"images": images, "annotations": [], "categories": [{"id": 1}, {"id": 2}]}
    truth.createIndex()
    results = truth.loadRes(str(tmp_path / "coco.json"))
    pedestrian = results.loadAnns(results.getAnnIds(imgIds=[7], catIds=[2]))[0]
    assert (pedestrian["bbox"], pedestrian["score"]) == ([-5, 80, 35, 120], 0.3)
    assert len(results.getAnnIds(imgIds=["drive/8"])) == 2
    write(tmp_path, ["coco"], Result(image_frame(), NOTHING, CLASSES))
    assert json.loads((tmp_path / "coco.json").read_text()) == []


def test_mot_counts_from_one_and_leaves_out_what_has_no_id_yet(tmp_path):
    results = [Result(video_frame(number), FOUND, CLASSES, [7, None]) for number in (0, 5)]
    results += [Result(image_frame(name), FOUND, CLASSES, [None, 2]) for name in ("a", "b")]
    write(tmp_path, ["mot"], *results, ids=True)
    car = "7,11.50,21.25,29.50,39.75,0.900000,-1,-1,-1"
    assert (tmp_path / "mot/clip.txt").read_text() == f"1,{car}\n6,{car}\n"
    person = "2,-4.00,81.00,35.00,120.00,0.300000,-1,-1,-1"
    assert (tmp_path / "mot.txt").read_text() == f"1,{person}\n2,{person}\n"


def test_pictures_of_images_go_to_images_and_those_of_videos_too_unless_saved_as_video(tmp_path):
    write(tmp_path / "a", ["image"], Result(image_frame(), FOUND, CLASSES), Result(video_frame(2), FOUND, CLASSES))
    assert cv2.imread(str(tmp_path / "a/image/drive/000007.jpg")).shape == (96, 160, 3)
    assert (tmp_path / "a/image/clip/000002.jpg").exists()
    write(
        tmp_path / "b",
        ["image", "video"],
        Result(image_frame(), FOUND, CLASSES),
        Result(video_frame(2), FOUND, CLASSES),
    )
    assert (tmp_path / "b/image/drive/000007.jpg").exists() and not (tmp_path / "b/image/clip").exists()
    assert (tmp_path / "b/video/clip.mp4").exists()


def test_crops_are_cut_at_the_image_border_and_sorted_by_class(tmp_path):
    boxes = np.array([[10.5, 20.25, 39.2, 59.5], [-5, 80, 30, 200]], np.float32)
    found = Detections(boxes, FOUND.scores, FOUND.labels)
    write(tmp_path, [], Result(video_frame(0), found, CLASSES), crops=True)
    assert cv2.imread(str(tmp_path / "crops/Car/clip/000000_0.jpg")).shape == (40, 30, 3)
    assert cv2.imread(str(tmp_path / "crops/Pedestrian/clip/000000_1.jpg")).shape == (16, 30, 3)


@pytest.mark.parametrize(("height", "width"), [(96, 160), (95, 161), (375, 1242)])
def test_a_video_plays_in_a_browser_even_sides_h264_420_with_its_index_in_front(tmp_path, height, width):
    import av

    frames = [video_frame(n, height=height, width=width) for n in range(8)]
    write(tmp_path, ["video"], *(Result(frame, NOTHING, CLASSES) for frame in frames))
    path = tmp_path / "video/clip.mp4"
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        assert (stream.codec_context.name, stream.codec_context.pix_fmt) == ("h264", "yuv420p")
        assert (stream.height, stream.width) == (height + height % 2, width + width % 2)
    content = path.read_bytes()
    assert content.index(b"moov") < content.index(b"mdat")
    images, times, duration = decode(path)
    assert len(images) == 8 and times == [n / 10 for n in range(8)] and duration == 0.8
    difference = np.abs(images[5][:height, :width].astype(int) - frames[5].image)
    assert difference.mean() < 3 and np.median(np.abs(images[5][41:54, 22:38, :].astype(int) - (250, 30, 30))) < 12


def test_a_variable_frame_rate_comes_out_as_it_went_in(tmp_path):
    times = [0, 40, 90, 400, 440, 1500]
    encoder = None
    for number, time in enumerate(times):
        stamp = Stamp(1_000_000 + time, 40, Fraction(1, 1000), Fraction(25))
        encoder = encoder or VideoEncoder(tmp_path / "v.mp4", picture(), stamp)
        encoder.write(picture(number), stamp)
    encoder.close()
    images, out, duration = decode(tmp_path / "v.mp4")
    assert [round(1000 * t) for t in out] == times and abs(duration - 1.54) < 1e-6 and len(images) == 6


def test_a_stream_that_changes_its_size_goes_on_in_the_size_of_its_first_frame(tmp_path):
    first, second = video_frame(0), video_frame(1, height=192, width=320)
    write(tmp_path, ["video"], Result(first, NOTHING, CLASSES), Result(second, NOTHING, CLASSES))
    images, *_ = decode(tmp_path / "video/clip.mp4")
    assert [image.shape for image in images] == [(96, 160, 3)] * 2


def test_no_half_written_file_stands_under_a_final_name(tmp_path):
    made = make_sinks(tmp_path, ["video"], False, False, False, "", threading.Event())
    made[0].write(Result(video_frame(0), NOTHING, CLASSES))
    assert not (tmp_path / "video/clip.mp4").exists()
    made[0].end("clip")
    assert [path.name for path in (tmp_path / "video").iterdir()] == ["clip.mp4"]


def test_show_without_a_display_or_with_a_headless_opencv_is_told_in_a_line(monkeypatch):
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    monkeypatch.setattr(picture_files.sys, "platform", "linux")
    monkeypatch.setattr(cv2, "getBuildInformation", lambda: "  GUI:                           QT5\n")
    with pytest.raises(ValueError, match="no display"):
        picture_files.require_window()
    monkeypatch.setattr(cv2, "getBuildInformation", lambda: "  GUI:                           NONE\n")
    with pytest.raises(ValueError, match="headless"):
        picture_files.require_window()


def test_the_window_shows_each_frame_and_q_stops_the_run(monkeypatch):
    stop, shown = threading.Event(), []
    monkeypatch.setattr(cv2, "imshow", lambda title, image: shown.append((title, image[50, 10].tolist())))
    monkeypatch.setattr(cv2, "waitKey", lambda ms: ord("q") if len(shown) == 2 else -1)
    monkeypatch.setattr(cv2, "getWindowProperty", lambda title, what: 1.0)
    window = picture_files.WindowSink(stop)
    window.write(Result(video_frame(0), NOTHING, CLASSES))
    assert not stop.is_set() and shown == [("/in/clip.mp4", [30, 30, 250])]  # OpenCV shows blue, green, red
    window.write(Result(video_frame(1), NOTHING, CLASSES))
    assert stop.is_set()
