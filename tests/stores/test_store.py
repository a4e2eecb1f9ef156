"""Trials and studies survive what a cluster does to files."""

from __future__ import annotations

import hashlib
import json
import math
import os
import threading
from dataclasses import replace

import pytest

from tcc.errors import CheckpointError, RecordError, StoreError
from tcc.records import SCHEMA, Progress
from tcc.stores import open_store


def test_a_committed_record_reads_back_with_its_evaluations(store, make_record):
    record = make_record()
    store.commit(record)
    assert store.record("aa11") == record
    assert store.evaluations("aa11") == record.evaluations
    assert store.checkpoint_sha256("aa11") == record.training.checkpoint_sha256
    assert store.result_ids() == {"aa11"}
    assert open_store(store.uri, write=False).record("aa11") == record
    assert store.problems() == ()


def test_the_layout_is_the_documented_one(store, make_trial, make_record, failure):
    store.begin(make_trial())
    store.write_progress(_progress())
    store.save_checkpoint("aa11", lambda path: path.write_bytes(b"w"))
    store.append_metrics("aa11", 1, {"train/total": 1.0})
    store.log_path("aa11").write_text("line\n")
    (store.preview_dir("aa11") / "1.png").write_bytes(b"")
    store.fail(failure)
    store.commit(make_record())
    root = store.directory / "trials" / "aa11"
    assert sorted(path.relative_to(root).as_posix() for path in root.rglob("*")) == [
        "checkpoint.safetensors",
        "evaluations",
        "evaluations/ev1.json",
        "failure.json",
        "log.txt",
        "metrics.jsonl",
        "previews",
        "previews/1.png",
        "result.json",
        "state.json",
        "trial.json",
    ]
    result = json.loads((root / "result.json").read_text())
    assert result["record"]["evaluations"] == []


def test_absent_is_none(store):
    assert store.record("aa11") is None
    assert store.trial("aa11") is None
    assert store.failure("aa11") is None
    assert store.progress("aa11") is None
    assert store.evaluations("aa11") == ()
    assert store.checkpoint_sha256("aa11") is None
    assert store.result_ids() == set()
    assert list(store.metrics("aa11")) == []
    assert store.problems() == ()


def test_a_result_torn_at_any_length_is_absent_and_named(store, make_record):
    store.commit(make_record())
    path = store.directory / "trials" / "aa11" / "result.json"
    whole = path.read_bytes()
    for length in range(0, len(whole), 7):
        path.write_bytes(whole[:length])
        assert store.record("aa11") is None
        assert store.checkpoint_sha256("aa11") is None
        (problem,) = store.problems()
        assert str(path) in problem
    path.write_bytes(whole)
    assert store.record("aa11") is not None
    assert store.problems() == ()


def test_a_torn_evaluation_costs_only_itself(store, make_record, make_evaluation):
    store.commit(make_record())
    store.commit_evaluation(make_evaluation(id="ev2"))
    path = store.directory / "trials" / "aa11" / "evaluations" / "ev1.json"
    path.write_bytes(path.read_bytes()[:-3])
    record = store.record("aa11")
    assert [item.evaluation.id for item in record.evaluations] == ["ev2"]
    (problem,) = store.problems()
    assert "ev1.json" in problem
    store.commit_evaluation(make_evaluation())
    assert store.problems() == ()
    assert len(store.record("aa11").evaluations) == 2


def test_an_edited_number_is_not_believed(store, make_record):
    store.commit(make_record())
    path = store.directory / "trials" / "aa11" / "evaluations" / "ev1.json"
    text = path.read_text()
    assert '"value": 0.1,' in text
    path.write_text(text.replace('"value": 0.1,', '"value": 0.2,'))
    assert store.record("aa11").evaluations == ()
    assert "edited" in store.problems()[0]


