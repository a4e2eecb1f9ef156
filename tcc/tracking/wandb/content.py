"""What W&B's runs say of trials and studies: identity, config, summary, media."""

from __future__ import annotations

import hashlib
import json
from functools import cache
from typing import Any

from pydantic import TypeAdapter

from tcc.records import EvaluationRecord, FailureRecord, Recipe, TrialRecord, TrialSpec
from tcc.tracking import StudyCopy

TAG_CHARACTERS = 64  # what W&B takes
CONTENT = "content"  # the summary's key for a digest of what a run was given at its end
FAILURE_KEYS = ("failure", "failure_step", "failure_term")


def trial_identity(trial: TrialSpec, study: str) -> dict[str, Any]:
    """What `wandb.init` is told of a trial."""
    tags = [study, *trial.tasks, *trial.datasets, f"seed-{trial.seed}", trial.kind]
    return {
        "id": trial.id,
        "name": trial.label,
        "group": study,
        "job_type": trial.kind,
        "tags": [tag[:TAG_CHARACTERS] for tag in dict.fromkeys(tags)],
        "config": {
            **trial.axes,
            "seed": trial.seed,
            "kind": trial.kind,
            "variant": trial.variant,
            "pair": "-".join(trial.tasks),
            "datasets": list(trial.datasets),
            "needs": list(trial.needs),
            "recipe": _recipes().dump_python(trial.recipe, mode="json"),
        },
    }


def study_identity(copy: StudyCopy) -> dict[str, Any]:
    """What `wandb.init` is told of a study's own run."""
    return {
        "id": copy.id,
        "name": copy.study,
        "group": copy.study,
        "job_type": "study",
        "tags": [copy.study[:TAG_CHARACTERS]],
        "config": dict(copy.config),
    }


@cache
def _recipes() -> TypeAdapter[Recipe]:
    """Made once: it costs 7 ms, a sixth of a whole run."""
    return TypeAdapter(Recipe)


def summary_of(outcome: TrialRecord | FailureRecord) -> dict[str, Any]:
    """What a trial came to, and a digest of that."""
    values = _failure(outcome) if isinstance(outcome, FailureRecord) else _results(outcome)
    return {**values, CONTENT: hashlib.sha256(json.dumps(values).encode()).hexdigest()[:16]}


def _failure(failure: FailureRecord) -> dict[str, Any]:
    return dict(zip(FAILURE_KEYS, (failure.reason, failure.step, failure.term), strict=True))


def _results(record: TrialRecord) -> dict[str, Any]:
    """The first evaluation that was asked for by plain names, each further one below its data set
    and split."""
    asked = [spec.id for spec in record.trial.evaluations]
    values: dict[str, Any] = {
        "best_step": record.training.best_step,
        "best_rd_cost": record.training.best_rd_cost,
    }

    def place(item: EvaluationRecord) -> int:
        return asked.index(item.evaluation.id) if item.evaluation.id in asked else len(asked)

    for index, evaluation in enumerate(sorted(record.evaluations, key=place)):
        spec = evaluation.evaluation
        prefix = f"{spec.dataset.name}.{spec.split}/" if index else ""
        values |= {prefix + name: value for name, value in _measured(evaluation).items()}
    return values


def _measured(evaluation: EvaluationRecord) -> dict[str, float]:
    """Rates as ``rate/base_bpp`` where the source is the one that was asked for, and as
    ``rate/estimated/base_bpp`` where it is the other."""
    values = {metric.name: metric.value for metric in evaluation.metrics}
    for rate in evaluation.rates:
        place = "rate/" if rate.source == evaluation.evaluation.rate else f"rate/{rate.source}/"
        values[f"{place}total_bpp"] = rate.bpp
        for stream, bpp in rate.bpp_by_stream.items():
            name = f"{place}{stream.partition('.')[0]}_bpp"
            values[name] = values.get(name, 0.0) + bpp
    return values


def media_of(copy: StudyCopy) -> dict[str, Any]:
    """A study's figures and tables."""
    import wandb

    return {name: wandb.Image(str(path)) for name, path in copy.images.items()} | {
        name: wandb.Table(
            columns=list(table.columns),
            data=[list(row) for row in table.rows],
            allow_mixed_types=True,
        )
        for name, table in copy.tables.items()
    }
