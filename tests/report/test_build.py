"""A report is whole, drawn once for each state of its study, and needs no torch."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from tcc.errors import RecordError, StoreError
from tcc.report import build_report, report_json
from tcc.stores import open_store


@pytest.fixture(autouse=True)
def quick_figures(monkeypatch):
    """Figures as empty files: what they look like is another test's."""

    def draw(pairs, notice, folder, pool):
        folder.mkdir(parents=True, exist_ok=True)
        for name in ("pair.png", "pair.pdf", "paper.png"):
            (folder / name).write_bytes(b"drawn")
            yield folder / name

    monkeypatch.setattr("tcc.report.build.draw_figures", draw)


def test_a_report_has_all_its_files(make_store):
    store = make_store()
    files = build_report("made_up", store)
    folder = store.study_dir("made_up") / "report"
    assert files.fresh
    assert files.page == folder / "index.html"
    assert all(path.is_file() and folder in path.parents for path in files)
    assert {path.name for path in files.figures} == {"pair.png", "pair.pdf", "paper.png"}
    assert len(files.curves) == len(set(files.curves)) > 50


def test_an_unchanged_report_is_left_alone(make_store):
    store = make_store()
    first = build_report("made_up", store)
    before = {path: path.stat().st_mtime_ns for path in first}
    again = build_report("made_up", open_store(store.uri))
    assert not again.fresh
    assert replace(again, fresh=True) == first
    assert {path: path.stat().st_mtime_ns for path in again} == before


@pytest.mark.parametrize("damage", ["missing file", "torn stamp", "stamp of other content"])
def test_a_damaged_report_is_drawn_again(make_store, damage):
    store = make_store()
    files = build_report("made_up", store)
    stamp = files.page.parent / "stamp.json"
    if damage == "missing file":
        files.curves[0].unlink()
    elif damage == "torn stamp":
        stamp.write_text(stamp.read_text()[:40])
    else:
        stamp.write_text(stamp.read_text().replace('"stamp": "', '"stamp": "0'))
    again = build_report("made_up", store)
    assert again.fresh
    assert all(path.is_file() for path in again)


def test_a_new_run_is_drawn(make_store, made_up_run):
    store = make_store()
    build_report("made_up", store)
    store.write_run(made_up_run())
    assert build_report("made_up", store).fresh


def test_a_store_open_for_reading_is_enough(make_store):
    store = make_store()
    reader = open_store(store.uri, write=False)
    assert build_report("made_up", reader).fresh
    assert not build_report("made_up", reader).fresh


def test_a_read_only_store_keeps_its_report_and_says_why_there_is_no_newer(make_store, made_up_run):
    with tempfile.TemporaryDirectory() as place:  # not pytest's own, which only its owner enters
        Path(place).chmod(0o755)
        store = make_store(root=Path(place))
        build_report("made_up", store)
        with read_only(Path(place)):
            assert not build_report("made_up", open_store(store.uri, write=False)).fresh
        store.write_run(made_up_run())
        with read_only(Path(place)), pytest.raises(StoreError, match="cannot be written") as caught:
            build_report("made_up", open_store(store.uri, write=False))
        assert len(str(caught.value).splitlines()) == 1


@contextmanager
def read_only(place):
    """For a superuser, whom no lock stops, as another user."""
    folders = [place, *(path for path in place.rglob("*") if path.is_dir())]
    superuser = os.geteuid() == 0
    for folder in folders:
        folder.chmod(0o555)
    if superuser:
        os.seteuid(65534)
    try:
        yield
    finally:
        if superuser:
            os.seteuid(0)
        for folder in folders:
            folder.chmod(0o755)


def test_old_and_torn_files_leave_the_rest_of_the_report(make_store):
    store = make_store()
    results = sorted((store.directory / "trials").glob("*/result.json"))
    evaluations = sorted((store.directory / "trials").glob("*/evaluations/*.json"))
    for path in results[:10]:
        path.write_text(path.read_text().replace('{"schema": 2', '{"schema": 1', 1))
    for path in evaluations[20:25]:
        path.write_text(path.read_text()[:200])
    results[30].write_bytes(b"\xff\x00 no record")
    found = report_json("made_up", store)
    assert len(found["curves"]) > 20
    page = Path(found["files"]["html"]).read_text()
    assert "10 files (" in page
    assert "5 files (" in page
    assert f"{results[30]} is torn" in page
    assert page.count("will be redone") == 3


