"""Work shared with processes: every part once, in order, whatever becomes of the workers."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from functools import partial

import psutil
import pytest

from tcc.curves.bulk import MIN_SIZE, spread, workers


def square(number: int) -> tuple[int, int]:
    return number**2, os.getpid()


def square_once_alone(number: int, home: int) -> tuple[int, int]:
    """In a worker, it dies of it."""
    if os.getpid() != home:
        os.kill(os.getpid(), signal.SIGKILL)
    return square(number)


@pytest.fixture
def pool(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1})
    with workers(MIN_SIZE) as pool:
        yield pool


def test_few_trials_or_one_core_start_no_process(monkeypatch):
    with workers(MIN_SIZE - 1) as pool:
        assert pool is None
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0})
    with workers(MIN_SIZE) as pool:
        assert pool is None


def test_without_workers_it_is_done_here_when_asked_for():
    done = []
    found = spread(None, lambda part: done.append(part) or part, [1, 2])
    assert done == []
    assert list(found) == [1, 2]


@pytest.mark.timeout(60)
def test_workers_and_this_process_share_the_parts(pool):
    found = spread(pool, square, range(200))
    time.sleep(4)  # a worker begins at once
    values, places = zip(*found, strict=True)
    assert values == tuple(number**2 for number in range(200))
    assert places[0] != os.getpid()
    assert list(spread(pool, square, [])) == []


@pytest.mark.timeout(60)
def test_what_a_dead_worker_leaves_is_done_here(pool):
    work = partial(square_once_alone, home=os.getpid())
    found = spread(pool, work, range(20))
    time.sleep(3)
    assert [value for value, _ in found] == [number**2 for number in range(20)]
    assert [value for value, _ in spread(pool, square, [3])] == [9]


def test_where_no_process_can_be_started_it_is_done_here(pool, monkeypatch):
    monkeypatch.setattr(pool, "submit", lambda *_: (_ for _ in ()).throw(OSError("no memory")))
    assert [value for value, _ in spread(pool, square, [2, 3])] == [4, 9]


@pytest.mark.timeout(60)
def test_workers_end_with_a_process_that_is_killed(tmp_path):
    script = tmp_path / "unguarded.py"  # and no worker runs it again
    script.write_text(
        "import os, signal\n"
        "from tcc.curves.bulk import MIN_SIZE, spread, workers\n"
        "os.sched_getaffinity = lambda _: {0, 1}\n"
        "with workers(MIN_SIZE) as pool:\n"
        "    print(pool.submit(os.getpid).result(), flush=True)\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    with (tmp_path / "said").open("w") as said:
        done = subprocess.run([sys.executable, script], stdout=said, timeout=50)
    assert done.returncode == -signal.SIGKILL
    (worker,) = (tmp_path / "said").read_text().split()
    until = time.monotonic() + 20
    while psutil.pid_exists(int(worker)) and psutil.Process(int(worker)).status() != "zombie":
        assert time.monotonic() < until
        time.sleep(0.1)
