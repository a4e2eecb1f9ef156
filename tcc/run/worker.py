"""The process in which Tune runs trials, one after the other: a function trainable that heeds
SIGTERM, which only an actor's main thread can ask for, and word that its node is to go."""

from __future__ import annotations

import os
import signal
import threading
from functools import lru_cache
from typing import Any

import ray
from ray._private.state import state
from ray.exceptions import RayError
from ray.tune.trainable import wrap_function

from tcc.run.leaving import LEAVING
from tcc.run.trainable import train

LOOK_EVERY_S = 5.0


class Worker(wrap_function(train)):
    """Tune's function trainable, in an actor."""

    def setup(self, config: dict[str, Any]) -> None:
        super().setup(config)
        LEAVING.install()
        _watch_node()


@lru_cache(maxsize=1)  # one thread a process
def _watch_node() -> None:
    """Sends this process SIGTERM when its node is drained: preempted, or scaled away. Ray itself
    ends processes there no sooner than it ends the node."""
    own = ray.get_runtime_context().get_node_id()

    def look() -> None:
        pause = threading.Event()
        while not pause.wait(LOOK_EVERY_S):
            try:
                drained = own in state.get_draining_nodes()
            except (RayError, OSError, RuntimeError):
                continue  # the head may come back
            if drained:
                os.kill(os.getpid(), signal.SIGTERM)
                return

    threading.Thread(target=look, daemon=True, name="node").start()
