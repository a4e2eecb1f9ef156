"""Every task on every data set that has its labels, by every kind of trial of every method: planned
from a sweep file, trained, measured, saved, read back, repeated, interrupted and resumed."""

from __future__ import annotations

import math
import signal
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import pytest
import torch
from PIL import Image

from tcc import registry
from tcc.errors import TrialError
from tcc.records import EvaluationRecord, Plan, Resources, TrialRecord, TrialSpec
from tcc.stores import Store, open_store
from tcc.trial import checkpoint, execute, files
from tcc.trial.data import open_split
from tcc.trial.interrupt import asked_by_signals
from tcc.trial.loading import TrainingBatches
from tcc.trial.parents import build
from tcc.trial.place import place_of


class Heard:
    """An observer that hears the steps, and presses Ctrl-C at one of them."""

    def __init__(self, interrupt_at: int = 0):
        self.steps: list[int] = []
        self.interrupt_at = interrupt_at

    def progress(self, progress: Any) -> None: ...

    def log(self, step: int, values: Mapping[str, float]) -> None:
        if not any(name.startswith("train/") for name in values):
            return
        self.steps.append(step)
        if step == self.interrupt_at:
            signal.raise_signal(signal.SIGINT)

    def finished(self, outcome: Any) -> None: ...


@dataclass(frozen=True)
class Ran:
    """A study that was run to its end. ``steps``: trial → those that its observer heard of."""

    plan: Plan
    store: Store
    steps: Mapping[str, list[int]]

    def record(self, trial: TrialSpec) -> TrialRecord:
        """As the files have it."""
        record = open_store(self.store.uri, write=False).record(trial.id)
        assert record is not None
        return record


@pytest.fixture(scope="module")
def ran(pair, plan_study, tmp_path_factory) -> Ran:
    plan = plan_study(pair)
    store, steps = open_store(tmp_path_factory.mktemp("store")), {}
    for trial in plan:
        heard = Heard()
        record = execute(trial, store, heard, study=plan.study)
        assert record == store.record(trial.id)
        steps[trial.id] = heard.steps
    return Ran(plan, store, steps)


def test_every_kind_is_planned(ran, pair):
    """Once for images of one size and once for several; both tasks always."""
    assert {task for trial in ran.plan for task in trial.tasks} == {pair.base, pair.enhancement}
    kinds = {trial.kind for trial in ran.plan}
    assert len(kinds) > 1
    assert not pair.every_kind or kinds == set(registry.load("methods", pair.method).kinds)


def test_a_record_tells_of_the_training(ran):
    for trial in ran.plan:
        training = ran.record(trial).training
        assert ran.steps[trial.id] == [1, 2]
        assert training.steps == 2
        assert [step for step, _ in training.rd_cost] == [1, 2]
        assert all(math.isfinite(cost) for _, cost in training.rd_cost)
        assert training.best_rd_cost == min(cost for _, cost in training.rd_cost)
        assert all(math.isfinite(value) for value in training.last_terms.values())
        assert training.last_terms["total"] > 0
        assert sum(training.num_parameters.values()) > 0
        kmac = dict(training.kmac_per_pixel)
        assert kmac.pop("total") == pytest.approx(sum(kmac.values()))
        assert all(value > 0 for value in kmac.values())
        assert sum(kmac.values()) > 0
        select = open_split(trial.recipe.datasets[0], "select")
        assert training.kmac_size == select.size(0)
        assert training.initial_weights == {use.name: "random" for use in trial.recipe.tasks}
        assert set(training.parents_sha256) == set(trial.needs)
        for need, sha256 in training.parents_sha256.items():
            assert sha256 == ran.store.checkpoint_sha256(need)


def test_images_become_files_and_come_back(ran, pair, tmp_path):
    """By every kind that codes, and each task's prediction is written."""
    method, seen = registry.load("methods", pair.method), set()
    images = [tmp_path / "dot.png", tmp_path / "odd.png"]
    for image, size in zip(images, ((1, 1), (47, 31))):
        Image.linear_gradient("L").resize(size).save(image)
    for trial in ran.plan:
        coded, out = tmp_path / trial.id, tmp_path / f"{trial.id}.out"
        if not method.num_layers(trial.kind):
            with pytest.raises(TrialError, match=trial.kind):
                files.encode(trial.id, images, coded, store=ran.store.uri)
            continue
        encoded = files.encode(trial.id, images, coded, store=ran.store.uri)
        decoded = files.decode([coded], out, layer="all", store=ran.store.uri)
        assert not encoded.failed | decoded.failed
        assert [item.layer_bytes for item in encoded.done] == [
            item.layer_bytes for item in decoded.done
        ]
        assert len(encoded.done[0].layer_bytes) == method.num_layers(trial.kind)
        assert all(path.stat().st_size for item in decoded.done for path in item.outputs)
        seen |= {path.name.split(".")[2] for item in decoded.done for path in item.outputs}
    assert {pair.base, pair.enhancement} <= seen


def test_a_record_tells_of_the_evaluation(ran, pair):
    """Rates above zero, sizes of the images, and finite metrics as the tasks declare them."""
    places = set()
    for trial in ran.plan:
        (evaluation,) = ran.record(trial).evaluations
        _check_evaluation(trial, evaluation)
        places.add(evaluation.evaluation.dataset.name)
    assert places == {pair.measured}


