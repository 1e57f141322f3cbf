from __future__ import annotations

import cv2
import numpy as np
import pytest
from fakes import make_video, picture

from detector.video.frames import Selection, parse_time
from detector.video.sources import find_items, open_sources

ALL = Selection()


def touch(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"x")
    return path


def names(*arguments, selection=ALL):
    return [(item.kind, item.name) for item in find_items([str(a) for a in arguments], selection)]


def test_a_folder_gives_its_images_and_videos_sorted_with_subfolders_and_without_hidden_or_foreign_files(tmp_path):
    for name in ("b.png", "a.JPG", "sub/c.mp4", ".hidden.png", "notes.md", ".cache/d.png"):
        touch(tmp_path / name)
    assert names(tmp_path) == [("image", "a"), ("image", "b"), ("video", "sub/c")]


def test_equal_file_names_of_two_folders_get_different_output_names(tmp_path):
    touch(tmp_path / "one/000001.png")
    touch(tmp_path / "two/000001.png")
    assert names(tmp_path / "one", tmp_path / "two") == [("image", "one/000001"), ("image", "two/000001")]


def test_names_differ_even_when_only_the_ending_or_the_case_does_or_a_file_is_named_twice(tmp_path):
    a, b, c = touch(tmp_path / "x.png"), touch(tmp_path / "x.jpg"), touch(tmp_path / "X.bmp")
    found = [name for _, name in names(a, b, c, a)]
    assert found == ["x", "x-2", "X-3", "x-4"]


def test_a_pattern_is_expanded_and_a_file_whose_name_looks_like_one_is_taken_as_it_is(tmp_path):
    touch(tmp_path / "a1.png"), touch(tmp_path / "a2.png"), touch(tmp_path / "b1.png"), touch(tmp_path / "c[1].png")
    assert names(f"{tmp_path}/a*.png") == [("image", "a1"), ("image", "a2")]
    assert names(tmp_path / "c[1].png") == [("image", "c[1]")]


def test_a_list_file_names_paths_relative_to_itself_and_urls_and_skips_blank_and_comment_lines(tmp_path):
    touch(tmp_path / "in/a b.png"), touch(tmp_path / "in/ü.mp4")
    listing = tmp_path / "in/list.txt"
    listing.write_text("# frames\n\na b.png\nü.mp4\nmissing.png\nrtsp://cam/1\n", encoding="utf-8")
    assert names(listing) == [("image", "a b"), ("video", "ü"), ("image", "missing"), ("stream", "cam_1")]


def test_cameras_streams_and_files_on_the_web_are_told_apart_and_no_password_is_shown():
    items = find_items(
        ["0", "rtsp://user:secret@10.0.0.5:554/live?token=t", "https://x.org/clip.mp4", "http://h/v.mjpg"], ALL
    )
    assert [item.kind for item in items] == ["camera", "stream", "video", "stream"]
    assert items[1].source == "rtsp://10.0.0.5:554/live" and items[1].name == "10.0.0.5_554_live"
    assert "secret" in items[1].location  # it is needed to connect


def test_every_and_max_frames_choose_among_images_of_the_whole_run(tmp_path):
    for number in range(6):
        touch(tmp_path / f"{number}.png")
    assert names(tmp_path, selection=Selection(every=2, max_frames=2)) == [("image", "0"), ("image", "2")]


def test_images_that_follow_each_other_become_one_source_and_order_is_kept(tmp_path):
    for name in ("a.png", "b.png", "c.mp4", "d.png"):
        touch(tmp_path / name)
    sources = open_sources(find_items([str(tmp_path)], ALL), ALL, 1.0)
    assert [(s.kind, s.name) for s in sources] == [("image", "a"), ("video", "c"), ("image", "d")]
    assert sources[0].expected_frames() == 2


@pytest.mark.parametrize("what", ["missing", "empty folder", "pattern", "empty list", "binary list"])
def test_a_source_that_names_nothing_is_an_error_in_one_line(tmp_path, what):
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty.txt").write_text("# nothing\n")
    (tmp_path / "binary.txt").write_bytes(b"\xff\xfe\x00\x80")
    argument = {
        "missing": tmp_path / "nowhere.mp4",
        "empty folder": tmp_path / "empty",
        "pattern": tmp_path / "*.png",
        "empty list": tmp_path / "empty.txt",
        "binary list": tmp_path / "binary.txt",
    }[what]
    with pytest.raises((ValueError, OSError)) as error:
        find_items([str(argument)], ALL)
    assert str(argument) in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize(("text", "seconds"), [("90", 90), ("1:30", 90), ("1:00:02.5", 3602.5), ("0", 0)])
