"""Live streams over real sockets on loopback."""

from __future__ import annotations

import socketserver
import threading
import time
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler
from itertools import pairwise

import cv2
import pytest
from fakes import make_video, picture

from detector.video.frames import Selection, SourceError
from detector.video.live import LiveSource, NetworkCamera, Webcam


@contextmanager
def serve(answers):
    """An HTTP server; `answers` are called one after the other to write, the last one again and again."""
    turn = iter(range(10**6))
    quit_ = threading.Event()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            answer = answers[min(next(turn), len(answers) - 1)]
            if answer is None:
                self.send_error(503)
                return
            self.send_response(200)
            self.send_header("Content-Type", getattr(answer, "type", "multipart/x-mixed-replace; boundary=frame"))
            self.end_headers()
            with suppress(OSError):
                answer(self.wfile.write, quit_)

        def log_message(self, *_):
            pass

    class Server(socketserver.ThreadingTCPServer):
        daemon_threads = True
        allow_reuse_address = True

    server = Server(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/live"
    finally:
        quit_.set()
        server.shutdown()
        server.server_close()


def jpegs(count, pause=0.02, then_hang=False):
    """A camera's MJPEG: `count` pictures, then the connection closes or falls silent."""

    def answer(write, quit_):
        for number in range(count):
            content = cv2.imencode(".jpg", picture(number))[1].tobytes()
            write(
                b"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n" % len(content) + content + b"\r\n"
            )
            if quit_.wait(pause):
                return
        if then_hang:
            quit_.wait(30)

    return answer


def live(url, patience=2.0, **selection):
    return LiveSource(NetworkCamera(url, "camera on the gate"), "gate", Selection(**selection), patience)


def test_frames_of_a_stream_arrive_with_rising_times(journal, stop):
    with serve([jpegs(30)]) as url:
        frames = list(live(url, max_frames=10).frames(journal, stop))
    assert len(frames) == 10 and frames[0].image.shape == (96, 160, 3) and frames[0].kind == "live"
    assert all(a.stamp.pts < b.stamp.pts and a.index < b.index for a, b in pairwise(frames))


def test_times_never_go_back_when_the_clock_of_a_stream_is_set_anew(journal, stop):
    class Camera:
        where = "gate"

        def pictures(self, timeout, stop):
            for clock in (0.0, 1.8, 3.0, 3.1):  # the third is too far ahead of its arrival to be believed
                yield clock, 10.0, picture
                time.sleep(0.1)

    frames = list(LiveSource(Camera(), "gate", Selection(max_frames=4), patience=1.0).frames(journal, stop))
    times = [frame.time_s for frame in frames]
    assert times == sorted(times) and times[-1] == 1.8


def test_a_stream_that_stalls_is_connected_again_and_goes_on(journal, stop):
    with serve([jpegs(5, then_hang=True), None, jpegs(200)]) as url:
        frames = list(live(url, patience=3.0, max_frames=20).frames(journal, stop))
    assert len(frames) == 20
    assert "camera on the gate: no data for 1 s; trying again" in journal.warnings[0]
    gap = max(b.time_s - a.time_s for a, b in pairwise(frames))
    assert gap > 0.4  # the pause is in the timestamps: the annotated video shows it too


def test_a_stream_that_stays_away_is_given_up_after_the_bound_with_what_it_gave_kept(journal, stop):
    frames = []
    with serve([jpegs(5), None]) as url, pytest.raises(SourceError, match=r"gave up after \d+ s without a frame"):
        started = time.monotonic()
        for frame in live(url, patience=2.0).frames(journal, stop):
            frames.append(frame)
    assert 1 <= len(frames) <= 5 and time.monotonic() - started < 10
    assert any("trying again" in warning for warning in journal.warnings)


def test_an_address_where_nobody_answers_cannot_be_reached(journal, stop):
    with serve([None]) as url:
        pass  # its port is free again
    with pytest.raises(SourceError, match="cannot be reached"):
        list(live(url, patience=1.0).frames(journal, stop))


def test_a_slow_reader_gets_the_newest_frame_and_is_told_how_many_were_dropped(journal, stop):
    with serve([jpegs(500, pause=0.01)]) as url:
        seen = []
        for frame in live(url, max_frames=6).frames(journal, stop):
            seen.append(frame.index)
            time.sleep(0.15)
    assert seen[-1] > 20, "frames in between were dropped, not queued"
    assert journal.dropped["camera on the gate"] >= seen[-1] - 6


def test_stop_ends_a_silent_stream_at_once(journal, stop):
    with serve([jpegs(3, then_hang=True)]) as url:
        frames = live(url, patience=20.0).frames(journal, stop)
        next(frames)
        threading.Timer(0.3, stop.set).start()
        started = time.monotonic()
        list(frames)
        assert time.monotonic() - started < 3


def test_every_and_end_choose_frames_of_a_stream(journal, stop):
    with serve([jpegs(300, pause=0.01)]) as url:
        frames = list(live(url, every=5, end=0.8).frames(journal, stop))
    assert frames and all(frame.index % 5 == 0 and frame.time_s < 0.8 for frame in frames)


def test_a_transport_stream_over_http_is_read(tmp_path, journal, stop):
    content = make_video(tmp_path / "a.ts", frames=60, rate=30).read_bytes()

    def answer(write, quit_):
        for at in range(0, len(content), 2000):
            write(content[at : at + 2000])
            if quit_.wait(0.01):
                return

    answer.type = "video/mp2t"
    with serve([answer]) as url:
        frames = list(live(url, max_frames=3).frames(journal, stop))
    assert [frame.image.shape for frame in frames] == [(96, 160, 3)] * 3


def test_a_camera_that_is_not_there_says_so(journal, stop):
    with pytest.raises(SourceError, match="cannot be opened"):
        list(LiveSource(Webcam(97), "camera97", Selection(), 0.2).frames(journal, stop))
