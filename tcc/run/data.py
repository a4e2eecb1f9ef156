"""Makes the data sets that are made once, before workers would all wait for the same one."""

from __future__ import annotations

from collections.abc import Iterable

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from tcc import registry
from tcc.datasets import Dataset
from tcc.records import DatasetUse, TrialSpec


def prepare(trials: Iterable[TrialSpec]) -> None:
    """Prepares every data set that the trials read; shows how far it is on stderr.

    Raises:
        DataError: a data set cannot be made where it should lie.
    """
    uses = dict.fromkeys(use for trial in trials for use in _uses(trial))
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    console = Console(stderr=True)
    with Progress(
        *columns,
        TimeRemainingColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    ) as progress:
        for use in uses:
            plugin: Dataset = registry.load("datasets", use.plugin)
            bar = progress.add_task(f"making data set {use.name}", visible=False)

            def report(done: int, total: int, bar=bar) -> None:
                progress.update(bar, completed=done, total=total, visible=True)

            plugin.prepare(plugin.Params.model_validate(dict(use.params)), report)


def _uses(trial: TrialSpec) -> Iterable[DatasetUse]:
    yield from trial.recipe.datasets
    for evaluation in trial.evaluations:
        yield evaluation.dataset
