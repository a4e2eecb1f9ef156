"""A trial that was cut off goes on, and ends as if it never had been."""

from __future__ import annotations

import dataclasses
import os
import signal

import pytest

from tcc.records import FailureRecord, TrialRecord, TrialSpec
from tcc.stores import Store, open_store
from tcc.trial import attempt, state

STEPS = ("train.steps=12", "train.select_every=4")
DETECTION = """
study: tiny
data: {scenes: {train: 24, val: 6, select: 8, size: 32}}
pairs: [{base: detection, enhancement: reconstruction}]
grid: {lambda_b: [0.3], lambda_e: [0.3], beta: [0]}
model: {channels: [4, 6, 8], latent: 4, blocks: 1}
tasks: {detection: {width: 8, anchor_sizes: [8, 16]}}
train: {batch: 4}
wandb: {mode: disabled}
"""


class Cutting:
    """Ends a trial at the first values of a step, in its midst."""

    def __init__(self, at: int, how):
        self.at, self.how = at, how

    def progress(self, progress): ...

    def log(self, step, values):
        if step == self.at and "val/rd_cost" not in values:
            self.how()

    def finished(self, outcome): ...


def killed():
    """As sudden as a kill, for all that a trial can do about it."""
    raise KeyboardInterrupt


def interrupted():
    os.kill(os.getpid(), signal.SIGINT)


def weights(store: Store, trial: TrialSpec) -> dict[str, bytes]:
    folder = store.checkpoint(trial.id).parent
    return {path.name: path.read_bytes() for path in folder.glob("*.safetensors")}


def essence(record: TrialRecord) -> tuple:
    """What must not differ."""
    measured = [(item.rates, item.metrics, item.per_image) for item in record.evaluations]
    return record.training, measured


@pytest.fixture(autouse=True)
def saved_after_every_step(monkeypatch):
    monkeypatch.setattr(state, "AT_SELECTION_S", 0.0)
    monkeypatch.setattr(state, "BETWEEN_S", 0.0)
    monkeypatch.setattr(state, "WORK_PER_SAVE", 0)


@pytest.mark.parametrize("cut", [killed, interrupted])
@pytest.mark.parametrize(
    ("kind", "changes"),
    [
        ("base", ()),
        ("base", ("train.precision=bf16", "model.hyperprior=true", "train.accumulate=2")),
        ("enhancement", ("train.patience=2", "train.lr=0.05", "train.select_every=2")),
        ("enhancement", ("train.crop=32", "train.flip=true", "resources.enhancement.cpu=3")),
        ("detection", ("train.flip=true",)),
    ],
)
def test_it_ends_with_the_same_bits(tiny_plan, tmp_path, kind, changes, cut):
    if kind == "detection":
        plan = tiny_plan(*STEPS, *changes, text=DETECTION)
    else:
        plan = tiny_plan(*STEPS, *changes)
    stores = open_store(tmp_path / "whole"), open_store(tmp_path / "cut")
    wanted = next(t for t in plan if t.kind == ("base" if kind == "detection" else kind))
    for trial in plan:
        if trial.id in wanted.needs:
            assert [type(attempt(trial, store)) for store in stores] == [TrialRecord] * 2
    expected = attempt(wanted, stores[0])
    assert isinstance(expected, TrialRecord), expected
    at = expected.training.rd_cost[1][0]
    with pytest.raises(KeyboardInterrupt):
        attempt(wanted, stores[1], Cutting(at, cut))
    assert stores[1].state(wanted.id) is not None
    assert stores[1].record(wanted.id) is None
    found = attempt(wanted, stores[1])
    assert essence(found) == essence(expected)
    assert weights(stores[1], wanted) == weights(stores[0], wanted)
    assert list(stores[1].metrics(wanted.id)) == list(stores[0].metrics(wanted.id))
    done = at if cut is interrupted else at - 1
    assert f"going on after step {done}" in stores[1].log_path(wanted.id).read_text()
    assert stores[1].state(wanted.id) is None
    assert found.timings["train"] > 0


def test_other_parents_start_over(tiny_plan, tmp_path):
    plan, store = tiny_plan(*STEPS), open_store(tmp_path)
    base, direct = (next(t for t in plan if t.kind == kind) for kind in ("base", "direct"))
    attempt(base, store)
    with pytest.raises(KeyboardInterrupt):
        attempt(direct, store, Cutting(8, killed))
    record = store.record(base.id)
    other = tmp_path / "other"
    longer = next(t for t in tiny_plan("train.steps=13") if t.kind == "base")
    attempt(longer, open_store(other))
    found = open_store(other).checkpoint(longer.id).read_bytes()
    digest = store.save_checkpoint(base.id, lambda path: path.write_bytes(found))
    training = dataclasses.replace(record.training, checkpoint_sha256=digest)
    store.commit(dataclasses.replace(record, training=training))
    outcome = attempt(direct, store)
    assert isinstance(outcome, TrialRecord), outcome
    assert outcome.training.parents_sha256 == {base.id: digest}
    assert "other parents" in store.log_path(direct.id).read_text()


def test_the_last_weights_are_kept_where_they_are_not_the_best(tiny_plan, tmp_path):
    from safetensors.torch import load_file

    found = {}
    for rate in (0.001, 0.3):  # the second one overshoots
        store = open_store(tmp_path / str(rate))
        trial = next(t for t in tiny_plan(*STEPS, f"train.lr={rate}") if t.kind == "pretrain")
        training = attempt(trial, store).training
        last = store.checkpoint(trial.id).with_name("last.safetensors")
        assert last.exists() == (training.best_step != training.steps)
        assert (training.last_sha256 == training.checkpoint_sha256) == (not last.exists())
        found[last.exists()] = store, trial
    store, trial = found[True]
    best = load_file(store.checkpoint(trial.id))
    last = load_file(store.checkpoint(trial.id).with_name("last.safetensors"))
    assert best.keys() == last.keys()
    assert any(not (best[name] == last[name]).all() for name in best)


def test_what_diverged_leaves_no_state_to_go_on_from(tiny_plan, tmp_path):
    store = open_store(tmp_path)
    trial = next(t for t in tiny_plan("train.lr=1e38", "train.clip=1e30") if t.kind == "base")
    for _ in range(2):
        outcome = attempt(trial, store)
        assert isinstance(outcome, FailureRecord)
        assert outcome.term
        assert store.state(trial.id) is None