def test_times_are_seconds_or_clock_readings(text, seconds):
    assert parse_time(text) == seconds


@pytest.mark.parametrize("text", ["", "soon", "1:2:3:4", "-5"])
def test_a_time_that_is_none_is_an_error(text):
    with pytest.raises(ValueError, match=r"\[h:\]m:s"):
        parse_time(text)


def test_selections_that_select_nothing_are_errors():
    for wrong in ({"every": 0}, {"max_frames": 0}, {"start": 5.0, "end": 5.0}):
        with pytest.raises(ValueError, match="--"):
            Selection(**wrong)


# --- image files ---


def read_all(*paths, journal, stop):
    sources = open_sources(find_items([str(p) for p in paths], ALL), ALL, 1.0)
    return [frame for source in sources for frame in source.frames(journal, stop)]


def test_images_of_every_make_arrive_as_rgb_bytes(tmp_path, journal, stop):
    rgb = picture()
    bgr = rgb[..., ::-1]
    cv2.imwrite(str(tmp_path / "a_colour.png"), bgr)
    cv2.imwrite(str(tmp_path / "b_alpha.png"), np.dstack([bgr, np.full(bgr.shape[:2], 7, np.uint8)]))
    cv2.imwrite(str(tmp_path / "c_grey.png"), rgb[..., 0])
    cv2.imwrite(str(tmp_path / "d_16bit.png"), bgr.astype(np.uint16) * 256)
    cv2.imwrite(str(tmp_path / "e_grey16.png"), rgb[..., 0].astype(np.uint16) * 256)
    frames = read_all(tmp_path, journal=journal, stop=stop)
    assert [frame.name for frame in frames] == ["a_colour", "b_alpha", "c_grey", "d_16bit", "e_grey16"]
    grey = np.repeat(rgb[..., :1], 3, axis=2)
    for frame, expected in zip(frames, (rgb, rgb, grey, rgb, grey), strict=True):
        assert frame.image.dtype == np.uint8
        np.testing.assert_array_equal(frame.image, expected, err_msg=frame.name)


def test_a_photo_is_turned_upright_by_its_exif_tag(tmp_path, journal, stop):
    from PIL import Image

    upright = picture()
    exif = Image.Exif()
    exif[0x0112] = 6  # stored on its side; turn 90 degrees clockwise to see it
    stored = Image.fromarray(np.rot90(upright, 1).copy())
    stored.save(tmp_path / "phone.jpg", exif=exif, quality=98, subsampling=0)
    (frame,) = read_all(tmp_path / "phone.jpg", journal=journal, stop=stop)
    assert frame.image.shape == upright.shape
    assert np.abs(frame.image.astype(int) - upright).mean() < 3


def test_broken_images_are_reported_and_the_others_are_read_in_order(tmp_path, journal, stop):
    for number in range(20):
        cv2.imwrite(str(tmp_path / f"{number:02d}.png"), picture(number)[..., ::-1])
    whole = (tmp_path / "03.png").read_bytes()
    (tmp_path / "03.png").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "07.png").write_bytes(b"")
    (tmp_path / "11.png").write_text("not a picture")
    frames = read_all(tmp_path, journal=journal, stop=stop)
    assert [frame.name for frame in frames] == [f"{n:02d}" for n in range(20) if n not in (3, 7, 11)]
    np.testing.assert_array_equal(frames[-1].image, picture(19))
    reasons = {source.rsplit("/", 1)[1]: reason for source, reason in journal.failures.items()}
    assert reasons.keys() == {"03.png", "07.png", "11.png"}
    assert "cut short" in reasons["03.png"] and "empty" in reasons["07.png"] and "decoded" in reasons["11.png"]


def test_a_video_among_images_keeps_its_place(tmp_path, journal, stop):
    cv2.imwrite(str(tmp_path / "a.png"), picture())
    make_video(tmp_path / "b.mp4", frames=3)
    cv2.imwrite(str(tmp_path / "c.png"), picture())
    frames = read_all(tmp_path, journal=journal, stop=stop)
    assert [(f.name, f.index) for f in frames] == [("a", 0), ("b", 0), ("b", 1), ("b", 2), ("c", 0)]
