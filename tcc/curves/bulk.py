"""Shares the work on many curves with processes, where there is enough of it to pay for them."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Executor, Future
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager, suppress
from typing import TypeVar

MIN_SIZE = 2000  # trials; a process takes a second or two until it can begin
MAX_WORKERS = 7

_Part = TypeVar("_Part")
_Done = TypeVar("_Done")


@contextmanager
def workers(size: int) -> Iterator[Executor | None]:
    """One process for each core but this one's; None where there is no other or too little to do.

    Args:
        size: of the work, in trials.
    """
    affinity = getattr(os, "sched_getaffinity", None)  # Linux alone
    cores = len(affinity(0)) if affinity else os.cpu_count() or 1
    count = min(cores - 1, MAX_WORKERS)
    if size < MIN_SIZE or count < 1:
        yield None
        return
    from loky.process_executor import ProcessPoolExecutor

    # Neither forked, since the caller may hold Ray's threads, nor the standard library's spawned
    # processes, which would run a caller's script again that has no `if __name__ == "__main__"`.
    try:
        pool = ProcessPoolExecutor(
            count,
            initializer=_follow,
            initargs=(os.getpid(),),
            env={"OPENBLAS_NUM_THREADS": "1"},  # small matrices, and no core is idle
        )
    except OSError:  # a machine without shared memory
        yield None
        return
    try:
        with suppress(OSError):  # told where there is work
            pool.submit(_load)
        yield pool
    finally:
        pool.shutdown(kill_workers=True)


def spread(
    pool: Executor | None, work: Callable[[_Part], _Done], parts: Iterable[_Part]
) -> Iterator[_Done]:
    """``work`` of every part, in order. Workers begin at once; what none has begun when the first
    result is asked for is done here, from the end on, and so is what a dead worker leaves."""
    parts = list(parts)
    if pool is None:
        return map(work, parts)
    try:
        futures = [pool.submit(work, part) for part in parts]
    except (BrokenProcessPool, OSError):  # no process can be started
        return map(work, parts)
    return _collected(futures, work, parts)


def _collected(
    futures: Sequence[Future[_Done]], work: Callable[[_Part], _Done], parts: Sequence[_Part]
) -> Iterator[_Done]:
    here: dict[int, _Done] = {}
    for at in reversed(range(len(parts))):
        if futures[at].cancel():
            here[at] = work(parts[at])
    for at, future in enumerate(futures):
        if at in here:
            yield here.pop(at)
            continue
        try:
            found = future.result()
        except BrokenProcessPool:
            found = work(parts[at])
        yield found


def _load() -> None:
    """What verdicts need, before the first is asked for: it takes as long as a worker's start."""
    import scipy.interpolate  # noqa: F401


def _follow(parent: int) -> None:
    """A worker leaves Ctrl-C to the process that it works for, and ends with that."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)

    def end() -> None:
        while os.getppid() == parent:
            time.sleep(1.0)
        os._exit(1)

    threading.Thread(target=end, daemon=True).start()