def test_a_foreign_schema_is_absent_and_named(store, make_record):
    store.commit(make_record())
    path = store.directory / "trials" / "aa11" / "result.json"
    path.write_text(path.read_text().replace(f'"schema": {SCHEMA}', '"schema": 99', 1))
    assert store.record("aa11") is None
    assert "schema 99" in store.problems()[0]


def test_a_record_copied_from_another_trial_is_not_believed(store, make_record):
    store.commit(make_record("aa11"))
    store.commit(make_record("bb22"))
    trials = store.directory / "trials"
    (trials / "bb22" / "result.json").write_bytes((trials / "aa11" / "result.json").read_bytes())
    assert store.record("bb22") is None
    assert "another trial" in store.problems()[0]
    evaluations = trials / "aa11" / "evaluations"
    (evaluations / "ev7.json").write_bytes((evaluations / "ev1.json").read_bytes())
    assert [item.evaluation.id for item in store.record("aa11").evaluations] == ["ev1"]


def test_evaluations_of_older_weights_are_not_joined(store, make_record, make_evaluation):
    store.commit_evaluation(make_evaluation(id="old", checkpoint="d" * 64))
    assert len(store.evaluations("aa11")) == 1
    store.commit(make_record())
    assert [item.evaluation.id for item in store.evaluations("aa11")] == ["ev1"]
    assert [item.evaluation.id for item in store.record("aa11").evaluations] == ["ev1"]


def test_a_non_finite_number_commits_nothing(store, make_record):
    record = make_record()
    metric = replace(record.evaluations[0].metrics[0], value=math.nan)
    bad = replace(record, evaluations=(replace(record.evaluations[0], metrics=(metric,)),))
    with pytest.raises(RecordError, match=r"metrics\[0\]\.value is nan"):
        store.commit(bad)
    with pytest.raises(RecordError, match="inf"):
        store.commit(make_record(rd_cost=math.inf))
    assert store.result_ids() == set()
    assert store.evaluations("aa11") == ()


def test_concurrent_commits_leave_one_whole_record(store, make_record):
    records = [make_record(rd_cost=float(value), images=50) for value in range(4)]
    seen = []

    def commit(record):
        other = open_store(store.uri)
        for _ in range(10):
            other.commit(record)
            seen.append(other.record("aa11"))

    threads = [threading.Thread(target=commit, args=(record,)) for record in records]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(seen) == 40
    assert all(record is not None for record in seen)
    assert store.record("aa11") in records
    assert not list((store.directory / "trials" / "aa11").rglob("*.tmp"))


def test_what_a_killed_writer_left_is_not_seen(store, make_trial, make_record):
    store.begin(make_trial())
    root = store.directory / "trials" / "aa11"
    (root / "evaluations").mkdir()
    (root / ".result.json.0123.tmp").write_text("{")
    (root / ".checkpoint.safetensors.0123.tmp").write_bytes(b"half")
    (root / "evaluations" / ".ev1.json.0123.tmp").write_text("{")
    (store.directory / "trials" / "bb22").mkdir()  # killed before its trial.json
    assert store.result_ids() == set()
    assert store.record("aa11") is None
    assert store.evaluations("aa11") == ()
    with pytest.raises(CheckpointError, match="missing"):
        store.checkpoint("aa11")
    assert store.problems() == ()
    store.commit(make_record())
    assert store.record("aa11") == make_record()


def test_begin_clears_an_earlier_failure(store, make_trial, failure):
    store.begin(make_trial())
    store.fail(failure)
    assert store.failure("aa11") == failure
    store.begin(make_trial())
    assert store.failure("aa11") is None
    assert store.trial("aa11") == make_trial()
    store.clear_failure("aa11")  # none is no error


