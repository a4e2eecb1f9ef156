"""Where a study stands: counts, failures, running trials, runs, disk, files not to be trusted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from tcc.plan.distrust import Distrust, distrusts
from tcc.plan.ledger import STATES
from tcc.records import FailureRecord, Holder, Progress, RunRecord, TrialSpec
from tcc.report.runs import runs_json
from tcc.report.studies import planned
from tcc.report.study import Study, read_study
from tcc.stores import Store


@dataclass(frozen=True, kw_only=True)
class Running:
    """A trial that a living process works on. ``rate_bpp``: of its last training batch."""

    trial: str
    label: str
    host: str
    pid: int
    since: str  # ISO 8601, UTC
    phase: str  # "begun" before its first step
    step: int
    steps: int
    loss: float | None
    rate_bpp: float | None
    elapsed_s: float
    eta_s: float | None


@dataclass(frozen=True, kw_only=True)
class Interrupted:
    """A trial whose process is gone: it goes on from what was saved last, up to ``step``."""

    trial: str
    label: str
    step: int
    steps: int
    because: str


@dataclass(frozen=True, kw_only=True)
class Failed:
    """A trial that could not finish."""

    trial: str
    label: str
    reason: str
    step: int | None
    term: str | None
    log: str


@dataclass(frozen=True, kw_only=True)
class Skipped:
    """How many trials stand on a failed one."""

    because: str  # the failed trial
    label: str  # its label
    count: int


@dataclass(frozen=True, kw_only=True)
class Disk:
    """Bytes of the files of a study's trials. ``shared``: of those that other studies have too."""

    total: int
    shared: int
    shared_trials: int


@dataclass(frozen=True, kw_only=True)
class StudyStatus:
    """A study at one moment. ``counts``: kind → state → number of trials."""

    study: str
    total: int
    counts: Mapping[str, Mapping[str, int]]
    running: tuple[Running, ...]
    interrupted: tuple[Interrupted, ...]
    failures: tuple[Failed, ...]
    skipped: tuple[Skipped, ...]
    problems: tuple[str, ...]
    distrusts: tuple[Distrust, ...]  # the problems, alike ones together, and what will be done
    runs: tuple[RunRecord, ...]
    disk: Disk

    @property
    def totals(self) -> Mapping[str, int]:
        """State → number of trials, of all kinds."""
        return in_order(sum((Counter(states) for states in self.counts.values()), Counter()))

    def to_json(self) -> dict[str, Any]:
        """What `tcc status STUDY --json` prints."""
        return {
            "study": self.study,
            "total": self.total,
            "by_state": dict(self.totals),
            "by_kind": {kind: dict(states) for kind, states in self.counts.items()},
            "running": [asdict(item) for item in self.running],
            "interrupted": [asdict(item) for item in self.interrupted],
            "failures": [asdict(item) for item in self.failures],
            "skipped": [asdict(item) for item in self.skipped],
            "problems": list(self.problems),
            "runs": runs_json(self.runs),
            "disk_bytes": self.disk.total,
            "disk_bytes_shared": self.disk.shared,
        }


def status(study: str, store: Store) -> StudyStatus:
    """Where a study stands, from its files alone. Checkpoints that were written after their
    results are hashed.

    Raises:
        StoreError: there is no such study.
        RecordError: its plan cannot be trusted.
    """
    content = read_study(study, store, thorough=True)
    counts: dict[str, Counter[str]] = {}
    for trial in content.plan:
        counts.setdefault(trial.kind, Counter())[content.states[trial.id].state] += 1
    trials = {trial.id: trial for trial in content.plan}
    return StudyStatus(
        study=study,
        total=len(content.plan),
        counts={kind: in_order(states) for kind, states in counts.items()},
        running=tuple(
            _running(trials[id], holder, content.progress.get(id))
            for id, holder in content.holders.items()
        ),
        interrupted=tuple(_interrupted(content)),
        failures=tuple(map(_failed, content.failures)),
        skipped=skipped(content),
        problems=content.problems,
        distrusts=distrusts(content.problems),
        runs=content.runs,
        disk=_disk(content, store),
    )


def skipped(study: Study) -> tuple[Skipped, ...]:
    """The failed trials that others were skipped for."""
    labels = {trial.id: trial.label for trial in study.plan}
    found = Counter(it.because for it in study.states.values() if it.state == "skipped")
    return tuple(
        Skipped(because=root, label=labels.get(root, root), count=count)
        for root, count in found.items()
    )


def in_order(states: Mapping[str, int]) -> dict[str, int]:
    """The states that there are, in the order of `STATES`."""
    return {state: states[state] for state in STATES if states.get(state)}


def _running(trial: TrialSpec, holder: Holder, progress: Progress | None) -> Running:
    steps = trial.recipe.train.steps
    if progress is not None and progress.phase == "ended":
        progress = None  # of an attempt before
    return Running(
        trial=trial.id,
        label=trial.label,
        host=holder.host,
        pid=holder.pid,
        since=holder.since,
        phase=progress.phase if progress else "begun",
        step=progress.step if progress else 0,
        steps=progress.steps if progress else steps,
        loss=progress.loss if progress else None,
        rate_bpp=progress.bpp if progress else None,
        elapsed_s=progress.elapsed_s if progress else 0.0,
        eta_s=progress.eta_s if progress else None,
    )


def _interrupted(study: Study) -> Iterator[Interrupted]:
    for trial in study.plan:
        state, progress = study.states[trial.id], study.progress.get(trial.id)
        if progress is not None and state.state == "new":
            yield Interrupted(
                trial=trial.id,
                label=trial.label,
                step=progress.step,
                steps=progress.steps,
                because=state.because,
            )


def _failed(failure: FailureRecord) -> Failed:
    return Failed(
        trial=failure.trial.id,
        label=failure.trial.label,
        reason=failure.reason,
        step=failure.step,
        term=failure.term,
        log=failure.log,
    )


def _disk(study: Study, store: Store) -> Disk:
    others = planned(store, [name for name in store.studies() if name != study.name])
    shared = study.disk_bytes.keys() & frozenset().union(*others.values())
    there = [study.disk_bytes[id] for id in shared if study.disk_bytes[id]]
    return Disk(total=sum(study.disk_bytes.values()), shared=sum(there), shared_trials=len(there))
