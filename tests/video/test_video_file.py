from __future__ import annotations

import struct

import av
import numpy as np
import pytest
from fakes import decode, make_video, picture

from detector.video.frames import Selection, SourceError
from detector.video.video_file import VideoFile


def frames_of(path, journal, stop, **selection):
    return list(VideoFile(str(path), str(path), path.stem, Selection(**selection)).frames(journal, stop))


def left_edge(image):
    """Column where the red object of fakes.picture begins."""
    return int(np.nonzero((image[..., 0] > 150) & (image[..., 1] < 100))[1].min())


def turn_display_matrix(path, a, b, c, d):
    """Write the rotation into the mp4's tkhd box by hand (ISO/IEC 14496-12, 8.3.2): 16.16 fixed point."""
    content = bytearray(path.read_bytes())
    at = (
        content.index(b"tkhd") + 4 + 4 + 20 + 8 + 8
    )  # version and flags; times, id, duration; reserved; layer to volume
    content[at : at + 36] = struct.pack(">9i", a << 16, b << 16, 0, c << 16, d << 16, 0, 0, 0, 1 << 30)
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("name", "codec"),
    [("a.mp4", "libx264"), ("b.mkv", "libx264"), ("c.avi", "mpeg4"), ("d.ts", "libx264"), ("e.webm", "libvpx")],
)
def test_every_frame_of_any_container_comes_once_in_order_with_its_time(tmp_path, journal, stop, name, codec):
    path = make_video(tmp_path / name, frames=12, rate=10, codec=codec)
    frames = frames_of(path, journal, stop)
    assert [frame.index for frame in frames] == list(range(12))
    np.testing.assert_allclose([frame.time_s for frame in frames], np.arange(12) / 10, atol=1e-3)
    assert abs(left_edge(frames[10].image) - 28) <= 1 and frames[0].image.shape == (96, 160, 3)
    assert not journal.warnings


def test_a_variable_frame_rate_keeps_its_timestamps(tmp_path, journal, stop):
    times = [0, 40, 90, 400, 440, 1500]
    path = make_video(tmp_path / "vfr.mp4", frames=6, pts=times)
    assert [round(1000 * frame.time_s) for frame in frames_of(path, journal, stop)] == times


@pytest.mark.parametrize(("matrix", "turns"), [((0, 1, -1, 0), -1), ((-1, 0, 0, -1), 2), ((0, -1, 1, 0), 1)])
def test_rotation_metadata_turns_frames_upright(tmp_path, journal, stop, matrix, turns):
    """Matrix (0 1 -1 0) means: shown turned by 90 degrees clockwise, which is numpy's rot90 with k = -1."""
    path = make_video(tmp_path / "phone.mp4", frames=2)
    (stored, *_), *_ = decode(path)
    turn_display_matrix(path, *matrix)
    frame = frames_of(path, journal, stop)[0]
    np.testing.assert_array_equal(frame.image, np.rot90(stored, turns))


def test_every_start_end_and_max_frames_choose_frames_and_keep_their_numbers_and_times(tmp_path, journal, stop):
    path = make_video(tmp_path / "a.mp4", frames=60, rate=10, codec="libx264")
    chosen = frames_of(path, journal, stop, every=5, start=2.0, end=4.0)
    assert [frame.index for frame in chosen] == [20, 25, 30, 35]
    np.testing.assert_allclose([frame.time_s for frame in chosen], [2.0, 2.5, 3.0, 3.5])
    assert [f.index for f in frames_of(path, journal, stop, start=5.0, max_frames=3)] == [50, 51, 52]
    whole = frames_of(path, journal, stop)
    np.testing.assert_array_equal(whole[25].image, chosen[1].image)


def test_seeking_to_a_start_behind_key_frames_numbers_frames_as_decoding_from_the_beginning_does(
    tmp_path, journal, stop
):
    path = tmp_path / "keys.mp4"
    with av.open(str(path), "w") as out:
        stream = out.add_stream("libx264", rate=10, options={"g": "7", "bf": "2"})
        stream.height, stream.width, stream.pix_fmt = 96, 160, "yuv420p"
        for number in range(50):
            out.mux(stream.encode(av.VideoFrame.from_ndarray(picture(number), format="rgb24")))
        out.mux(stream.encode(None))
    whole = frames_of(path, journal, stop)
    for start in (0.65, 2.0, 3.3):
        part = frames_of(path, journal, stop, start=start)
        assert [f.index for f in part] == [f.index for f in whole if f.time_s >= start]
        np.testing.assert_array_equal(part[0].image, whole[part[0].index].image)


