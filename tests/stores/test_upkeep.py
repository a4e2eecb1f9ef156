"""Checkpoints that are not what their results say, the disk that is used, and what is pruned."""

from __future__ import annotations

import os
import time

import numpy
import pytest
from safetensors.numpy import save_file

from tcc.formats.atomic import scratch_name
from tcc.stores import open_store


@pytest.fixture
def hashes(store, monkeypatch):
    """What was hashed to look for problems."""
    seen, real = [], type(store)._content_fault

    def note(self, id, key):
        seen.append(id)
        return real(self, id, key)

    monkeypatch.setattr(type(store), "_content_fault", note)
    return seen


def test_a_good_checkpoint_is_not_hashed(store, finish, hashes):
    finish()
    for thorough in (False, True):
        assert store.checkpoint_problem("aa11", thorough=thorough) is None
    assert hashes == []
    assert store.problems() == ()


def test_a_missing_checkpoint(store, finish):
    finish()
    store.checkpoint("aa11").unlink()
    problem = store.checkpoint_problem("aa11", thorough=False)
    assert problem == f"{store.uri}/trials/aa11/checkpoint.safetensors is missing"
    assert store.problems() == (problem,)


def test_a_checkpoint_that_was_cut_off_at_any_length(store, finish):
    finish()
    path = store.checkpoint("aa11")
    whole = path.read_bytes()
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        _date(path, -3600)  # as a copy that keeps times
        assert "is cut off" in store.checkpoint_problem("aa11", thorough=False), length
    path.write_bytes(whole)
    assert store.checkpoint_problem("aa11", thorough=False) is None
    assert store.problems() == ()


def test_a_checkpoint_of_many_tensors(store, finish):
    finish()
    path = store.checkpoint("aa11")
    save_file({f"{index:0200}": numpy.zeros(1) for index in range(500)}, path)  # 140 KB of header
    assert store.checkpoint_problem("aa11", thorough=False) is None
    for length in (path.stat().st_size - 1, 100_000):
        os.truncate(path, length)
        assert "is cut off" in store.checkpoint_problem("aa11", thorough=False)


@pytest.mark.parametrize(
    "content",
    [
        bytes(300),
        b"\xff" * 300,
        b"not weights" * 9,
        b"\2" + bytes(7) + b"[]",
        b"\1" + bytes(7) + b"{",
    ],
)
def test_what_is_no_checkpoint(store, finish, content):
    finish()
    store.checkpoint("aa11").write_bytes(content)
    assert "is not a safetensors file" in store.checkpoint_problem("aa11", thorough=False)


def test_weights_that_were_changed_are_found_by_who_is_thorough(store, finish, hashes):
    finish()
    path = store.checkpoint("aa11")
    save_file({"w": numpy.zeros(64, dtype=numpy.float32)}, path)
    _date(path, 1)
    reader = open_store(store.uri, write=False)
    for opened in (store, reader):
        assert opened.checkpoint_problem("aa11", thorough=False) is None
        problem = opened.checkpoint_problem("aa11", thorough=True)
        assert problem == f"{path} was changed: it is not the one that its result was measured of"
        assert opened.problems() == (problem,)
    assert len(hashes) == 2
    assert store.checkpoint_problem("aa11", thorough=True)
    assert len(hashes) == 2  # what was hashed once is known


def test_a_checkpoint_that_was_copied_is_hashed_once_and_for_all(store, finish, hashes):
    finish()
    path = store.checkpoint("aa11")
    result = path.with_name("result.json")
    _date(result, -3600)
    kept = result.read_bytes()
    reader = open_store(store.uri, write=False)
    for _ in range(2):
        assert reader.checkpoint_problem("aa11", thorough=True) is None
    assert len(hashes) == 1
    assert result.stat().st_mtime < path.stat().st_mtime  # a reader changes nothing
    assert store.checkpoint_problem("aa11", thorough=True) is None
    assert len(hashes) == 2
    assert result.stat().st_mtime >= path.stat().st_mtime
    assert result.read_bytes() == kept
    for opened in (store, open_store(store.uri), open_store(store.uri, write=False)):
        assert opened.checkpoint_problem("aa11", thorough=True) is None
    assert len(hashes) == 2


def test_who_begins_a_trial_takes_back_a_result_without_its_checkpoint(store, finish):
    record = finish()
    store.begin(record.trial)
    assert store.record("aa11") == record
    store.checkpoint("aa11").unlink()
    store.begin(record.trial)
    assert store.record("aa11") is None


def test_a_result_never_lies_beside_other_weights(store, finish):
    first = finish(value=1.0)
    weights = {"w": numpy.full(64, 1.0, dtype=numpy.float32)}
    store.save_checkpoint("aa11", lambda path: save_file(weights, path))
    assert store.record("aa11") == first  # the same bits again

    def killed(path):
        path.write_bytes(b"half")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        store.save_checkpoint("aa11", killed)
    assert store.record("aa11") == first
    store.save_checkpoint("aa11", lambda path: path.write_bytes(b"other weights"))
    assert store.record("aa11") is None


