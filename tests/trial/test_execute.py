"""Whole trials on generated scenes through the real store: records, repeats, failures."""

from __future__ import annotations

import dataclasses
import hashlib

import pytest
import torch
from PIL import Image

from tcc.errors import TrialError
from tcc.records import FailureRecord, Plan, TrialRecord, TrialSpec
from tcc.stores import Store, open_store
from tcc.tasks.depth.metric import DepthAccumulator
from tcc.trial import attempt


def run_all(plan: Plan, store: Store, *kinds: str) -> dict[str, TrialRecord]:
    """Runs the plan's trials (of some kinds) in order; kind → the last one's record."""
    records = {}
    for trial in plan:
        if not kinds or trial.kind in kinds:
            outcome = attempt(trial, store, study=plan.study)
            assert isinstance(outcome, TrialRecord), outcome
            records[trial.kind] = outcome
    return records


def comparable(record: TrialRecord) -> TrialRecord:
    """The record without what may differ between two runs."""
    nowhere = dataclasses.replace(record.provenance, started_at="", machine="", study="")
    evaluations = tuple(
        dataclasses.replace(item, timings={}, provenance=nowhere) for item in record.evaluations
    )
    return dataclasses.replace(record, timings={}, provenance=nowhere, evaluations=evaluations)


def test_every_kind_runs_and_its_rates_add_up(tiny_plan, tmp_path):
    # odd sizes: the bits are over the original pixels, not the padded ones
    plan = tiny_plan("data.scenes.size=[37,50]")
    records = run_all(plan, open_store(tmp_path))
    assert set(records) == {trial.kind for trial in plan}
    for kind, record in records.items():
        (evaluation,) = record.evaluations
        (rate,) = evaluation.rates
        assert rate.num_pixels == 6 * 37 * 50
        assert {(image.height, image.width) for image in evaluation.per_image} == {(37, 50)}
        for stream, bpp in rate.bpp_by_stream.items():
            images = [image.bits_by_stream[stream] / (37 * 50) for image in evaluation.per_image]
            assert bpp == pytest.approx(sum(images) / 6, rel=1e-12)
            assert rate.bits_by_stream[stream] == pytest.approx(sum(images) * 37 * 50)
        layers = {
            "enhancement": {"base.y", "enhancement.y"},
            "standalone": {"base.y", "enhancement.y"},
            "single_layer": {"single_layer.y"},
            "pretrain": {"single_layer.y"},
            "pixels": set(),
        }.get(kind, {"base.y"})
        assert set(rate.bpp_by_stream) == layers
        assert rate.bpp == pytest.approx(sum(rate.bpp_by_stream.values()))
        assert {item.name.partition("/")[0] for item in evaluation.metrics} <= {
            "depth",
            "reconstruction",
        }
    base_rate = records["base"].evaluations[0].rates[0].bpp_by_stream["base.y"]
    for kind in ("direct", "enhancement", "standalone"):
        assert records[kind].evaluations[0].rates[0].bpp_by_stream["base.y"] == base_rate


def test_a_trial_run_twice_gives_the_same_bits(tiny_plan, tmp_path):
    plan = tiny_plan()
    kinds = ("pretrain", "base", "enhancement")
    torch.manual_seed(1)
    first = run_all(plan, open_store(tmp_path / "a"), *kinds)
    torch.manual_seed(2)  # nothing that ran before in the process may matter
    torch.set_num_threads(2)
    second = run_all(plan, open_store(tmp_path / "b"), *kinds)
    for kind in kinds:
        assert comparable(first[kind]) == comparable(second[kind])
        assert first[kind].training.checkpoint_sha256 == second[kind].training.checkpoint_sha256


def test_a_base_is_untouched_by_what_stands_on_it(tiny_plan, tmp_path):
    plan, store = tiny_plan(), open_store(tmp_path)
    run_all(plan, store, "pretrain", "base")

    def digests() -> dict[str, str]:
        bases = [trial.id for trial in plan if trial.kind == "base"]
        return {id: hashlib.sha256(store.checkpoint(id).read_bytes()).hexdigest() for id in bases}

    before = digests()
    records = run_all(plan, store, "enhancement", "direct", "standalone")
    assert digests() == before
    for need, used in records["enhancement"].training.parents_sha256.items():
        assert before.get(need, used) == used


