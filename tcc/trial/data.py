"""The data sets of a trial: the samples of a split, and what they must still be."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from tcc import datasets, registry
from tcc.datasets import Split
from tcc.errors import DataError
from tcc.formats.memory import LIMIT_BYTES, MemorySplit
from tcc.records import DatasetInfo, DatasetUse, PluginUse


def open_split(
    use: DatasetUse, split: str, readers: int = 1, labels: Collection[str] | None = None
) -> Split:
    """The samples of one split of a data set as a trial uses it; makes it first where needed.

    ``readers``: the processes that will each keep what they decode, as far as memory is for it.
    ``labels``: the kinds that are read, by default all that there are.

    Raises:
        DataError: the split is empty, or the data set not as it should be.
    """
    plugin = registry.load("datasets", use.plugin)
    params = plugin.Params.model_validate(dict(use.params))
    plugin.prepare(params)
    with datasets.reading():
        samples = MemorySplit(plugin.open(params, split, labels), LIMIT_BYTES // max(1, readers))
    if not len(samples):
        raise DataError(f"data set {use.name!r} has no image in its split {split!r}")
    return samples


def labels_of(tasks: Iterable[PluginUse]) -> set[str]:
    """The label kinds that tasks need of a data set."""
    return {registry.load("tasks", use.plugin).label for use in tasks} - {"image"}


def describe(use: DatasetUse, *splits: str) -> DatasetInfo:
    """What the data set holds, from the plug-in. ``splits``: those that will be read.

    Raises:
        DataError: it is not the data that the trial was planned with.
    """
    plugin = registry.load("datasets", use.plugin)
    info = datasets.describe(plugin, plugin.Params.model_validate(dict(use.params)))
    if info.fingerprint(*splits) != use.fingerprint:
        raise DataError(
            f"data set {use.name!r} is not what it was when this trial was planned: it changed "
            "since, or this machine finds other files under its root; run the same command again"
        )
    return info
