"""A report as new as its store: drawn as results arrive, until all are there."""

from __future__ import annotations

import threading
import time

import psutil
import pytest
from click.testing import CliRunner
from made_up import checkpoint_of, fabricate, plan_of

from tcc.cli import cli
from tcc.errors import StoreError
from tcc.plan import plan_to_json
from tcc.report import build_report, watch_report, watching
from tcc.stores import open_store


@pytest.fixture(autouse=True)
def no_figures(monkeypatch):
    monkeypatch.setattr("tcc.report.build.draw_figures", lambda *_: ())


@pytest.fixture
def growing(tmp_path):
    """A planned study with nothing done, and a function that finishes its next trials."""
    plan, spec = plan_of((0,))
    store = open_store(tmp_path / "runs")
    store.write_study("made_up", "spec.yaml", spec)
    store.write_study("made_up", "plan.json", plan_to_json(plan))
    left = list(plan)

    def finish(count: int) -> None:
        for trial in [left.pop(0) for _ in range(min(count, len(left)))]:
            folder = store.directory / "trials" / trial.id
            folder.mkdir(parents=True)
            (folder / "checkpoint.safetensors").write_bytes(checkpoint_of(trial.id))
            store.commit(fabricate(trial))

    return store, finish, len(left)


def test_it_is_drawn_when_something_came_and_ends_when_all_is_there(growing):
    store, finish, count = growing
    told, looks = [], 0

    def draw():
        nonlocal looks
        looks += 1
        files = build_report("made_up", open_store(store.uri, write=False), reload_s=1)
        if looks != 2:  # at the second look nothing has changed
            finish(count // 2)
        return files

    watch_report(draw, told.append, every_s=0.0)
    assert looks == 4
    assert [files.unfinished for files in told] == [True, True, False]
    assert 'http-equiv="refresh"' not in told[-1].page.read_text()


def test_the_page_of_an_unfinished_study_loads_itself_again(growing):
    store, finish, _ = growing
    finish(3)
    page = build_report("made_up", store, reload_s=7).page
    assert '<meta http-equiv="refresh" content="7">' in page.read_text()
    page = build_report("made_up", store).page
    assert 'http-equiv="refresh"' not in page.read_text()


def test_trouble_at_the_first_time_ends_it_and_later_it_is_tried_again(growing):
    store, finish, count = growing
    finish(count - 1)
    good = build_report("made_up", store)
    finish(1)
    done = build_report("made_up", store)
    fate = iter([good, StoreError("away"), done])

    def draw():
        it = next(fate)
        if isinstance(it, StoreError):
            raise it
        return it

    told = []
    watch_report(draw, told.append, every_s=0.0)
    assert told == [good, done]
    with pytest.raises(StoreError, match="away"):
        watch_report(lambda: (_ for _ in ()).throw(StoreError("away")), told.append, every_s=0.0)


def test_the_verb_says_each_time(growing, monkeypatch):
    store, finish, count = growing
    monkeypatch.setattr("tcc.report.EVERY_S", 0.05)
    finish(1)
    later = threading.Timer(1.0, finish, (count,))
    later.start()
    told = CliRunner().invoke(cli, ["report", "made_up", "--store", store.uri, "--watch"])
    later.join()
    assert told.exit_code == 0, told.output
    lines = told.stdout.splitlines()
    assert lines[0].endswith("index.html, more to come")
    assert lines[-1].endswith("index.html")
    both = ["report", "made_up", "--store", store.uri, "--watch", "--json"]
    assert CliRunner().invoke(cli, both).exit_code == 2


@pytest.mark.timeout(90)
def test_beside_a_run_a_process_draws_and_ends_with_it(growing):
    store, finish, _ = growing
    finish(2)
    page = store.study_dir("made_up") / "report" / "index.html"
    before = children()
    with watching("made_up", store.uri, every_s=0.2):
        assert len(children() - before) == 1
        wait_for(page.is_file, 40)
        first = page.stat().st_mtime_ns
        finish(5)
        wait_for(lambda: page.stat().st_mtime_ns != first, 40)
    assert children() == before


@pytest.mark.timeout(90)
def test_what_is_wrong_before_the_plan_is_written_does_not_end_it(tmp_path):
    store = open_store(tmp_path / "runs")
    page = store.directory / "studies" / "made_up" / "report" / "index.html"
    with watching("made_up", store.uri, every_s=0.1):
        time.sleep(4)
        assert not page.exists()
        plan, spec = plan_of((0,))
        store.write_study("made_up", "spec.yaml", spec)
        store.write_study("made_up", "plan.json", plan_to_json(plan))
        wait_for(page.is_file, 40)


def children() -> set[int]:
    return {child.pid for child in psutil.Process().children()}


def wait_for(reached, limit_s: float) -> None:
    until = time.monotonic() + limit_s
    while not reached():
        assert time.monotonic() < until
        time.sleep(0.05)
