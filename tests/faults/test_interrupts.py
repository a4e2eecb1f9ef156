"""Ctrl-C and SIGTERM: every trial saves and ends; the next run goes on at that very step."""

from __future__ import annotations

import signal
import time

import pytest
from fault_bench import SMALL, Bench, Command, until
from fault_notes import account, running
from fault_results import differences, results
from kill_study import Undisturbed

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1500)]

GRACE_S = 60.0  # generous: two cores that others use too
PAUSE_S = 0.05  # after each step


def test_interrupted_trials_go_on_at_the_very_step(bench: Bench, reference: Undisturbed) -> None:
    bench.set(pause_s=PAUSE_S)  # and no state is saved by time: only the interrupt saves
    for sent, group in ((signal.SIGINT, True), (signal.SIGINT, False), (signal.SIGTERM, False)):
        command = bench.start(*SMALL)
        trained = until_two_train(bench, command)
        command.signal(sent, group=group)
        done = command.wait(GRACE_S)
        assert done.code == 130, done
        assert len(done.messages) == 1, done.err
        assert "Traceback" not in done.err
        until(lambda: not bench.processes(), "what was started still runs", within_s=30)
        kept = account(bench.notes).trials
        for trial in trained:
            assert kept[trial].done or kept[trial].saved == kept[trial].last, (sent, group, trial)
    assert bench.run(*SMALL).code == 0
    found = account(bench.notes)
    assert not found.wrong
    assert found.again == 0
    ids = [trial["id"] for trial in bench.plan(*SMALL)]
    assert differences(results(bench.store), reference.results, ids) == []


def test_a_second_interrupt_ends_at_once(bench: Bench) -> None:
    bench.set(pause_s=0.1)
    command = bench.start(*SMALL)
    trained = until_two_train(bench, command)
    bench_pids = {note.pid for note in trained.values()}
    for process in bench.processes():
        if process.pid in bench_pids:
            process.suspend()  # none will answer the first
    command.signal(signal.SIGINT)
    time.sleep(1.5)  # within a second it would be the same one
    assert command.running
    command.signal(signal.SIGINT)
    begun = time.monotonic()
    done = command.wait(GRACE_S)
    assert done.code == 130, done
    assert time.monotonic() - begun < 15
    assert "Traceback" not in done.err
    until(lambda: not bench.processes(), "what was started still runs", within_s=30)


def until_two_train(bench: Bench, command: Command):
    """Waits until two trials are in the middle; gives them with their last steps."""
    begun = time.time()

    def in_the_middle():
        assert command.running, command.wait()
        notes = [note for note in bench.notes if note.at > begun]
        found = {id: note for id, note in running(notes).items() if note.number < 90}
        counts = {id: sum(n.trial == id and n.what == "step" for n in notes) for id in found}
        return found if sum(count >= 5 for count in counts.values()) >= 2 else None

    return until(in_the_middle, "two trials train", within_s=400)
