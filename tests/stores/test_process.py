"""Whether a process is still there, of which only a record is left."""

from __future__ import annotations

import os
import subprocess
import sys
import time

from tcc.stores import _process


def test_a_process_is_known_by_its_id_and_its_start():
    own, machine = os.getpid(), _process.machine()
    started = _process.started(own)
    assert not _process.is_dead(machine, own, started)
    assert _process.is_dead(machine, own, started - 1)  # the id was given again
    assert not _process.is_dead("another machine", own, started - 1)
    ended = subprocess.Popen([sys.executable, "-c", ""])
    began = _process.started(ended.pid)
    time.sleep(0.2)
    while not _process.is_dead(machine, ended.pid, began):  # before it was waited for, too
        time.sleep(0.01)
    ended.wait()
    assert _process.is_dead(machine, ended.pid, began)
    assert not _process.is_dead(machine, 1, _process.started(1))


def test_what_a_dead_process_left_is_known_by_its_mark():
    assert not _process.left_by_dead(_process.mark())
    command = "from tcc.stores._process import mark; print(mark())"
    left = subprocess.run([sys.executable, "-c", command], capture_output=True, text=True)
    assert _process.left_by_dead(left.stdout.strip())
    assert not _process.left_by_dead("0123")
