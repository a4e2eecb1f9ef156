"""The table of trials: its rows, and by what it can be filtered."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from tcc.plan import TrialState
from tcc.records import TrialRecord, TrialSpec
from tcc.report.links import Links
from tcc.report.study import Study
from tcc.report.words import SYMBOLS, metric_text, number, pair_text, value_text

COLUMNS = ("trial", "kind", "label", "state", "steps", "seconds", "rate", "metrics")
_AXES = ("lambda_b", "lambda_e", "beta")
FACETS = ("kind", "tasks", *(SYMBOLS[axis] for axis in _AXES), "seed", "state")


def trial_rows(study: Study, links: Links) -> Iterator[dict[str, Any]]:
    """One row a trial in the plan's order: its cells without those that are facets. Rate and
    metrics are of its first evaluation."""
    labels = {trial.id: trial.label for trial in study.plan}
    for trial in study.plan:
        state = study.states[trial.id]
        record = state.record
        cells = (
            trial.id,
            trial.label,
            "" if record is None else str(record.training.steps),
            "" if record is None else f"{seconds_of(record):.0f}",
            "" if record is None else _rate_text(record),
            "" if record is None else _metrics_text(record),
        )
        because = _because(state, labels)
        pushed = bool(links.run) and (links.pushed is None or trial.id in links.pushed)
        yield {
            "cells": cells,
            "facets": tuple(_facets(trial, state.state)),
            **({"because": because} if because else {}),
            **({"run": 1} if pushed else {}),
        }


def seconds_of(record: TrialRecord) -> float:
    """How long a trial took."""
    return record.timings.get("total", sum(record.timings.values()))


def _facets(trial: TrialSpec, state: str) -> Iterator[str]:
    """By `FACETS`; empty where the trial has none."""
    yield trial.kind
    yield pair_text(trial.tasks)
    for axis in _AXES:
        yield number(trial.axes[axis]) if axis in trial.axes else ""
    yield str(trial.seed)
    yield state


def _because(state: TrialState, labels: Mapping[str, str]) -> str:
    """Why a trial is not done; of a failed one, the table of failures tells more."""
    if state.state == "skipped":
        return f"because of {labels.get(state.because, state.because)}"
    return "" if state.state == "failed" else state.because


def _rate_text(record: TrialRecord) -> str:
    rates = [rate for evaluation in record.evaluations[:1] for rate in evaluation.rates]
    return ", ".join(f"{rate.bpp:.4g} bpp" for rate in rates[:1] if rate.bpp_by_stream)


def _metrics_text(record: TrialRecord) -> str:
    metrics = [metric for evaluation in record.evaluations[:1] for metric in evaluation.metrics]
    return ", ".join(
        f"{metric_text(metric.name)} {value_text(metric.value, metric.unit)}" for metric in metrics
    )
