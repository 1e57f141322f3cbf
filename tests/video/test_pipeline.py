from __future__ import annotations

import threading
import time
from fractions import Fraction

import pytest
from fakes import BrightSpot, picture

from detector.video.frames import Frame, SourceError, Stamp
from detector.video.pipeline import Pipeline
from detector.video.tracking import Tracker


class Clip:
    kind = "video"

    def __init__(self, frames=20, seconds=0.0, name="clip", error=None, kind="video"):
        self.count, self.seconds, self.source, self.name, self.error, self.kind = (
            frames,
            seconds,
            name,
            name,
            error,
            kind,
        )
        self.given = 0

    def frames(self, journal, stop):
        for number in range(self.count):
            if stop.is_set():
                return
            time.sleep(self.seconds)
            self.given += 1
            stamp = Stamp(number, 1, Fraction(1, 10), Fraction(10))
            yield Frame(self.source, self.name, self.kind, number, number / 10, picture(number), stamp)
        if self.error is not None:
            raise self.error

    def expected_frames(self):
        return self.count


class Record:
    wants_drawing = False

    def __init__(self, seconds=0.0, fail_at=None, wants_drawing=False):
        self.seconds, self.fail_at, self.wants_drawing = seconds, fail_at, wants_drawing
        self.written, self.ended, self.closed, self.results = [], [], 0, []

    def write(self, result):
        time.sleep(self.seconds)
        if self.fail_at is not None and len(self.written) == self.fail_at:
            raise OSError("disk full")
        self.written.append((result.frame.name, result.frame.index))
        self.results.append(result)

    def end(self, name):
        self.ended.append((name, len(self.written)))

    def close(self):
        self.closed += 1


def pipeline(sources, journal, stop, detector=None, sink=None, **options):
    sink = sink or Record()
    return Pipeline(sources, detector or BrightSpot(), [sink], journal, stop, **options), sink


@pytest.mark.parametrize(("batch", "ahead"), [(1, 1), (3, 1), (8, 1), (1, 3), (3, 2)])
def test_frames_of_all_sources_come_out_once_and_in_order_with_their_own_boxes(journal, stop, batch, ahead):
    sources, detector = [Clip(10, name="a"), Clip(0, name="none"), Clip(7, name="b")], BrightSpot(ahead=ahead)
    run, sink = pipeline(sources, journal, stop, detector, batch=batch)
    report = run.run()
    assert detector.most_begun == ahead and detector.begun == 0
    assert sink.written == [("a", n) for n in range(10)] + [("b", n) for n in range(7)]
    assert sink.ended == [("a", 10), ("none", 10), ("b", 17)] and sink.closed == 1
    for result in sink.results:
        assert result.detections.boxes[0].tolist() == [8 + 2 * result.frame.index, 40, 32 + 2 * result.frame.index, 56]
    assert report.frames == 17 and report.detections == {"Car": 17}


def test_a_camera_never_waits_for_the_frame_after_the_next(journal, stop):
    detector = BrightSpot(ahead=3)
    pipeline([Clip(5, kind="live")], journal, stop, detector)[0].run()
    assert detector.most_begun == 1 and sum(detector.calls) == 5


def test_a_run_without_sources_ends(journal, stop):
    """As on a rank that got none."""
    run, sink = pipeline([], journal, stop)
    assert run.run().frames == 0 and sink.closed == 1


def test_full_batches_are_made_of_files(journal, stop):
    detector = BrightSpot()
    pipeline([Clip(20)], journal, stop, detector, batch=8)[0].run()
    assert detector.calls == [8, 8, 4]


def test_stages_run_beside_each_other(journal, stop):
    """Reader, detector and writer meet inside their work, which they can only do if none waits for another."""
    meeting = threading.Barrier(3, timeout=20)

    class Reader(Clip):
        def frames(self, journal, stop):
            for frame in super().frames(journal, stop):
                if frame.index == 4:
                    meeting.wait()
                yield frame

    class Network(BrightSpot):
        def predict(self, images):
            if len(self.calls) == 2:
                meeting.wait()
            return super().predict(images)

    class Writer(Record):
        def write(self, result):
            if result.frame.index == 0:
                meeting.wait()
            super().write(result)

    run, sink = pipeline([Reader(10)], journal, stop, Network(), Writer())
    run.run()
    assert not meeting.broken and len(sink.written) == 10


