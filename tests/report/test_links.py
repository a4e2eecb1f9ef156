"""Where a reader of the page finds a trial: its folder, its run."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from tcc.report import build_report
from tcc.report.links import links
from tcc.report.study import read_study


@pytest.fixture
def study(make_store):
    store = make_store()
    return store, read_study("made_up", store)


def with_wandb(study, **changes):
    settings = study.settings
    wandb = settings.wandb.model_copy(update=changes)
    return replace(study, settings=settings.model_copy(update={"wandb": wandb}))


def test_the_folder_is_beside_the_page(study):
    store, content = study
    found = links(content, store)
    page = build_report("made_up", store).page
    trial = next(iter(content.plan)).id
    assert (page.parent / found.folder / trial / "result.json").is_file()
    assert (found.run, found.pushed) == ("", frozenset())


def test_an_online_study_has_all_its_runs_at_its_project(study, monkeypatch):
    monkeypatch.delenv("WANDB_BASE_URL", raising=False)
    store, content = study
    online = with_wandb(content, mode="online", entity="lab", project="codecs")
    found = links(online, store)
    assert (found.run, found.pushed) == ("https://wandb.ai/lab/codecs/runs/", None)
    monkeypatch.setenv("WANDB_BASE_URL", "https://wandb.lab.example/")
    assert links(online, store).run == "https://wandb.lab.example/lab/codecs/runs/"


def test_what_was_synced_is_where_it_was_pushed_to(study):
    store, content = study
    ids = [trial.id for trial in content.plan]
    held = {
        "https://api.wandb.ai lab/few": {ids[0]: "x"},
        "https://api.wandb.ai lab/codecs with checkpoints": {ids[0]: "x", ids[1]: "x"},
    }
    store.write_study("made_up", "synced.json", json.dumps(held))
    found = links(content, store)
    assert (found.run, found.pushed) == ("https://wandb.ai/lab/codecs/runs/", set(ids[:2]))
    page = build_report("made_up", store).page.read_text()
    assert "https://wandb.ai/lab/codecs/runs/" in page
    for damage in ("torn", "{}", '{"nowhere": {}}', "[]", '{"a b": 3}'):
        store.write_study("made_up", "synced.json", damage)
        assert links(content, store).run == ""
