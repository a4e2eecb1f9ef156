"""A file of a data set that is torn is named, by the plan or by the failure of a trial."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tcc.errors import DataError, SpecError
from tcc.formats.image import SUFFIXES
from tcc.records import FailureRecord
from tcc.stores import Store, open_store
from tcc.trial import attempt
from tcc.trial.data import labels_of


def test_a_torn_file_is_named(one_pair, make_tiny, plan_study, tmp_path):
    """Where a worker process loads the images, too."""
    data = make_tiny(one_pair.measured)
    data.plugin.prepare(data.params)
    trains = one_pair.measured == one_pair.dataset
    train = {"steps": len(data.plugin.open(data.params, "train")), "batch": 1}  # all images once
    tasks = plan_study(one_pair, data, train=train).trials[0].recipe.tasks
    labels = labels_of(tasks) & set(data.plugin.describe(data.params).labels)
    torn = list(_needed(data, "train" if trains else "val", labels))
    assert any(_is_image(path) for path in torn)
    for index, path in enumerate(torn):
        store, resources = open_store(tmp_path / str(index)), {"default": {"cpu": 1 + index % 2}}
        with _torn(path):
            try:
                plan = plan_study(one_pair, data, train=train, resources=resources)
            except SpecError as error:
                _check_problem(error, path)
            else:
                _check_failure(attempt(plan.trials[0], store), store, path, trains)


def _check_problem(error: SpecError, path: Path) -> None:
    """Labels may be read for a plan, images are not."""
    (problem,) = error.problems
    assert str(path) in problem.message
    assert not _is_image(path)


def _check_failure(outcome: Any, store: Store, path: Path, trains: bool) -> None:
    assert isinstance(outcome, FailureRecord)
    assert str(path) in outcome.reason
    assert "Traceback" not in outcome.reason
    assert "\n" not in outcome.reason
    assert outcome == store.failure(outcome.trial.id)
    assert "Traceback" in Path(outcome.log).read_text()
    # what fails in an evaluation loses no training
    assert (store.record(outcome.trial.id) is None) == trains


def _needed(data: Any, split: str, labels: Collection[str]) -> Iterator[Path]:
    """Files without which the first sample of a split cannot be read with these labels, one of
    each folder and suffix."""
    found = set()
    for path in sorted(data.folder.rglob("*")):
        if path.is_file() and (path.parent, path.suffix) not in found:
            try:
                with _torn(path):
                    data.plugin.open(data.params, split, labels)[0]
            except DataError:
                found.add((path.parent, path.suffix))
                yield path


@contextmanager
def _torn(path: Path) -> Iterator[None]:
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    try:
        yield
    finally:
        path.write_bytes(whole)


def _is_image(path: Path) -> bool:
    return path.name.lower().endswith(SUFFIXES)