def test_expected_frames_are_those_that_come(tmp_path, journal, stop):
    path = make_video(tmp_path / "a.mp4", frames=30)
    for selection in ({}, {"every": 3}, {"max_frames": 4}, {"start": 1.0, "end": 2.0}):
        expected = VideoFile(str(path), "a", "a", Selection(**selection)).expected_frames()
        assert expected == len(frames_of(path, journal, stop, **selection))


@pytest.mark.parametrize("end", [".mp4", ".mkv", ".ts"])
def test_a_truncated_video_gives_the_frames_up_to_the_break_and_a_warning(tmp_path, journal, stop, end):
    front = {"options": {"movflags": "+faststart"}} if end == ".mp4" else {}
    path = make_video(tmp_path / f"cut{end}", frames=100, size=(192, 320), **front)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) * 6 // 10])
    frames = frames_of(path, journal, stop)
    assert 30 < len(frames) < 90
    if end != ".ts":  # a transport stream has no table of contents: it is as long as it is
        assert len(journal.warnings) >= 1 and str(path) in journal.warnings[0]


def test_damage_in_the_middle_costs_frames_there_and_the_rest_goes_on(tmp_path, journal, stop):
    path = make_video(tmp_path / "hit.mp4", frames=100, size=(192, 320), options={"movflags": "+faststart"})
    content = bytearray(path.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 60] = bytes(60)
    path.write_bytes(content)
    frames = frames_of(path, journal, stop)
    assert 80 < len(frames) < 100 and "damaged" in journal.warnings[0]  # key frames are 12 apart here
    numbers = [frame.index for frame in frames]
    assert numbers[-1] == 99 and numbers == [round(10 * frame.time_s) for frame in frames]


@pytest.mark.parametrize(
    ("content", "reason"),
    [(b"", "empty"), (b"just some text\n" * 50, "not a video"), (None, "no such file")],
)
def test_files_that_are_no_video_say_so(tmp_path, journal, stop, content, reason):
    path = tmp_path / "clip.mp4"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(SourceError, match=reason):
        frames_of(path, journal, stop)


def test_an_mp4_that_lost_its_index_and_a_file_with_sound_only_say_so(tmp_path, journal, stop):
    path = make_video(tmp_path / "clip.mp4", frames=30)
    path.write_bytes(path.read_bytes()[:2000])
    with pytest.raises(SourceError, match="cut off"):
        frames_of(path, journal, stop)
    sound = tmp_path / "sound.mkv"
    with av.open(str(sound), "w") as out:
        stream = out.add_stream("aac", rate=8000, layout="mono")
        samples = av.AudioFrame.from_ndarray(np.zeros((1, 4096), np.float32), format="fltp", layout="mono")
        samples.sample_rate = 8000
        out.mux(stream.encode(samples))
        out.mux(stream.encode(None))
    with pytest.raises(SourceError, match="no video"):
        frames_of(sound, journal, stop)


def test_a_playlist_in_disguise_cannot_reach_the_network_or_other_protocols(tmp_path, journal, stop):
    path = tmp_path / "clip.mp4"
    path.write_text("#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nhttp://127.0.0.1:9/x.ts\n#EXT-X-ENDLIST\n")
    with pytest.raises(SourceError):
        frames_of(path, journal, stop)


def test_names_with_spaces_unicode_and_a_colon_open(tmp_path, journal, stop):
    path = make_video(tmp_path / "tmp.mp4", frames=2).rename(tmp_path / "http: fährt 走 50%.mp4")
    assert len(frames_of(path, journal, stop)) == 2


def test_ten_bit_and_full_colour_videos_arrive_as_rgb_bytes(tmp_path, journal, stop):
    path = tmp_path / "deep.mkv"
    with av.open(str(path), "w") as out:
        stream = out.add_stream("ffv1", rate=10)
        stream.height, stream.width, stream.pix_fmt = 95, 161, "yuv444p10le"
        frame = av.VideoFrame.from_ndarray(picture(0, 95, 161), format="rgb24")
        frame = frame.reformat(format="yuv444p10le", dst_colorspace="ITU601", dst_color_range="MPEG", threads=1)
        out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    (frame,) = frames_of(path, journal, stop)
    assert frame.image.shape == (95, 161, 3) and np.abs(frame.image.astype(int) - picture(0, 95, 161)).max() <= 4
