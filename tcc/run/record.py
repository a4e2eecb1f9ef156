"""What a run came to, for the store: when, on what, how long, against what was expected. No Ray."""

from __future__ import annotations

import math
import time
import uuid
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from tcc.errors import StoreError
from tcc.plan.capacity import Node
from tcc.plan.makespan import bound, makespan
from tcc.records import SCHEMA, Plan, RunRecord, TrialSpec
from tcc.stores import Store

if TYPE_CHECKING:
    from tcc.run.drive import Driven


class Recorder:
    """Of one run, from its start. ``name``: no two runs have the same. ``expected_s``: the makespan
    by durations of like trials; None where none is known."""

    def __init__(self, plan: Plan, store: Store):
        self.name = uuid.uuid4().hex
        self.expected_s: float | None = None
        self._plan, self._store = plan, store
        self._started_at = datetime.now(UTC)
        self._begun = time.monotonic()
        self._nodes: Sequence[Node] = ()

    def expect(
        self, to_run: Sequence[TrialSpec], seconds: Mapping[str, float], nodes: Sequence[Node]
    ) -> None:
        """What is to be run, and what like trials took before."""
        self._nodes = nodes
        if seconds:
            expected_s = makespan(to_run, seconds, nodes)
            self.expected_s = expected_s if math.isfinite(expected_s) else None

    def write(self, driven: Driven) -> None:
        """Writes the record, if the store can be written still."""
        seconds = driven.seconds
        ran = [trial for trial in self._plan if trial.id in seconds]
        least = bound(ran, seconds, self._nodes)
        record = RunRecord(
            schema=SCHEMA,
            run=self.name,
            study=self._plan.study,
            started_at=self._started_at.isoformat(timespec="seconds"),
            seconds=round(time.monotonic() - self._begun, 3),
            expected_s=self.expected_s,
            bound_s=least if math.isfinite(least) else 0.0,
            cpu_hours=sum(trial.resources.cpu * seconds[trial.id] for trial in ran) / 3600,
            gpu_hours=sum(trial.resources.gpu * seconds[trial.id] for trial in ran) / 3600,
            nodes=tuple(map(str, self._nodes)),
            counts=dict(Counter(state.state for state in driven.states.values())),
            losses=driven.losses,
            interrupted=driven.cause is not None,
        )
        with suppress(StoreError):
            self._store.write_run(record)
