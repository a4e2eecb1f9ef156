"""Who runs trials and when: the holder of a trial's lease, and what a run of a study came to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from tcc.records.frozen import Record


@dataclass(frozen=True, kw_only=True)
class Holder(Record):
    """The process that works on a trial."""

    schema: int
    trial: str
    run: str  # of a study, as its driver calls it; processes of one run may take over from another
    token: str  # no two holders have the same
    host: str
    machine: str  # tells apart boots and containers of one host: their process ids are others
    pid: int
    process_started: float  # as the kernel counts: a process id alone is given again
    since: str  # ISO 8601, UTC


@dataclass(frozen=True, kw_only=True)
class RunRecord(Record):
    """One run of a study, by one driver.

    ``expected_s``: the makespan that was expected before, None where no duration was known.
    ``bound_s``: what no schedule of the trials that were run can beat on these nodes, with the
    durations that were measured: the longest chain, or all work over all slots.
    """

    schema: int
    run: str
    study: str
    started_at: str  # ISO 8601, UTC
    seconds: float
    expected_s: float | None
    bound_s: float
    cpu_hours: float
    gpu_hours: float
    nodes: tuple[str, ...]  # as they were at the start
    counts: Mapping[str, int]  # state → trials, at the end
    losses: int  # times that a trial went on in another process
    interrupted: bool
