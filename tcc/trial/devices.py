"""One trial's training on several devices: a process each, all running the same loop.

    parent ─┬─ rank 0   reports, saves, gives the result      gradients are averaged by torch's own
            ├─ rank 1                                         DistributedDataParallel
            └─ …

The ranks have the store, the parent has the observer: what rank 0 says is relayed. When one rank
fails all are ended; when the parent ends they end themselves.
"""

from __future__ import annotations

import math
import multiprocessing
import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from tcc.errors import LostProcessError, TccError, TrialError
from tcc.records import Training, TrialSpec
from tcc.stores import Store
from tcc.trial.interrupt import Stop
from tcc.trial.place import place_of
from tcc.trial.rank import run_rank
from tcc.trial.watch import Listener

POLL_S = 0.2  # between looks at whether to stop
GRACE_S = 2.0  # for a rank to end by itself, or to name the cause of another's fault
SAVING_S = 120.0  # for a step and its state, after an interrupt


def run(trial: TrialSpec, store: Store, listener: Listener, stop: Stop) -> Training:
    """`training.run` on as many devices as the recipe asks for.

    Raises:
        TccError: what the rank that failed first raised.
        TrialError: there are too few devices, or a rank was killed; names the signal or exit code.
        KeyboardInterrupt: ``stop`` said so; the state is saved.
    """
    count = trial.recipe.train.devices
    place_of(trial, 0, count)  # too few devices are told before any process starts
    context = multiprocessing.get_context("spawn")
    asked, log, share = context.Event(), store.log_path(trial.id), store.share(trial.id)
    with _meeting() as meeting, _ended() as ranks:
        for rank in range(count):
            line, end = context.Pipe(duplex=False)
            arguments = (trial, store.uri, share, log, rank, meeting, end, asked)
            process = context.Process(target=run_rank, args=arguments)
            ranks.append(_Rank(process, line))
            process.start()
            end.close()
        relay = _Relay(ranks, listener)
        while relay.result is None:
            relay.hear()
            if stop():
                asked.set()
                relay.give_up()
            relay.raise_fault()
        for rank in ranks:
            rank.process.join(GRACE_S)
        return relay.result


@dataclass
class _Rank:
    """A rank as its parent sees it. ``ended``: it said how, or its process is no more."""

    process: BaseProcess
    line: Connection
    ended: bool = False


class _Relay:
    """Hears the ranks: passes on what the first one says, and finds out what went wrong."""

    def __init__(self, ranks: list[_Rank], listener: Listener):
        self.result: Training | None = None
        self._ranks, self._listener = ranks, listener
        self._faults: list[tuple[int, Exception]] = []  # the likelier a cause, the smaller
        self._faulty_since = self._asked_since = math.inf

    def hear(self) -> None:
        """Waits a moment for messages and deaths, and takes in what there is."""
        running = [rank for rank in self._ranks if not rank.ended]
        ready = wait([x for rank in running for x in (rank.line, rank.process.sentinel)], POLL_S)
        for rank in running:
            dead = rank.process.sentinel in ready
            if rank.line in ready or dead:
                self._drain(rank)
            if dead and not rank.ended:
                rank.ended = True
                self._faults.append((1, _death(self._ranks.index(rank), rank.process)))
        if self._faults:
            self._faulty_since = min(self._faulty_since, time.monotonic())

    def raise_fault(self) -> None:
        """Raises the likeliest cause of what went wrong, once no likelier is to be expected."""
        if self._faults:
            likelihood, error = min(self._faults, key=lambda fault: fault[0])
            if likelihood == 0 or time.monotonic() - self._faulty_since > GRACE_S:
                raise error

    def give_up(self) -> None:
        """Interrupts, if the first rank has long been asked to save and end, or can no more: what
        interrupted the parent may have ended a rank."""
        self._asked_since = min(self._asked_since, time.monotonic())
        if self._faults or time.monotonic() - self._asked_since > SAVING_S:
            raise KeyboardInterrupt

    def _drain(self, rank: _Rank) -> None:
        try:
            while not rank.ended and rank.line.poll():
                self._take(rank, *rank.line.recv())
        except EOFError:  # its process is ending: the sentinel says how
            pass

    def _take(self, rank: _Rank, kind: str, content: tuple[Any, ...]) -> None:
        first = rank is self._ranks[0]
        match kind:
            case "began" | "values" if first:
                getattr(self._listener, kind)(*content)
            case "done":
                rank.ended = True
                self.result = self.result or content[0]
            case "failed":
                rank.ended = True
                error, deliberate = content
                self._faults.append((0 if deliberate else 2, error))
            case "interrupted":
                raise KeyboardInterrupt


@contextmanager
def _ended() -> Iterator[list[_Rank]]:
    """Ranks that are no more when the block is left, however it is."""
    ranks: list[_Rank] = []
    try:
        yield ranks
    finally:
        started = [rank.process for rank in ranks if rank.process.pid is not None]
        for process in started:
            process.kill()
        for process in started:
            process.join()


@contextmanager
def _meeting() -> Iterator[Path]:
    """An empty file by which the ranks find each other. It is this process's memory, so that
    nothing stays of it whatever ends the process."""
    handle = os.memfd_create("tcc-ranks")
    try:
        yield Path(f"/proc/{os.getpid()}/fd/{handle}")
    finally:
        os.close(handle)


def _death(rank: int, process: BaseProcess) -> TccError:
    process.join()
    code = process.exitcode or 0
    if code >= 0:
        return TrialError(
            f"the process of device {rank} ended with code {code} before its training was done"
        )
    name = signal.Signals(-code).name
    reason = f"the process of device {rank} was killed by {name} before its training was done"
    advice = ": the machine may have too little memory for train.devices" * (name == "SIGKILL")
    return LostProcessError(f"{reason}{advice}")
