"""Plans of small specs, and a store in memory."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

import pytest

from tcc.plan import expand, plan_to_json
from tcc.records import (
    SCHEMA,
    EvaluationRecord,
    EvaluationSpec,
    FailureRecord,
    Plan,
    Provenance,
    Resources,
    Training,
    TrialRecord,
    TrialSpec,
)
from tcc.spec import parse_spec

STUDY = """\
study: some
data: {scenes: {train: 16, val: 4, select: 4}}
pairs:
  - {base: depth, enhancement: reconstruction}
  - {base: depth, enhancement: segmentation}
grid:
  lambda_b: [0.1, 1]
  lambda_e: [0.1, 1, 10]
  beta: [0, 0.1]
also: [direct, standalone, single_layer, uncompressed, pixels]
model: {channels: [4, 4, 8], latent: 4, blocks: 1}
train: {steps: 20, warm_start: pretrain}
"""

PROVENANCE = Provenance(
    tcc_version="0.1.0",
    git_revision="",
    packages={},
    machine="none",
    device="cpu",
    started_at="2026-11-20T12:00:00Z",
    study="some",
)


@pytest.fixture
def study() -> str:
    """The text of a spec with every trial kind."""
    return STUDY


@pytest.fixture
def planned() -> Callable[..., Plan]:
    """The plan of a text, in which some pieces are replaced by others."""

    def expanded(text: str = STUDY, changes: Mapping[str, str] | None = None) -> Plan:
        for old, new in (changes or {}).items():
            assert old in text
            text = text.replace(old, new)
        return expand(parse_spec(text))

    return expanded


@pytest.fixture(scope="session")
def shaped() -> Callable[..., TrialSpec]:
    """Makes a trial of which only the id, the needs, the kind and the resources count."""
    some = expand(parse_spec(STUDY)).trials[0]

    def make(
        id: str,
        needs: tuple[str, ...] = (),
        *,
        kind: str = "base",
        cpu: float = 1.0,
        gpu: float = 0.0,
    ) -> TrialSpec:
        return replace(some, id=id, needs=needs, kind=kind, resources=Resources(cpu=cpu, gpu=gpu))

    return make


@dataclass
class MemoryStore:
    """What `plan` asks of a store, and how often. ``files``: study → its files; ``problems``: trial
    → what is wrong with its checkpoint."""

    records: dict[str, TrialRecord] = field(default_factory=dict)
    failures: dict[str, FailureRecord] = field(default_factory=dict)
    files: dict[str, dict[str, str]] = field(default_factory=dict)
    problems: dict[str, str] = field(default_factory=dict)
    reads: list[str] = field(default_factory=list)

    def result_ids(self) -> set[str]:
        return set(self.records)

    def record(self, id: str) -> TrialRecord | None:
        self.reads.append(id)
        return self.records.get(id)

    def failure(self, id: str) -> FailureRecord | None:
        return self.failures.get(id)

    def checkpoint_sha256(self, id: str) -> str | None:
        record = self.records.get(id)
        return record and record.training.checkpoint_sha256

    def checkpoint_problem(self, id: str, *, thorough: bool) -> str | None:
        return self.problems.get(id)

    def newest_studies(self) -> tuple[str, ...]:
        return tuple(reversed(self.files))

    def read_study(self, name: str, file: str) -> str | None:
        self.reads.append(f"{name}/{file}")
        return self.files.get(name, {}).get(file)

    def write_study(self, name: str, file: str, text: str) -> None:
        self.files.setdefault(name, {})[file] = text

    def finish(self, trial: TrialSpec, checkpoint: str = "", seconds: float = 10.0) -> None:
        """Adds a trial's record, made from its parents' current checkpoints. Each evaluation took
        two seconds, the setup one and a half."""
        sha256 = checkpoint or f"weights of {trial.id}"
        self.records[trial.id] = TrialRecord(
            schema=SCHEMA,
            trial=trial,
            training=Training(
                steps=trial.recipe.train.steps,
                best_step=1,
                best_rd_cost=1.0,
                rd_cost=((1, 1.0),),
                last_terms={},
                num_parameters={},
                kmac_per_pixel={},
                kmac_size=(64, 64),
                initial_weights={},
                checkpoint_sha256=sha256,
                last_sha256=sha256,
                parents_sha256={need: self.checkpoint_sha256(need) or "" for need in trial.needs},
            ),
            evaluations=tuple(evaluated(trial, item, sha256) for item in trial.evaluations),
            timings={"setup": 1.5, "train": seconds, "total": seconds + 1.5},
            provenance=replace(PROVENANCE, device="cuda" if trial.resources.gpu else "cpu"),
        )

    def finish_all(self, plan: Plan, seconds: float = 10.0) -> None:
        """As a run of the whole plan leaves a store."""
        self.write_study(plan.study, "spec.yaml", f"study: {plan.study}\n")
        self.write_study(plan.study, "plan.json", plan_to_json(plan))
        for trial in plan:
            self.finish(trial, seconds=seconds)

    def fail(self, trial: TrialSpec, reason: str = "it broke", evaluation: str = "") -> None:
        self.failures[trial.id] = FailureRecord(
            schema=SCHEMA,
            trial=trial,
            reason=reason,
            step=3,
            term="total",
            log="log.txt",
            evaluation=evaluation,
        )

    def forget_evaluations(self, id: str) -> None:
        self.records[id] = replace(self.records[id], evaluations=())


def evaluated(trial: TrialSpec, evaluation: EvaluationSpec, checkpoint: str) -> EvaluationRecord:
    """A record without results."""
    return EvaluationRecord(
        schema=SCHEMA,
        trial=trial.id,
        evaluation=evaluation,
        checkpoint_sha256=checkpoint,
        rates=(),
        metrics=(),
        per_image=(),
        timings={"evaluate": 2.0},
        provenance=PROVENANCE,
    )


@pytest.fixture
def store() -> MemoryStore:
    """An empty store."""
    return MemoryStore()
