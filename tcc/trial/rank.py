"""One rank of a trial on several devices: the process that `devices` starts, and what it says.

Messages to the parent are (kind, content): ``began`` and ``values``, as `Listener` has them, and a
last one of ``done``, ``interrupted`` or ``failed`` (an error, and whether it was deliberate).
"""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
import socket
import threading
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from multiprocessing.connection import Connection
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import Any

import torch.distributed as dist

from tcc.errors import TccError, TrialError
from tcc.records import TrialSpec
from tcc.stores import Share, open_store
from tcc.trial import training
from tcc.trial.logs import logging_to, print_to
from tcc.trial.numerics import settled
from tcc.trial.parents import build
from tcc.trial.place import Place, place_of

log = logging.getLogger("tcc.trial")

SILENCE = timedelta(minutes=30)  # that a rank bears of another: a select split can take long


class Line:
    """A rank's line to its parent, which hears the training by it."""

    def __init__(self, connection: Connection):
        self._connection = connection

    def say(self, kind: str, *content: Any) -> None:
        """Sends a message."""
        self._connection.send((kind, content))

    def began(self, step: int, seconds: float) -> None:
        self.say("began", step, seconds)

    def values(self, step: int, values: Mapping[str, float]) -> None:
        self.say("values", step, dict(values))


def run_rank(
    trial: TrialSpec, store_uri: str, share: Share | None, log_path: Path, rank: int,
    meeting: Path, line: Connection, asked: Event,
) -> None:  # fmt: skip
    """Runs one rank to its end, and says how it ended. ``share``: in the parent's work on the
    trial; ``meeting``: an empty file, by which the ranks find each other; ``asked``: whether to
    save and end."""
    for number in (signal.SIGINT, signal.SIGTERM):  # the parent says when to end
        signal.signal(number, signal.SIG_IGN)
    _end_with_parent()
    print_to(log_path)
    with logging_to(log_path, logging.INFO if rank == 0 else logging.ERROR):
        _run(trial, store_uri, share, rank, meeting, Line(line), asked)


def _run(
    trial: TrialSpec, store_uri: str, share: Share | None, rank: int, meeting: Path, line: Line,
    asked: Event,
) -> None:  # fmt: skip
    try:
        place = place_of(trial, rank, trial.recipe.train.devices)
        with settled(trial, place):
            store = open_store(store_uri)
            model = build(trial, store)
            with store.sharing(share), _group(place, meeting):
                stop = asked.is_set if place.first else lambda: False
                line.say("done", training.run(model, trial, store, place, line, stop))
    except KeyboardInterrupt:
        line.say("interrupted")
    except TccError as error:
        line.say("failed", error, True)
    except Exception as error:  # noqa: BLE001 - a boundary: the parent raises it
        log.error("rank %d failed: %s\n%s", rank, error, traceback.format_exc())
        step = getattr(error, "step", None)
        line.say("failed", TrialError(f"{type(error).__name__}: {error}", step=step), False)


@contextmanager
def _group(place: Place, meeting: Path) -> Iterator[None]:
    """The ranks of this machine, joined. Left by an error, it stays: others may hang in it."""
    if not place.on_gpu:
        loopbacks = [name for _, name in socket.if_nameindex() if name.startswith("lo")]
        for name in loopbacks[:1]:
            os.environ.setdefault("GLOO_SOCKET_IFNAME", name)
    dist.init_process_group(
        "nccl" if place.on_gpu else "gloo",
        init_method=meeting.as_uri(),
        rank=place.rank,
        world_size=place.ranks,
        timeout=SILENCE,
        device_id=place.device if place.on_gpu else None,
    )
    yield
    dist.destroy_process_group()


def _end_with_parent() -> None:
    """Ends this process as soon as its parent is gone, however that ended."""
    parent = multiprocessing.parent_process()
    assert parent is not None

    def watch() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
