from __future__ import annotations

import pytest

from detector.inference.cores import thread_count, usable_cores


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """Four cores of two hardware threads each: 0 and 4 share one, 1 and 5, and so on."""
    for cpu in range(8):
        folder = tmp_path / f"cpu{cpu}" / "topology"
        folder.mkdir(parents=True)
        (folder / "thread_siblings_list").write_text(f"{cpu % 4},{cpu % 4 + 4}\n")
    quota = tmp_path / "cpu.max"
    quota.write_text("max 100000\n")

    def cores(allowed, limit="max 100000"):
        quota.write_text(limit + "\n")
        monkeypatch.setattr("os.sched_getaffinity", lambda _: set(allowed), raising=False)
        return usable_cores(tmp_path, quota)

    return cores


def test_hardware_threads_of_one_core_count_once(machine):
    assert machine(range(8)) == 4


def test_only_cores_this_process_may_use_count(machine):
    assert machine({0, 1}) == 2
    assert machine({0, 4}) == 1


def test_a_container_gets_its_quota(machine):
    assert machine(range(8), "200000 100000") == 2
    assert machine(range(8), "50000 100000") == 1
    assert machine(range(8), "1600000 100000") == 4


def test_unknown_topology_counts_what_is_allowed(tmp_path, monkeypatch):
    monkeypatch.setattr("os.sched_getaffinity", lambda _: {2, 3, 7}, raising=False)
    assert usable_cores(tmp_path, tmp_path / "nothing") == 3


def test_the_user_goes_before_the_environment_and_that_before_the_cores(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    assert thread_count(5) == 5
    assert thread_count(None) == 3
    monkeypatch.setenv("OMP_NUM_THREADS", "many")
    assert thread_count(None) == usable_cores()
