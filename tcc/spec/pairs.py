"""Task pairs: `all` written out, and each checked against the tasks and data sets there are."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from tcc import registry
from tcc.records import DatasetInfo
from tcc.spec.document import Document
from tcc.spec.plugins import find
from tcc.spec.schema import ALL, DataEntry, Pair, SweepSpec
from tcc.tasks import Task

IMAGE = "image"  # the label kind that every data set has


class PlacedPair(NamedTuple):
    """A pair of one task each, and the index of the entry that it was written as."""

    index: int
    pair: Pair


def check_pairs(
    document: Document, spec: SweepSpec, data: Mapping[str, DataEntry]
) -> tuple[list[PlacedPair], tuple[str, ...]]:
    """The pairs that can be, each with its data set; the others are reported. Then what ``all``
    left out, a line each."""
    found: list[PlacedPair] = []
    left_out: dict[str, None] = {}
    for index, pair in enumerate(spec.pairs):
        bases = _candidates(document, index, "base", pair.base)
        enhancements = _candidates(document, index, "enhancement", pair.enhancement)
        if pair.base == pair.enhancement != ALL:
            at = document.path(("pairs", index, "enhancement"))
            document.report(at, f"{pair.base!r} is the base task already: take another")
        name = _dataset(document, index, pair, data)
        if name is None or name not in data:
            continue
        info = data[name].info
        _check_training(document, index, name, info)
        lacking = lacking_labels((*bases, *enhancements), info)
        for side, asked in (("base", pair.base), ("enhancement", pair.enhancement)):
            if asked == ALL:
                lines = (f"{task} on {name}: {why}" for task, why in lacking.items())
                left_out |= dict.fromkeys(lines)
            elif asked in lacking:
                text = f"the task {asked!r} cannot use the data set {name!r}: {lacking[asked]}"
                document.report(document.path(("pairs", index, side)), text)
        fitting = [
            PlacedPair(
                index, pair.model_copy(update={"base": base, "enhancement": task, "dataset": name})
            )
            for base in bases
            for task in enhancements
            if base != task and lacking.keys().isdisjoint((base, task))
        ]
        if not fitting and ALL in (pair.base, pair.enhancement):
            reasons = "; ".join(f"{task}: {why}" for task, why in lacking.items())
            text = f"no two tasks can use the data set {name!r}: {reasons}"
            document.report(document.path(("pairs", index)), text)
        found += fitting
    return found, tuple(left_out)


def _candidates(document: Document, index: int, side: str, name: str) -> list[str]:
    if name == ALL:
        return list(registry.names("tasks"))
    task = find(document, document.path(("pairs", index, side)), "tasks", name)
    return [] if task is None else [name]


def lacking_labels(tasks: Iterable[str], info: DatasetInfo) -> dict[str, str]:
    """Task → why it cannot use a data set, where it cannot."""
    labels = (IMAGE, *info.labels)
    found: dict[str, str] = {}
    for name in tasks:
        task: Task = registry.load("tasks", name)
        if task.label not in labels:
            text = f"it has no labels {task.label!r}, only {', '.join(labels)}"
            reason = info.absent.get(task.label)
            found[name] = f"{text}; {reason}" if reason else text
    return found


def _dataset(
    document: Document, index: int, pair: Pair, data: Mapping[str, DataEntry]
) -> str | None:
    """The name of a pair's data set, None where it cannot be told: by default the only one that
    has labels for both tasks."""
    names = tuple(document.data.get("data") or ())
    if pair.dataset is not None:
        if pair.dataset not in names and not document.touched(("data", pair.dataset)):
            at = document.path(("pairs", index, "dataset"))
            document.report(at, registry.unknown("data set", pair.dataset, names))
        return pair.dataset
    if len(names) == 1:
        return names[0]
    fitting = [name for name in names if name in data and _fits(pair, data[name].info)]
    if len(fitting) == 1 and len(data) == len(names):
        return fitting[0]
    if names:
        write = fitting[0] if fitting else names[0]
        write = f"dataset: {write}" if pair.base != ALL else f"pairs: {{all: {write}}}"
        message = f"on which data set? There is {', '.join(names)}: write `{write}`"
        document.report(document.path(("pairs", index)), message)
    return None


def _fits(pair: Pair, info: DatasetInfo) -> bool:
    """Whether a data set has the labels of both tasks of a pair."""
    tasks = [name for name in (pair.base, pair.enhancement) if name in registry.names("tasks")]
    needed = {registry.load("tasks", name).label for name in tasks}
    return len(tasks) == 2 and needed <= {IMAGE, *info.labels}


def _check_training(document: Document, index: int, name: str, info: DatasetInfo) -> None:
    for split in ("train", "select"):
        if not info.splits.get(split):
            message = f"the data set {name!r} has no image in its split {split!r} to train with"
            document.report(document.path(("pairs", index)), message)
