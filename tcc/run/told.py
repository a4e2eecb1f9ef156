"""How processes of a run hear that it stops: a key in Ray's own key-value store, wherever they are.

A driver puts it; workers, and a driver's task on the head of a cluster, look for it in a thread of
their own, so that a head that does not answer never holds up a training.
"""

from __future__ import annotations

import threading
from contextlib import suppress
from functools import lru_cache

from ray.exceptions import RayError
from ray.experimental.internal_kv import (
    _internal_kv_exists,
    _internal_kv_initialized,
    _internal_kv_put,
)

EVERY_S = 0.5
KEY = "stop"


def tell(run: str) -> None:
    """Tells all processes of a run that it stops; does not wait for a head that may be gone."""

    def put() -> None:
        with suppress(RayError, OSError, RuntimeError):
            _internal_kv_put(KEY, "1", namespace=_namespace(run))

    threading.Thread(target=put, daemon=True, name="tell").start()


@lru_cache(maxsize=1)  # one thread a process: an actor belongs to one run
def told(run: str) -> threading.Event:
    """Set once a run stops; never where there is no Ray."""
    event = threading.Event()
    if _internal_kv_initialized():
        threading.Thread(target=_listen, args=(run, event), daemon=True, name="stop").start()
    return event


def _listen(run: str, event: threading.Event) -> None:
    pause = threading.Event()
    while not pause.wait(EVERY_S):
        try:
            if _internal_kv_exists(KEY, namespace=_namespace(run)):
                event.set()
                return
        except (RayError, OSError, RuntimeError):
            continue  # the head may come back; without it, Ray ends this process


def _namespace(run: str) -> str:
    return f"tcc-{run}"
