"""A disk that fills up, a store that becomes read-only: one message, and nothing is lost."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from fault_bench import SMALL, Bench, Done, until
from fault_notes import account
from fault_results import differences, results
from kill_study import Undisturbed

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1500)]


def mount(*arguments: str | Path) -> None:
    subprocess.run(["mount", *map(str, arguments)], check=True, capture_output=True)


@contextmanager
def mounted(place: Path, *arguments: str | Path) -> Iterator[None]:
    """A mount at a folder; skips the test where that is not permitted."""
    try:
        mount(*arguments, place)
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"mounting is not permitted here: {error}")
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(place)], check=True)


def assert_stopped_cleanly(done: Done, said: str) -> None:
    assert done.code == 2, done
    assert len(done.messages) == 1, done.err
    assert said in done.messages[0]
    assert "Traceback" not in done.err


def assert_nothing_lost(bench: Bench, reference: Undisturbed) -> None:
    """The same command completes the study, and trains nothing that it found."""
    again = bench.run(*SMALL)
    assert again.code == 0, again
    ids = {trial["id"] for trial in bench.plan(*SMALL)}
    assert differences(results(bench.store), reference.results, ids) == []
    found = account(bench.notes)
    assert not found.wrong
    assert found.commits == len(ids)


def until_one_is_trained(bench: Bench) -> None:
    until(lambda: list(bench.store.glob("trials/*/result.json")), "a trial is trained")


def test_a_full_disk(bench: Bench, reference: Undisturbed) -> None:
    bench.set(save_every_s=0.25)
    bench.store.mkdir()
    with mounted(bench.store, "-t", "tmpfs", "-o", "size=64m", "tmpfs"):
        command = bench.start(*SMALL)
        until_one_is_trained(bench)
        filler = fill(bench.store)
        assert_stopped_cleanly(command.wait(), "No space left on device")
        filler.unlink()
        assert_nothing_lost(bench, reference)


def fill(place: Path) -> Path:
    """Takes all that is left of a disk, as somebody else's file."""
    path = place / "filler"
    with path.open("wb", buffering=0) as file, suppress(OSError):
        while file.write(bytes(1 << 16)):
            pass
    return path


def test_a_store_that_becomes_read_only(bench: Bench, reference: Undisturbed) -> None:
    bench.set(save_every_s=0.25)
    bench.store.mkdir()
    command = bench.start(*SMALL)
    until_one_is_trained(bench)
    # a mount of its own, over which the remount finds nobody writing
    with mounted(bench.store, "--bind", bench.store):
        until(read_only(bench.store), "the store is read-only", within_s=20)
        assert_stopped_cleanly(command.wait(), "Read-only file system")
    assert_nothing_lost(bench, reference)


def read_only(place: Path) -> Callable[[], bool]:
    """Tries to make a mount read-only, which fails while a file on it is open for writing."""
    line = ["mount", "-o", "remount,ro,bind", str(place)]
    return lambda: subprocess.run(line, capture_output=True).returncode == 0