def test_a_checkpoint_is_replaced_whole_or_not_at_all(store):
    digest = store.save_checkpoint("aa11", lambda path: path.write_bytes(b"weights"))
    assert digest == hashlib.sha256(b"weights").hexdigest()

    def dies(path):
        path.write_bytes(b"half")
        raise ValueError("no memory")

    with pytest.raises(ValueError, match="no memory"):
        store.save_checkpoint("aa11", dies)
    assert store.checkpoint("aa11").read_bytes() == b"weights"
    assert [path.name for path in store.checkpoint("aa11").parent.iterdir()] == [
        "checkpoint.safetensors"
    ]


def test_safetensors_can_write_a_checkpoint(store):
    numpy = pytest.importorskip("numpy")
    from safetensors.numpy import load_file, save_file

    weights = {"w": numpy.arange(6, dtype=numpy.float32)}
    digest = store.save_checkpoint("aa11", lambda path: save_file(weights, path))
    path = store.checkpoint("aa11")
    assert hashlib.sha256(path.read_bytes()).hexdigest() == digest
    assert (load_file(path)["w"] == weights["w"]).all()


def test_progress_is_the_last_written(store):
    store.write_progress(_progress(step=1))
    store.write_progress(_progress(step=2))
    assert store.progress("aa11") == _progress(step=2)


def test_the_study_that_was_planned_last_comes_first(store):
    for name, modified in (("a", 2e9), ("b", 1e9), ("c", 3e9)):
        store.write_study(name, "plan.json", "{}")
        os.utime(store.study_dir(name) / "plan.json", (modified, modified))
    store.write_study("d", "spec.yaml", "study: d")
    assert store.newest_studies() == ("c", "a", "b")
    store.write_study("b", "past/plan.json", "{}")
    assert store.newest_studies() == ("c", "a", "b")


def test_study_files(store):
    assert store.studies() == ()
    assert store.read_study("tiny", "plan.json") is None
    store.write_study("tiny", "plan.json", "λ")
    store.write_study("b", "report/points.csv", "x\n")
    assert store.read_study("tiny", "plan.json") == "λ"
    assert store.studies() == ("tiny",)
    store.write_study("b", "spec.yaml", "")
    assert store.studies() == ("b", "tiny")
    assert (store.study_dir("b") / "report" / "points.csv").read_text() == "x\n"


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "../a", "*", "a?", ".hidden", "a\nb"])
def test_a_name_that_is_no_file_name_is_refused(store, name, make_trial):
    with pytest.raises(StoreError, match="cannot name a file"):
        store.record(name)
    with pytest.raises(StoreError, match="cannot name a file"):
        store.write_study(name, "plan.json", "")
    with pytest.raises(StoreError, match="cannot name a file"):
        store.begin(make_trial(name))


def test_a_reader_changes_nothing(tmp_path, make_trial, make_record, failure):
    reader = open_store(tmp_path / "none", write=False)
    for write in (
        lambda: reader.begin(make_trial()),
        lambda: reader.commit(make_record()),
        lambda: reader.fail(failure),
        lambda: reader.clear_failure("aa11"),
        lambda: reader.save_checkpoint("aa11", lambda path: None),
        lambda: reader.save_last("aa11", lambda path: None),
        lambda: reader.save_state("aa11", lambda path: None),
        lambda: reader.clear_state("aa11"),
        lambda: reader.write_progress(_progress()),
        lambda: reader.append_metrics("aa11", 1, {}),
        lambda: reader.write_study("tiny", "plan.json", ""),
        reader.check_writable,
    ):
        with pytest.raises(StoreError, match="reading only"):
            write()
    assert reader.result_ids() == set()
    assert reader.state("aa11") is None
    assert reader.studies() == ()
    reader.log_path("aa11")
    reader.preview_dir("aa11")
    reader.study_dir("tiny")
    assert list(tmp_path.iterdir()) == []


def _progress(step: int = 1) -> Progress:
    return Progress(
        trial="aa11", phase="train", step=step, steps=40, loss=0.5, bpp=None, elapsed_s=1.5,
        eta_s=None,
    )  # fmt: skip