def test_the_disk_that_trials_use(store, finish):
    finish("aa11")
    finish("bb22")
    store.log_path("aa11").write_bytes(bytes(1000))
    (store.preview_dir("aa11") / "ev1").mkdir()
    (store.preview_dir("aa11") / "ev1" / "1.png").write_bytes(bytes(2000))
    leftover = store.log_path("aa11").with_name(".checkpoint.safetensors.01.tmp")
    leftover.write_bytes(bytes(4000))
    used = store.disk_used(["aa11", "cc33"])
    folder = store.directory / "trials" / "aa11"
    assert used == {
        "aa11": sum(x.stat().st_size for x in folder.rglob("*") if x.is_file()),
        "cc33": 0,
    }
    assert used["aa11"] - store.disk_used(["bb22"])["bb22"] == 7000


def test_a_done_trial_keeps_its_checkpoint_and_its_results(store, finish):
    record = finish()
    store.save_state("aa11", lambda path: path.write_bytes(bytes(500)))
    store.save_last("aa11", lambda path: path.write_bytes(bytes(300)))
    store.append_metrics("aa11", 1, {"train/total": 1.0})
    before = store.disk_used(["aa11"])["aa11"]
    assert store.prune("aa11") == 800
    assert store.disk_used(["aa11"])["aa11"] == before - 800
    assert store.state("aa11") is None
    assert store.record("aa11") == record
    assert store.checkpoint_problem("aa11", thorough=True) is None
    assert store.prune("aa11") == 0


def test_a_trial_that_is_not_done_keeps_what_it_goes_on_from(store, make_trial):
    store.begin(make_trial())
    store.save_state("aa11", lambda path: path.write_bytes(bytes(500)))
    assert store.prune("aa11") == 0
    assert store.state("aa11") is not None


def test_who_works_on_a_trial_may_prune_it_and_nobody_else(store, other, finish):
    finish()
    store.save_state("aa11", lambda path: path.write_bytes(bytes(500)))
    process = other()
    process.ask("work", "aa11", "")
    assert store.prune("aa11") == 0
    assert process.ask("prune", "aa11") == 500
    assert store.holder("aa11").pid == process.pid


def test_what_dead_writers_left_is_pruned_and_nothing_of_the_living(store, other, finish):
    finish()
    folder = store.directory / "trials" / "aa11"
    process = other()
    process.ask("work", "aa11", "")
    process.tell("save_slowly")
    unfinished = ".last.safetensors.*.tmp"
    left = _wait_for(lambda: [x for x in folder.glob(unfinished) if x.stat().st_size == 100])
    (folder / ".metrics.csv.0123.tmp").write_bytes(b"who wrote it is not known")
    (folder / "evaluations" / ".ev1.json.4567.tmp").write_bytes(b"nor of this")
    assert store.prune("aa11") == 0
    process.gone()
    sizes = [path.stat().st_size for path in (*left, *(folder / "leases").iterdir())]
    assert store.prune("aa11") == sum(sizes)
    assert not left[0].exists()
    assert list((folder / "leases").iterdir()) == []
    for path in folder.rglob(".*.tmp"):
        _date(path, -90_000)
    assert store.prune("aa11") == len(b"who wrote it is not known") + len(b"nor of this")
    assert not list(folder.rglob(".*.tmp"))


def test_unfinished_previews_are_pruned_unless_their_writer_may_live(store, other, make_trial):
    store.begin(make_trial())
    folder = store.preview_dir("aa11") / "ev1"
    folder.mkdir()
    left, older = scratch_name(folder / "a.png"), folder / ".a.png.77-0123abcd"
    for path in (left, older, folder / "a.png", folder / ".kept"):
        path.write_bytes(bytes(50))
    process = other()
    process.ask("work", "aa11", "")
    assert store.prune("aa11") == 0
    process.ask("release")
    assert store.prune("aa11") == 100
    assert sorted(path.name for path in folder.iterdir()) == [".kept", "a.png"]


def test_the_littered_are_those_that_hold_what_may_go(store, finish, make_trial):
    finish()
    assert store.littered(["aa11", "cc33"]) == set()
    left = store.log_path("aa11").parent / "evaluations" / ".ev1.json.4567.tmp"
    left.write_bytes(b"torn")
    assert store.littered(["aa11", "cc33"]) == {"aa11"}
    assert store.littered(["cc33"]) == set()
    left.unlink()
    store.save_state("aa11", lambda path: path.write_bytes(bytes(500)))
    assert store.littered(["aa11"]) == {"aa11"}
    store.prune("aa11")
    assert store.littered(["aa11"]) == set()


def test_what_dead_writers_left_of_a_study_is_pruned(store):
    store.write_study("demo", "report/index.html", "page")
    left = store.study_dir("demo") / "report" / ".index.html.0123.tmp"
    left.write_bytes(b"torn")
    assert store.prune_study("demo") == 0  # who wrote it is not known
    _date(left, -90_000)
    assert store.prune_study("demo") == 4
    assert not left.exists()
    assert store.read_study("demo", "report/index.html") == "page"


def _wait_for(look, within_s=10):
    until = time.monotonic() + within_s
    while not (found := look()):
        assert time.monotonic() < until
        time.sleep(0.01)
    return found


def _date(path, seconds):
    """Makes a file so many seconds later than it is."""
    then = path.stat().st_mtime + seconds
    os.utime(path, (then, then))