@pytest.mark.parametrize("ahead", [1, 3])
def test_a_network_that_fails_ends_the_run_after_the_frames_before_it(journal, stop, ahead):
    class Network(BrightSpot):
        def predict(self, images):
            found = super().predict(images)
            if found[0].boxes[0, 0] == 8 + 2 * 4:
                raise RuntimeError("the network broke")
            return found

    run, sink = pipeline([Clip(500, seconds=0.001)], journal, stop, Network(ahead=ahead))
    with pytest.raises(RuntimeError, match="broke"):
        run.run()
    assert [n for _, n in sink.written] == [0, 1, 2, 3] and sink.closed == 1


def test_a_fast_reader_waits_for_a_slow_writer_so_memory_stays_bounded(journal, stop):
    clip, ahead = Clip(60), []

    class Watch(Record):
        def write(self, result):
            super().write(result)
            ahead.append(clip.given - len(self.written))

    pipeline([clip], journal, stop, sink=Watch(seconds=0.005), batch=1)[0].run()
    assert max(ahead) <= 8  # two queues of two, and one frame in the hands of each stage


def test_a_broken_source_is_reported_and_the_next_goes_on(journal, stop):
    broken = Clip(3, name="broken", error=SourceError("cannot be decoded"))
    run, sink = pipeline([Clip(2, name="a"), broken, Clip(2, name="b")], journal, stop)
    run.run()
    assert [name for name, _ in sink.written] == ["a"] * 2 + ["broken"] * 3 + ["b"] * 2
    assert journal.failures == {"broken": "cannot be decoded"}


@pytest.mark.parametrize("stage", ["read", "infer", "write"])
def test_an_error_in_any_stage_stops_all_is_raised_once_and_keeps_finished_frames(journal, stop, stage):
    clip = Clip(500, seconds=0.001, error=None)
    detector, sink = BrightSpot(), Record()
    if stage == "read":
        clip = Clip(10, error=ZeroDivisionError("reader broke"))
    if stage == "infer":
        detector = BrightSpot(fail_at=10)
    if stage == "write":
        sink = Record(fail_at=10)
    run, _ = pipeline([clip, Clip(500, name="later")], journal, stop, detector, sink)
    with pytest.raises((ZeroDivisionError, RuntimeError, OSError), match=r"broke|full"):
        run.run()
    assert sink.closed == 1 and len(sink.written) <= 10
    if stage != "read":
        assert len(sink.written) == 10 and clip.given < 30
    time.sleep(0.3)
    assert not [t for t in threading.enumerate() if t.name in ("read", "infer")]


def test_stop_ends_in_order_and_what_was_inferred_is_written(journal, stop):
    detector = BrightSpot(seconds=0.005)
    run, sink = pipeline([Clip(10_000, seconds=0.001)], journal, stop, detector)
    threading.Timer(0.3, stop.set).start()
    started = time.monotonic()
    run.run()
    assert time.monotonic() - started < 20 and 1 < len(sink.written) < 1000
    assert [n for _, n in sink.written] == list(range(len(sink.written)))
    assert sum(detector.calls) - len(sink.written) <= 1 and sink.closed == 1


def test_one_sink_that_cannot_close_does_not_keep_the_others_open(journal, stop):
    class Stuck(Record):
        def close(self):
            raise OSError("disk full")

    good = Record()
    with pytest.raises(OSError, match="disk full"):
        Pipeline([Clip(3)], BrightSpot(), [Stuck(), good], journal, stop).run()
    assert good.closed == 1


def test_sinks_for_data_see_the_clean_picture_and_those_for_looking_the_drawn_one(journal, stop):
    seen = {}

    class Look(Record):
        def write(self, result):
            seen[self.wants_drawing] = result.frame.image.copy()

    Pipeline([Clip(1)], BrightSpot(), [Look(wants_drawing=True), Look()], journal, stop).run()
    assert (seen[False] == picture()).all() and (seen[True] != picture()).any()


def test_two_live_sources_are_read_at_the_same_time_and_not_batched_late(journal, stop):
    a, b = Clip(20, 0.01, "a", kind="live"), Clip(20, 0.01, "b", kind="live")
    run, sink = pipeline([a, b], journal, stop, batch=8)
    run.run()
    first_half = {name for name, _ in sink.written[:20]}
    assert first_half == {"a", "b"} and len(sink.written) == 40


def test_tracking_gives_ids_and_counts_tracks_per_class(journal, stop):
    pytest.importorskip("trackers", reason="the package trackers is optional")
    run, sink = pipeline(
        [Clip(10, name="a"), Clip(10, name="b")], journal, stop, make_tracker=lambda rate: Tracker(rate, 0.25)
    )
    report = run.run()
    ids = [result.ids[0] for result in sink.results]
    assert ids == [None] + [1] * 9 + [None] + [1] * 9  # every video counts from 1
    assert report.tracks == {"Car": 2, "Pedestrian": 0}