def test_a_changed_value_is_drawn(make_store):
    store = make_store()
    build_report("made_up", store)
    id = next(iter(store.result_ids()))
    record = store.record(id)
    measured = record.evaluations[0]
    better = replace(measured.metrics[0], value=measured.metrics[0].value + 1)
    store.commit_evaluation(replace(measured, metrics=(better, *measured.metrics[1:])))
    assert build_report("made_up", store).fresh


def test_curves_of_an_earlier_state_are_removed(make_store):
    store = make_store()
    folder = build_report("made_up", store).page.parent / "curves"
    assert list(folder.glob("standalone*"))
    for id in store.result_ids():
        if store.record(id).trial.kind == "standalone":
            (store.directory / "trials" / id / "result.json").unlink()
    after = build_report("made_up", store)
    assert {path.name for path in folder.iterdir()} == {path.name for path in after.curves}
    assert not list(folder.glob("standalone*"))


def test_the_json_has_what_the_command_promises(make_store):
    store = make_store((0, 1), failing=True)
    found = report_json("made_up", store)
    keys = ["study", "runs", "bd_rates", "curves", "side_information", "coding", "files"]
    assert list(found) == keys
    saved = {
        (row["beta"], row["lambda_b"]): row["saved_percent"] for row in found["side_information"]
    }
    assert saved[0.1, 0.3] == pytest.approx(17, abs=3)  # 8 % and nine tenths of β: made_up
    assert saved[0.0, 0.3] == pytest.approx(8, abs=3)
    assert [run["ratio_to_bound"] for run in found["runs"]] == [1.25]
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    assert found["study"] == "made_up"
    seeds = {row["seed"] for row in found["bd_rates"]}
    assert seeds == {0, 1, None}
    names = {json.loads(Path(path).read_text())["name"] for path in found["files"]["curves"]}
    assert "depth → reconstruction: scalable, β = 0.1, λ_b = 0.3, seed 1" in names
    families = {curve["family"] for curve in found["curves"]}
    assert {"base", "direct", "scalable", "simulcast", "pixels"} <= families


def test_curve_files_are_in_compressais_format(make_store):
    for path in build_report("made_up", make_store()).curves:
        content = json.loads(path.read_text())
        assert set(content) >= {"name", "results"}
        rates, *values = content["results"].values()
        assert next(iter(content["results"])) == "bpp"
        assert len(rates) == len(values[0])
        assert rates == sorted(rates)


def test_an_unknown_study_is_named_with_its_neighbour(make_store):
    with pytest.raises(StoreError, match="did you mean 'made_up'"):
        build_report("made_pu", make_store())


def test_an_empty_store_says_so(tmp_path):
    with pytest.raises(StoreError, match="has no study"):
        build_report("any", open_store(tmp_path / "runs"))


def test_a_study_without_its_plan_says_what_is_missing(make_store):
    store = make_store()
    (store.study_dir("made_up") / "plan.json").unlink()
    with pytest.raises(StoreError, match=r"plan\.json"):
        build_report("made_up", store)


def test_neither_data_nor_versions_of_plug_ins_matter(make_store, monkeypatch, tmp_path):
    """A report needs the records alone: the data set may be gone since, and its plug-in."""
    store = make_store()
    spec = yaml.safe_load(store.read_study("made_up", "spec.yaml"))
    spec["data"]["scenes"] |= {"type": "gone_since", "root": str(tmp_path / "nowhere")}
    store.write_study("made_up", "spec.yaml", yaml.safe_dump(spec))
    monkeypatch.setattr("tcc.records.trials.LOOP_VERSION", 99)
    assert build_report("made_up", store).fresh


def test_a_torn_plan_is_named(make_store):
    store = make_store()
    store.write_study("made_up", "plan.json", store.read_study("made_up", "plan.json")[:-50])
    with pytest.raises(RecordError, match=r"studies/made_up/plan\.json is torn"):
        build_report("made_up", store)


def test_a_study_with_nothing_done_has_a_report(make_store):
    store = make_store()
    for path in (store.directory / "trials").glob("*/result.json"):
        path.unlink()
    files = build_report("made_up", store)
    assert files.curves == ()
    assert "No comparison is possible yet" in files.page.read_text()


def test_report_and_status_import_no_torch(make_store):
    store = make_store()
    code = (
        "import sys; from tcc.report import report_json, status, print_status\n"
        "from tcc.stores import open_store\n"
        f"store = open_store({store.uri!r})\n"
        "report_json('made_up', store); print_status(status('made_up', store))\n"
        "heavy = {'torch', 'torchvision', 'compressai', 'ray', 'wandb'} & set(sys.modules)\n"
        "sys.exit(f'imported {heavy}' if heavy else 0)"
    )
    build_report("made_up", store)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
