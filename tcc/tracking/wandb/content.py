"""What W&B's runs say of trials and studies: identity, config, summary, media."""

from __future__ import annotations

import hashlib
import json
from functools import cache
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from tcc.records import EvaluationRecord, FailureRecord, Recipe, TrialRecord, TrialSpec
from tcc.tracking import Chart, StudyCopy, cut

TAG_CHARACTERS = 64  # what W&B takes
ARTIFACT_CHARACTERS = 128
CONTENT = "content"  # the summary's key for a digest of what a run was given at its end
CHECKPOINT = "checkpoint"  # the summary's key for the hash of the weights that were sent
FAILURE_KEYS = ("failure", "failure_step", "failure_term")


def trial_identity(trial: TrialSpec, study: str) -> dict[str, Any]:
    """What `wandb.init` is told of a trial."""
    tags = [study, *trial.tasks, *trial.datasets, f"seed-{trial.seed}", trial.kind]
    return {
        "id": trial.id,
        "name": trial.label,
        "group": study,
        "job_type": trial.kind,
        "tags": [cut(tag, TAG_CHARACTERS) for tag in dict.fromkeys(tags)],
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
        "tags": [cut(copy.study, TAG_CHARACTERS)],
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
    ``rate/estimated/base_bpp`` where it is the other. Without a codec there is no rate."""
    values = {metric.name: metric.value for metric in evaluation.metrics}
    for rate in evaluation.rates:
        if not rate.bpp_by_stream:
            continue
        place = "rate/" if rate.source == evaluation.evaluation.rate else f"rate/{rate.source}/"
        values[f"{place}total_bpp"] = rate.bpp
        for stream, bpp in rate.bpp_by_stream.items():
            name = f"{place}{stream.partition('.')[0]}_bpp"
            values[name] = values.get(name, 0.0) + bpp
    return values


def media_of(copy: StudyCopy) -> dict[str, Any]:
    """A study's figures, charts and tables."""
    import wandb

    images = {name: wandb.Image(str(path)) for name, path in copy.images.items()}
    tables = {
        name: wandb.Table(columns=list(table.columns), data=[list(row) for row in table.rows])
        for name, table in copy.tables.items()
    }
    return images | tables | {name: _chart(chart) for name, chart in charts_of(copy).items()}


def charts_of(copy: StudyCopy) -> dict[str, Chart]:
    """A study's charts by the names of their panels. W&B makes an artifact of each chart's table,
    and what it adds to the name leaves less room the longer the run's id is."""
    added = f"run-{copy.id}-{chart_table('')}-crc32_"
    room = ARTIFACT_CHARACTERS - len(added)
    return {cut(name, room): chart for name, chart in copy.charts.items()}


def chart_table(panel: str) -> str:
    """Where W&B keeps the table of a chart."""
    return f"Custom Chart Tables/{panel}_table"


def _chart(chart: Chart) -> Any:
    import wandb

    points = chart.curves.values()
    return wandb.plot.line_series(
        xs=[[x for x, _ in curve] for curve in points],
        ys=[[y for _, y in curve] for curve in points],
        keys=list(chart.curves),
        title=chart.title,
        xname=chart.x,
        split_table=True,
    )


def report_artifact(copy: StudyCopy) -> Any:
    """The report as it lies in the store."""
    import wandb

    artifact = wandb.Artifact(f"report-{copy.study}", type="report")
    for name, path in copy.files.items():
        artifact.add_file(str(path), name=name)
    return artifact


def model_artifact(record: TrialRecord, checkpoint: Path) -> Any:
    """A trial's weights, with what they are weights of."""
    import wandb

    trial = record.trial
    artifact = wandb.Artifact(
        f"checkpoint-{trial.id}",
        type="model",
        description=trial.label,
        metadata={
            **trial.axes,
            "seed": trial.seed,
            "kind": trial.kind,
            "pair": "-".join(trial.tasks),
            "step": record.training.best_step,
            "sha256": record.training.checkpoint_sha256,
        },
    )
    artifact.add_file(str(checkpoint), name=checkpoint.name)
    return artifact
