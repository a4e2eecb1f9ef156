"""The process in which Tune runs trials, one after the other: a function trainable that heeds
SIGTERM, which only an actor's main thread can ask for."""

from __future__ import annotations

from typing import Any

from ray.tune.trainable import wrap_function

from tcc.run.leaving import LEAVING
from tcc.run.trainable import train


class Worker(wrap_function(train)):
    """Tune's function trainable, in an actor."""

    def setup(self, config: dict[str, Any]) -> None:
        super().setup(config)
        LEAVING.install()
