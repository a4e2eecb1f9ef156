"""What only a GPU can show: the trial's whole way on one, its share of it, and several of them."""

from __future__ import annotations

import pytest
import torch

from tcc.records import FailureRecord, TrialRecord
from tcc.stores import open_store
from tcc.trial import attempt, state

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")]


def test_a_trial_trains_resumes_and_is_evaluated_on_a_gpu(tiny_plan, tmp_path, monkeypatch):
    monkeypatch.setattr(state, "AT_SELECTION_S", 0.0)
    changes = ("train.crop=32", "train.flip=true", "train.accumulate=2", "train.precision=bf16")
    plan = tiny_plan(*changes, "resources.base.gpu=0.5", "resources.base.cpu=3", "train.steps=20")
    trial = next(trial for trial in plan if trial.kind == "base")
    store = open_store(tmp_path)

    class Cut:
        def progress(self, progress): ...

        def log(self, step, values):
            if step == 10:
                raise KeyboardInterrupt

        def finished(self, outcome): ...

    with pytest.raises(KeyboardInterrupt):
        attempt(trial, store, Cut())
    outcome = attempt(trial, store)
    assert isinstance(outcome, TrialRecord), outcome
    assert outcome.provenance.device == "cuda:0"
    assert outcome.training.steps == 20
    assert "going on after step" in store.log_path(trial.id).read_text()


def test_a_deterministic_trial_gives_the_same_bits(tiny_plan, tmp_path):
    plan = tiny_plan("resources.pretrain.gpu=1", "train.deterministic=true", "train.steps=20")
    trial = next(trial for trial in plan if trial.kind == "pretrain")
    records = [attempt(trial, open_store(tmp_path / name)) for name in ("a", "b")]
    assert len({record.training.checkpoint_sha256 for record in records}) == 1


def test_a_trial_that_outgrows_its_share_fails_with_advice(tiny_plan, tmp_path):
    plan = tiny_plan(
        "resources.pretrain.gpu=0.002", "data.scenes.size=1024", "train.batch=24", "train.steps=2"
    )
    trial = next(trial for trial in plan if trial.kind == "pretrain")
    outcome = attempt(trial, open_store(tmp_path))
    assert isinstance(outcome, FailureRecord)
    assert outcome.reason.startswith("the memory of cuda:0 (")
    assert ", of its share of " in outcome.reason
    assert "was tried and fits" in outcome.reason or "not even one image" in outcome.reason
    torch.empty(1 << 28, device="cuda")  # the cap is gone


@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="one GPU")
def test_two_gpus_train_as_one_that_accumulates(tiny_plan, tmp_path):
    costs = []
    for field in ("accumulate", "devices"):
        plan = tiny_plan(f"train.{field}=2", "resources.pretrain.gpu=2", "train.steps=20")
        trial = next(trial for trial in plan if trial.kind == "pretrain")
        outcome = attempt(trial, open_store(tmp_path / field))
        assert isinstance(outcome, TrialRecord), outcome
        costs.append([cost for _, cost in outcome.training.rd_cost])
    assert costs[0] == pytest.approx(costs[1], rel=1e-3)