def test_the_base_at_beta_0_is_the_same_without_its_decoder(tiny_plan, tmp_path):
    from safetensors.torch import load_file

    found = []
    for changes in ((), ("model.reconstruction_decoder=false", "grid.beta=[0]")):
        plan, store = tiny_plan(*changes), open_store(tmp_path / str(len(changes)))
        base = next(t for t in plan if t.kind == "base" and t.axes["beta"] == 0)
        assert isinstance(attempt(base, store), TrialRecord)
        found.append(load_file(store.checkpoint(base.id)))
    with_decoder, without = found
    assert len(without) < len(with_decoder)
    assert all(torch.equal(value, with_decoder[name]) for name, value in without.items())


def test_a_new_evaluation_trains_nothing(tiny_plan, tmp_path):
    store = open_store(tmp_path)
    before = run_all(tiny_plan(), store, "base")["base"]
    checkpoint = store.checkpoint(before.trial.id)
    written = checkpoint.stat().st_mtime_ns
    plan = tiny_plan("evaluate=[{}, {split: select}]")
    after = run_all(plan, store, "base")["base"]
    assert after.trial.id == before.trial.id
    assert checkpoint.stat().st_mtime_ns == written
    assert len(after.evaluations) == 2
    assert before.evaluations[0] in after.evaluations
    assert after.training == before.training


class Poisoned:
    """An observer that breaks at the first value it hears."""

    heard = 0

    def progress(self, progress): ...

    def log(self, step, values):
        self.heard += 1
        raise ZeroDivisionError("broken on purpose")

    def finished(self, outcome):
        self.heard += 1


def test_an_observer_that_breaks_is_no_more_heard_and_changes_nothing(tiny_plan, tmp_path):
    trial = tiny_plan().trials[0]
    observer = Poisoned()
    watched = attempt(trial, open_store(tmp_path / "a"), observer)
    alone = attempt(trial, open_store(tmp_path / "b"))
    assert isinstance(watched, TrialRecord)
    assert comparable(watched) == comparable(alone)
    assert observer.heard == 1
    assert "broken on purpose" in open_store(tmp_path / "a").log_path(trial.id).read_text()


def test_a_fault_becomes_a_failure_with_its_log(tiny_plan, tmp_path, monkeypatch):
    from tcc.trial import loop

    def breaks(*_):
        raise ZeroDivisionError("a fault of the code")

    monkeypatch.setattr(loop, "rate_weight", breaks)
    plan, store = tiny_plan(), open_store(tmp_path)
    outcome = attempt(plan.trials[0], store)
    assert isinstance(outcome, FailureRecord)
    assert outcome == store.failure(plan.trials[0].id)
    assert outcome.reason == "ZeroDivisionError: a fault of the code"
    assert outcome.evaluation == ""
    assert "Traceback" in store.log_path(outcome.trial.id).read_text()
    assert store.record(outcome.trial.id) is None
    monkeypatch.undo()
    assert isinstance(attempt(plan.trials[0], store), TrialRecord)
    assert store.failure(plan.trials[0].id) is None


@pytest.mark.parametrize("damage", ["missing", "torn", "another"])
def test_a_damaged_checkpoint_is_named_and_its_result_taken_back(tiny_plan, tmp_path, damage):
    plan, store = tiny_plan(), open_store(tmp_path)
    base = run_all(plan, store, "base")["base"].trial
    path = store.checkpoint(base.id)
    if damage == "missing":
        path.unlink()
    elif damage == "torn":
        path.write_bytes(path.read_bytes()[:-100])
    else:  # a valid file with other weights: the payload of safetensors has no checksum
        data = bytearray(path.read_bytes())
        data[-50:] = bytes(50)
        path.write_bytes(data)
    child = next(t for t in plan if t.kind == "direct" and t.needs == (base.id,))
    outcome = attempt(child, store)
    assert isinstance(outcome, FailureRecord)
    assert base.id in outcome.reason
    assert "taken back, `tcc retry STUDY`" in outcome.reason
    assert store.record(base.id) is None
    assert isinstance(attempt(base, store), TrialRecord)
    assert isinstance(attempt(child, store), TrialRecord)