def _check_evaluation(trial: TrialSpec, evaluation: EvaluationRecord) -> None:
    samples = open_split(evaluation.evaluation.dataset, evaluation.evaluation.split)
    images = evaluation.per_image
    assert [image.key for image in images] == [samples[i].key for i in range(len(samples))]
    assert [(image.height, image.width) for image in images] == [
        samples.size(i) for i in range(len(samples))
    ]
    (rate,) = evaluation.rates
    assert rate.num_pixels == sum(image.height * image.width for image in images)
    if trial.kind == "pixels":
        assert rate.bpp == 0
    else:
        assert rate.bpp > 0
        assert all(math.isfinite(bpp) and bpp > 0 for bpp in rate.bpp_by_stream.values())
        assert all(image.bits_by_stream.keys() == rate.bpp_by_stream.keys() for image in images)
    declared = {
        f"{name}/{info.name}": info
        for name in {use.name for use in trial.recipe.tasks}
        for info in registry.load("tasks", name).metrics
    }
    reported = {metric.name: metric for metric in evaluation.metrics}
    assert reported
    assert set(reported) <= set(evaluation.evaluation.metrics) <= set(declared)
    for name, metric in reported.items():
        assert math.isfinite(metric.value)
        assert metric.unit == declared[name].unit
        assert metric.higher_is_better == declared[name].higher_is_better
    for name in {name.partition("/")[0] for name in evaluation.evaluation.metrics}:
        assert f"{name}/{registry.load('tasks', name).headline.name}" in reported
    for image in images:
        assert all(declared[name].per_image for name in image.metrics)
        assert all(math.isfinite(value) for value in image.metrics.values())


def test_weights_load_into_a_new_model(ran):
    for trial in ran.plan:
        sha256 = ran.record(trial).training.checkpoint_sha256
        state = checkpoint.read(ran.store.checkpoint(trial.id), sha256)
        model = build(trial, ran.store)
        assert model.trained_state().keys() == state.keys()
        initial = {name: value.clone() for name, value in model.trained_state().items()}
        assert any(not torch.equal(value, state[name]) for name, value in initial.items())
        model.load_trained(state)
        assert all(torch.equal(x, state[name]) for name, x in model.trained_state().items())


def test_again_trains_nothing(ran):
    for trial in ran.plan:
        before, heard = ran.record(trial), Heard()
        written = ran.store.checkpoint(trial.id).stat().st_mtime_ns
        assert execute(trial, ran.store, heard) == before
        assert heard.steps == []
        assert ran.store.checkpoint(trial.id).stat().st_mtime_ns == written


def test_images_come_whole_and_cropped(ran):
    """The batches of these trials, and more of them."""
    cropped = set()
    for trial in ran.plan:
        recipe = trial.recipe.train
        samples = open_split(trial.recipe.datasets[0], "train")
        sizes = {samples.size(index) for index in range(len(samples))}
        key = registry.load("methods", trial.method).batch_key(trial)
        batches = TrainingBatches(samples, recipe, seed=0, key=key, place=place_of(trial))
        stream = batches.stream()
        found = [next(stream) for _ in range(12)]
        stream.close()
        cropped.add(recipe.crop > 0)
        if recipe.crop:
            assert {batch.size for batch in found} == {(recipe.crop, recipe.crop)}
            assert not any(batch.padded for batch in found)
        else:
            assert {size for batch in found for size in batch.sizes} == sizes
            assert any(batch.padded for batch in found) == (len(sizes) > 1)
    assert cropped == {True, False}


@pytest.fixture
def ctrl_c():
    """Ctrl-C as Python handles it, whatever runs these tests."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("ctrl_c")
def test_an_interrupted_trial_ends_as_one_that_never_was(ran, tmp_path):
    store = open_store(tmp_path)
    for trial in ran.plan:
        heard = Heard(interrupt_at=1)
        with pytest.raises(KeyboardInterrupt), asked_by_signals() as stop:
            execute(trial, store, heard, stop=stop)
        assert heard.steps == [1]
        assert store.record(trial.id) is None
        assert store.state(trial.id) is not None
        heard = Heard()
        resumed = execute(trial, store, heard)
        assert heard.steps == [2]
        assert store.state(trial.id) is None
        whole = ran.record(trial)
        assert resumed.training.checkpoint_sha256 == whole.training.checkpoint_sha256
        assert resumed.training == whole.training
        assert _measured(resumed) == _measured(whole)
        assert list(store.metrics(trial.id)) == list(ran.store.metrics(trial.id))


def test_loader_workers_change_nothing(one_pair, plan_study, tmp_path):
    trial = next(trial for trial in plan_study(one_pair) if not trial.needs)
    helped = replace(trial, resources=Resources(cpu=2.0))
    assert [place_of(each).workers for each in (trial, helped)] == [0, 1]
    alone = execute(trial, open_store(tmp_path / "alone"))
    record = execute(helped, open_store(tmp_path / "helped"))
    assert record.training == alone.training
    assert _measured(record) == _measured(alone)


def _measured(record: TrialRecord) -> Any:
    """What an evaluation measured, without when and where."""
    return [(item.rates, item.metrics, item.per_image) for item in record.evaluations]
