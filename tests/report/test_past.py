"""The report of a plan that was replaced: its own folder, its own banner, the records of then."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tcc.errors import StoreError
from tcc.plan import plan_from_json, plan_to_json
from tcc.plan.past import keep_past, past
from tcc.report import build_report
from tcc.report.study import read_study


@pytest.fixture(autouse=True)
def no_figures(monkeypatch):
    monkeypatch.setattr("tcc.report.build.draw_figures", lambda *_: ())


@pytest.fixture
def replaced(make_store):
    """A store whose study was planned anew, as after a version was raised: all ids differ."""
    store = make_store(failing=True)
    spec, text = (store.read_study("made_up", file) for file in ("spec.yaml", "plan.json"))
    plan = plan_from_json(text)
    new = {trial.id: f"{at:016x}" for at, trial in enumerate(plan)}
    trials = [
        replace(trial, id=new[trial.id], needs=tuple(new[need] for need in trial.needs))
        for trial in plan
    ]
    later = plan_to_json(replace(plan, trials=tuple(trials)))
    keep_past("made_up", store, spec, later)
    return store, plan


def test_an_archived_plan_is_read_with_its_results(replaced):
    store, plan = replaced
    (archived,) = past("made_up", store)
    assert list(read_study("made_up", store).records) == []
    then = read_study("made_up", store, past=archived.digest[:4])
    assert [trial.id for trial in then.plan] == [trial.id for trial in plan]
    assert len(list(then.records)) == 83
    assert then.past == archived


def test_its_report_lies_beside_it_and_says_what_it_is(replaced):
    store, _ = replaced
    (archived,) = past("made_up", store)
    today = build_report("made_up", store)
    then = build_report("made_up", store, past=archived.digest)
    folder = store.study_dir("made_up")
    assert today.page.parent == folder / "report"
    assert then.page.parent == folder / "past" / archived.digest / "report"
    assert len(then.curves) > 50
    assert today.curves == ()
    banner = f"Results of an older recipe: plan {archived.digest}, replaced "
    assert banner in then.page.read_text()
    assert banner not in today.page.read_text()
    assert "were never done" not in then.page.read_text()
    assert not build_report("made_up", store, past=archived.digest).fresh


def test_results_stand_without_the_checkpoints_that_nobody_needs_again(replaced):
    store, _ = replaced
    for path in (store.directory / "trials").glob("*/checkpoint.safetensors"):
        path.unlink()
    (archived,) = past("made_up", store)
    assert len(list(read_study("made_up", store, past=archived.digest).records)) == 83


def test_an_unknown_digest_lists_what_there_is(replaced):
    store, _ = replaced
    (archived,) = past("made_up", store)
    with pytest.raises(StoreError, match=rf"no plan that begins.*{archived.digest}.*83 results"):
        build_report("made_up", store, past="nothing")


def test_a_study_without_past_says_so(make_store):
    with pytest.raises(StoreError, match="none of its plans was ever replaced"):
        build_report("made_up", make_store(), past="abc")
