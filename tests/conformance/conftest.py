"""Tiny instances of the data sets, and tiny studies on them, made from what plug-ins say alone."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from tcc import registry
from tcc.datasets import Dataset
from tcc.plan import expand
from tcc.records import Plan
from tcc.spec import parse_spec

CROP = 32


@dataclass(frozen=True)
class Tiny:
    """A data set plug-in, the parameters of its tiny instance and the folder of all its files."""

    plugin: Dataset
    written: Mapping[str, Any]
    folder: Path

    @property
    def params(self) -> Any:
        return self.plugin.Params.model_validate(self.written)


@dataclass(frozen=True)
class Pair:
    """Two tasks of a data set, which is ``measured`` on as well or, having one task, instead.
    ``every_kind``: the study has every kind of trial."""

    method: str
    dataset: str
    base: str
    enhancement: str
    measured: str
    every_kind: bool = False

    def __str__(self) -> str:
        where = self.dataset if self.measured == self.dataset else f"{self.dataset}-{self.measured}"
        return f"{self.method}-{where}-{self.base}-{self.enhancement}"


@cache
def _look(dataset: str) -> tuple[tuple[str, ...], bool]:
    """The tasks that a data set has labels for; whether its images are of several sizes."""
    plugin = registry.load("datasets", dataset)
    with tempfile.TemporaryDirectory() as folder:
        params = plugin.Params.model_validate(plugin.tiny(Path(folder)))
        labels = ("image", *plugin.describe(params).labels)
        samples = plugin.open(params, "train")
        sizes = {samples.size(index) for index in range(len(samples))}
    tasks = registry.names("tasks")
    found = tuple(name for name in tasks if registry.load("tasks", name).label in labels)
    return found, len(sizes) > 1


@cache
def _pairs(method: str) -> tuple[Pair, ...]:
    """Each task of each data set once as base, once as enhancement. Every kind of trial once for
    images of one size, once for images of several."""
    found, seen = [], set()
    for dataset in registry.names("datasets"):
        tasks, several_sizes = _look(dataset)
        for base, enhancement in zip(tasks, [*tasks[1:], *tasks[:1]], strict=True):
            if len(tasks) > 1:
                every_kind = several_sizes not in seen
                found.append(Pair(method, dataset, base, enhancement, dataset, every_kind))
                seen.add(several_sizes)
    for dataset in registry.names("datasets"):
        tasks, _ = _look(dataset)
        if len(tasks) == 1:
            pair = next(pair for pair in found if pair.enhancement == tasks[0])
            found.append(Pair(method, pair.dataset, pair.base, pair.enhancement, dataset))
    return tuple(found)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """``pair``: each of every method. ``one_pair``: for each data set the first."""
    for name in {"pair", "one_pair"} & set(metafunc.fixturenames):
        pairs = [pair for method in registry.names("methods") for pair in _pairs(method)]
        if name == "one_pair":
            pairs = list({pair.measured: pair for pair in reversed(pairs)}.values())
        metafunc.parametrize(name, pairs, ids=str, scope="module")


@pytest.fixture(scope="session")
def make_tiny(tmp_path_factory) -> Callable[[str], Tiny]:
    """A new tiny instance, which the caller may damage."""

    def made(name: str) -> Tiny:
        plugin, folder = registry.load("datasets", name), tmp_path_factory.mktemp(name)
        return Tiny(plugin, plugin.tiny(folder), folder)

    return made


@pytest.fixture(scope="session")
def tiny(make_tiny) -> Callable[[str], Tiny]:
    """The tiny instance that all tests read."""
    return cache(make_tiny)


@pytest.fixture(scope="session")
def plan_study(tiny) -> Callable[..., Plan]:
    """Plans a study of one pair that trains two steps of two images. Every second kind of its
    method sees crops and flips, the others whole images. ``damaged``: stands for the data set that
    is measured on; ``sections``: of the spec, instead of those here."""

    def planned(pair: Pair, damaged: Tiny | None = None, **sections: Any) -> Plan:
        method = registry.load("methods", pair.method)
        tasks = {name: registry.load("tasks", name).tiny for name in (pair.base, pair.enhancement)}
        data = {name: tiny(name).written for name in (pair.dataset, pair.measured)}
        train: dict[str, Any] = {kind: {"crop": CROP, "flip": True} for kind in method.kinds[::2]}
        train |= {"steps": 2, "batch": 2, "warm_start": "pretrain" if pair.every_kind else "none"}
        spec = {
            "study": "conformance",
            "method": pair.method,
            "data": data | ({pair.measured: damaged.written} if damaged else {}),
            "pairs": [
                {"base": pair.base, "enhancement": pair.enhancement, "dataset": pair.dataset}
            ],
            "grid": {"lambda_b": [0.3], "lambda_e": [0.5], "beta": [0.1]},
            "also": list(method.optional) if pair.every_kind else [],
            "model": method.tiny,
            "tasks": {name: params for name, params in tasks.items() if params},
            "train": train,
            "evaluate": [{"data": pair.measured}],
            "report": {"anchor": {}},
            "wandb": {"mode": "disabled"},
        }
        plain = json.loads(json.dumps(spec | sections, default=dict))
        return expand(parse_spec(yaml.safe_dump(plain)))

    return planned
