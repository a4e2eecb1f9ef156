"""The runs of a study: how long each took, against what was expected and what is possible."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from tcc.records import RunRecord
from tcc.report.words import count_text, duration_text, number, time_text

COLUMNS = (
    "Started",
    "Took",
    "Expected",
    "At best",
    "Took / at best",
    "CPU-hours",
    "GPU-hours",
    "Nodes",
    "Losses",
    "Ended with",
)


def ratio(run: RunRecord) -> float | None:
    """The makespan over its lower bound; None where there is no bound, as when nothing was run."""
    return run.seconds / run.bound_s if run.bound_s > 0 else None


def runs_json(runs: Sequence[RunRecord]) -> list[dict[str, Any]]:
    """One plain entry a run, oldest first."""
    return [
        {
            "run": run.run,
            "started_at": run.started_at,
            "seconds": run.seconds,
            "expected_s": run.expected_s,
            "bound_s": run.bound_s,
            "ratio_to_bound": ratio(run),
            "cpu_hours": run.cpu_hours,
            "gpu_hours": run.gpu_hours,
            "nodes": list(run.nodes),
            "counts": dict(run.counts),
            "losses": run.losses,
            "interrupted": run.interrupted,
        }
        for run in runs
    ]


def run_cells(run: RunRecord) -> tuple[str, ...]:
    """A run as a row under `COLUMNS`."""
    at_best = ratio(run)
    return (
        time_text(run.started_at),
        duration_text(run.seconds),
        "unknown" if run.expected_s is None else duration_text(run.expected_s),
        duration_text(run.bound_s) if run.bound_s > 0 else "",
        "" if at_best is None else number(at_best, ".2f"),
        number(run.cpu_hours, ".3g"),
        number(run.gpu_hours, ".3g"),
        nodes_text(run),
        str(run.losses),
        ("interrupted, " if run.interrupted else "") + counts_text(run.counts),
    )


def nodes_text(run: RunRecord) -> str:
    """``3 × node (8 CPU, 1 GPU)``: equal nodes together."""
    found = Counter(run.nodes)
    return ", ".join(name if n == 1 else f"{n} × {name}" for name, n in found.items())


def last_run_text(runs: Sequence[RunRecord]) -> str:
    """The last run in one line; empty where there was none."""
    if not runs:
        return ""
    run = runs[-1]
    expected = "" if run.expected_s is None else f" ({duration_text(run.expected_s)} were expected)"
    ended = "was interrupted after" if run.interrupted else "took"
    parts = [
        f"{count_text(len(runs), 'run')} so far; the last began {time_text(run.started_at)}",
        f"{ended} {duration_text(run.seconds)}{expected}",
        f"on {nodes_text(run)}" if run.nodes else "",
        f"as {run.run}",
    ]
    return ", ".join(part for part in parts if part)


def counts_text(counts: Mapping[str, int]) -> str:
    """``91 done, 3 failed``."""
    return ", ".join(f"{n} {state}" for state, n in counts.items() if n)
