"""`tcc sync` keeps one W&B Report of a study, which tells the study's latest state."""

from __future__ import annotations

import json

import pytest
from made_up import checkpoint_of
from mirrored_child import run_trial

from tcc.report import build_report, mirror_report
from tcc.report.sync import sync_study

pytestmark = pytest.mark.usefixtures("mirroring")


def test_the_page_of_a_study_is_written_over_the_one_before(server, study):
    store, records = study()
    first = sync_study("few", store)
    (id,) = server.reports
    assert first.page == f"{server.url}/someone/tcc/reports/tcc-study-few--{id}"
    assert first.page in first.summary()
    _measure(store, records[0])
    second = sync_study("few", store)
    assert (second.page, second.trouble, second.failed) == (first.page, "", {})
    assert list(server.reports) == [id]
    sent = server.reports[id]
    assert sent["displayName"] == "tcc study few"
    told = json.dumps(json.loads(sent["spec"]), ensure_ascii=False)
    assert '"study-few"' in told  # the run whose charts are shown
    assert '"tags"' in told  # of the trials, which other studies may have run
    assert "| pair | metric |" in told
    assert ("report", "report-few") in server.artifacts
    written = _times(server, "upsertView")
    third = sync_study("few", store)
    assert (third.pushed, third.page) == ([], first.page)
    assert _times(server, "upsertView") == written


def test_the_report_that_is_sent_leads_to_the_runs(server, study):
    store, records = study()
    for record in records:
        _measure(store, record)
    result = sync_study("few", store)
    assert "study-few" in result.pushed
    files = build_report("few", store)
    assert not files.fresh  # it is the one that was sent
    page = files.page.read_text(encoding="utf-8")
    assert f"{server.url}/someone/tcc/runs/" in page


def test_a_page_that_cannot_be_written_leaves_the_runs_whole(server, study, monkeypatch):
    store, records = study()
    run_trial(store, records[0])
    monkeypatch.setattr(type(server), "_upsert_view", lambda self, sent: {"upsertView": None})
    result = sync_study("few", store)
    assert not result.failed
    assert "study-few" in result.pushed
    assert result.page == ""
    (line,) = result.lines()
    assert line.startswith("the W&B Report was not written: ")
    monkeypatch.undo()
    again = sync_study("few", store)  # although no run lacks anything
    assert (again.pushed, again.trouble) == ([], "")
    assert again.page.endswith(next(iter(server.reports)))


def test_a_study_that_was_online_throughout_gets_its_page(server, study):
    store, records = study("online")
    run_trial(store, records[0], "online")
    mirror_report("few", store, build_report("few", store))
    opened = server.opened()
    result = sync_study("few", store)
    assert (result.pushed, server.opened()) == ([], opened)
    (id,) = server.reports
    assert result.page.endswith(id)


def _times(server, query: str) -> int:
    return sum(name == query for name, _ in server.queries)


def _measure(store, record) -> None:
    """A trial that is trusted, and so has points."""
    run_trial(store, record)
    id = record.trial.id
    (store.directory / "trials" / id / "checkpoint.safetensors").write_bytes(checkpoint_of(id))
