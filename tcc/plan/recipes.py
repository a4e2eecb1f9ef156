"""Trials that are equal but for versions: what they are called, and what sets them apart."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TypeVar

from tcc.plan.identity import trial_id
from tcc.records import Plan, PluginUse, TrialSpec

Use = TypeVar("Use", bound=PluginUse)


@dataclass(frozen=True, kw_only=True)
class Change:
    """What differs between two recipes: the version of ``training loop``, ``task depth``,
    ``data set scenes``; or the fingerprint of ``files of scenes``."""

    what: str
    before: int | str
    now: int | str

    def __str__(self) -> str:
        if isinstance(self.before, str):
            return f"other {self.what}"
        return f"{self.what} {self.before} (now {self.now})"


def recipe_ids(plan: Plan, *, by_files: bool = True) -> dict[str, str]:
    """Trial → the id that it would have if no plug-in and no training loop had a version; without
    ``by_files``, if the name of a data set stood for its files, too."""
    found: dict[str, str] = {}
    for trial in plan:
        found[trial.id] = trial_id(_plain(trial, [found[need] for need in trial.needs], by_files))
    return found


def changes(
    old: TrialSpec, olds: Mapping[str, TrialSpec], new: TrialSpec, news: Mapping[str, TrialSpec]
) -> tuple[Change, ...]:
    """What sets apart two trials that `recipe_ids` calls alike, and all that they stand on.
    ``olds``, ``news``: the trials of their plans by id."""
    found = list(_own_changes(old, new))
    for before, now in zip(old.needs, new.needs, strict=True):
        found += changes(olds[before], olds, news[now], news)
    return tuple(dict.fromkeys(found))


def _own_changes(old: TrialSpec, new: TrialSpec) -> Iterator[Change]:
    before, now = old.recipe, new.recipe
    versions = [("training loop", before.loop_version, now.loop_version)]
    versions += _versions("method", [before.method], [now.method])
    versions += _versions("task", before.tasks, now.tasks)
    versions += _versions("data set", before.datasets, now.datasets)
    for what, earlier, later in versions:
        if earlier != later:
            yield Change(what=what, before=earlier, now=later)
    for had, has in zip(before.datasets, now.datasets, strict=True):
        if had.fingerprint != has.fingerprint:
            yield Change(what=f"files of {has.name}", before=had.fingerprint, now=has.fingerprint)


def _versions(
    what: str, before: Iterable[PluginUse], now: Iterable[PluginUse]
) -> list[tuple[str, int, int]]:
    return [
        (f"{what} {has.plugin}", had.version, has.version)
        for had, has in zip(before, now, strict=True)
    ]


def _plain(trial: TrialSpec, needs: Iterable[str], by_files: bool) -> TrialSpec:
    recipe = trial.recipe
    datasets = [_unversioned(use) for use in recipe.datasets]
    if not by_files:
        datasets = [replace(use, fingerprint=use.name) for use in datasets]
    recipe = replace(
        recipe,
        method=_unversioned(recipe.method),
        tasks=tuple(_unversioned(use) for use in recipe.tasks),
        datasets=tuple(datasets),
        loop_version=0,
    )
    return replace(trial, needs=tuple(needs), recipe=recipe)


def _unversioned(use: Use) -> Use:
    return replace(use, version=0)