def test_what_fails_in_an_evaluation_loses_no_training(tiny_plan, tmp_path):
    images = tmp_path / "images"
    images.mkdir()
    (images / "torn.png").write_bytes(b"\x89PNG\r\n\x1a\n torn")
    plan = tiny_plan(
        f"data={{scenes: {{train: 24, val: 6}}, more: {{type: images, root: {images}}}}}",
        "evaluate=[{data: more}, {}]",
    )
    store = open_store(tmp_path / "store")
    trial = next(item for item in plan if item.kind == "pretrain")
    outcome = attempt(trial, store)
    assert isinstance(outcome, FailureRecord)
    assert "torn.png" in outcome.reason
    assert outcome.evaluation == trial.evaluations[0].id
    record = store.record(trial.id)
    assert record is not None
    assert [item.evaluation.dataset.name for item in record.evaluations] == ["scenes"]
    written = store.checkpoint(trial.id).stat().st_mtime_ns
    whole = tmp_path / "whole.png"
    Image.new("RGB", (20, 20)).save(whole)
    whole.rename(images / "torn.png")
    repaired = next(
        item
        for item in tiny_plan(
            f"data={{scenes: {{train: 24, val: 6}}, more: {{type: images, root: {images}}}}}",
            "evaluate=[{}, {data: more}]",
        )
        if item.kind == "pretrain"
    )
    again = attempt(repaired, store)
    assert isinstance(again, TrialRecord)
    assert len(again.evaluations) == 2
    assert store.checkpoint(trial.id).stat().st_mtime_ns == written


def test_previews_of_each_evaluation_lie_apart(tiny_plan, tmp_path):
    store = open_store(tmp_path)
    record = run_all(tiny_plan("evaluate=[{}, {split: train}]"), store, "pretrain")["pretrain"]
    for item in record.evaluations:
        found = list((store.preview_dir(record.trial.id) / item.evaluation.id).glob("*.png"))
        assert len(found) == 6


def test_a_trial_whose_parent_has_no_result_is_not_begun(tiny_plan, tmp_path):
    plan, store = tiny_plan(), open_store(tmp_path)
    direct = next(trial for trial in plan if trial.kind == "direct")
    with pytest.raises(TrialError, match=f"{direct.needs[0]}.*`tcc retry STUDY`"):
        attempt(direct, store)
    assert store.failure(direct.id) is None
    assert store.trial(direct.id) is None


def test_a_diverging_trial_fails_with_step_and_term(tiny_plan, tmp_path):
    plan = tiny_plan("train.lr=1e38", "train.clip=1e30")
    trial: TrialSpec = next(item for item in plan if item.kind == "base")
    outcome = attempt(trial, open_store(tmp_path))
    assert isinstance(outcome, FailureRecord)
    assert outcome.step is not None
    assert outcome.step >= 1
    assert outcome.term


def test_a_parent_on_another_checkpoint_than_its_own_parents_is_refused(tiny_plan, tmp_path):
    plan, store = tiny_plan(), open_store(tmp_path)
    run_all(plan, store, "pretrain", "base", "enhancement")
    standalone = next(trial for trial in plan if trial.kind == "standalone")
    (enhancement,) = standalone.needs
    record = store.record(enhancement)
    assert record is not None
    parents = dict.fromkeys(record.training.parents_sha256, "0" * 64)
    training = dataclasses.replace(record.training, parents_sha256=parents)
    store.commit(dataclasses.replace(record, training=training))
    outcome = attempt(standalone, store)
    assert isinstance(outcome, FailureRecord)
    assert f"trial {enhancement}, which {standalone.id} needs, was trained on" in outcome.reason
    assert "`tcc retry STUDY`" in outcome.reason


def test_an_evaluation_without_its_headline_metric_fails(tiny_plan, tmp_path, monkeypatch):
    plan, store = tiny_plan(), open_store(tmp_path)
    base = next(trial for trial in plan if trial.kind == "base")
    monkeypatch.setattr(DepthAccumulator, "compute", lambda self: {})
    outcome = attempt(base, store)
    assert isinstance(outcome, FailureRecord)
    assert outcome.term == "depth/rmse"
    assert "scenes val: no depth/rmse, since no image has a label of the kind" in outcome.reason
    assert store.record(base.id) is not None  # the training stands
