"""Many trials read at once: what is read is the same, and how often a far store is asked."""

from __future__ import annotations

from collections import Counter

import numpy
import pytest
from safetensors.numpy import save_file

from tcc.stores import Store, _ahead
from tcc.stores.folder import FolderBackend

IDS = tuple(f"{number:04}" for number in range(7))


class FarBackend(FolderBackend):
    """A folder that counts what it is asked for."""

    answers_late = True

    def __init__(self, uri):
        super().__init__(uri)
        self.asked = Counter()

    def get(self, key):
        self.asked["get", key] += 1
        return super().get(key)

    def peek(self, key, count):
        self.asked["peek", key] += 1
        return super().peek(key, count)

    def stamp(self, key):
        self.asked["stamp", key] += 1
        return super().stamp(key)

    def stamps(self, pattern):
        self.asked["stamps", pattern] += 1
        return super().stamps(pattern)


@pytest.fixture
def far(store, finish):
    """A reader of a store with finished trials, counting from now."""
    for id in IDS:
        finish(id)
    return Store(FarBackend(store.uri), write=False)


def look(store, ids=IDS):
    """All that a ledger asks for."""
    done = store.result_ids()
    return {
        id: (
            store.record(id) if id in done else None,
            store.checkpoint_problem(id, thorough=True) if id in done else None,
            store.failure(id),
            store.progress(id),
        )
        for id in ids
    }


@pytest.mark.parametrize("at_once", [1, 3, 64])
@pytest.mark.parametrize("ids", [IDS, IDS[::-1], IDS[2:4], ("none", *IDS)])
def test_each_file_is_read_once_after_one_listing(store, far, monkeypatch, at_once, ids):
    monkeypatch.setattr(_ahead, "TRIALS", at_once)
    assert look(far.preloaded(ids), ids) == look(store, ids)
    asked = far._backend.asked
    assert set(asked.values()) == {1}
    assert Counter(what for what, _ in asked) == {
        "stamps": 1,
        "get": 2 * len({*ids} & {*IDS}),
        "peek": len({*ids} & {*IDS}),
    }


def test_what_was_not_announced_is_read_too(store, far):
    loaded = far.preloaded(IDS[:2])
    assert look(loaded, IDS[::-1]) == look(store, IDS[::-1])
    for _ in range(2):
        assert loaded.record(IDS[0]) == store.record(IDS[0])
    assert loaded.preloaded(IDS) is loaded
    assert loaded.disk_used(IDS) == store.disk_used(IDS)
    store.write_study("tiny", "spec.yaml", "x")
    assert loaded.studies() == ("tiny",)


def test_a_near_store_has_nothing_to_gain(store):
    assert store.preloaded(IDS) is store


def test_files_that_cannot_be_trusted_are_named_by_both(store, far, failure):
    folder = store.directory / "trials"
    result, evaluation, gone, cut, *_ = (folder / id for id in IDS)
    (result / "result.json").write_text("{")
    (evaluation / "evaluations" / "ev1.json").write_bytes(b"")
    (gone / "checkpoint.safetensors").unlink()
    weights = (cut / "checkpoint.safetensors").read_bytes()
    (cut / "checkpoint.safetensors").write_bytes(weights[:-1])
    store.fail(failure)
    (folder / "aa11" / "failure.json").write_text("{}")
    ids = (*IDS, "aa11")
    found = look(far.preloaded(ids), ids)
    assert found == look(store, ids)
    assert far.problems() == store.problems()
    assert len(far.problems()) == 5
    assert "is cut off" in found[cut.name][1]
    (cut / "checkpoint.safetensors").write_bytes(weights)
    assert look(far.preloaded(ids), ids)[cut.name][1] is None
    assert len(far.problems()) == 4


def test_a_header_that_is_longer_than_what_was_read(store, far):
    path = store.checkpoint(IDS[0])
    save_file({f"{index:0200}": numpy.zeros(1) for index in range(500)}, path)  # 140 KB of header
    assert far.preloaded(IDS).checkpoint_problem(IDS[0], thorough=False) is None


def test_what_changes_meanwhile_is_no_fault(store, far, finish):
    """A checkpoint that was replaced, a trial that ended and one that began, since the listing."""
    store.withdraw(IDS[1])
    loaded = far.preloaded(IDS)
    larger = {"w": numpy.zeros(100, dtype=numpy.float32)}
    store.save_checkpoint(IDS[0], lambda path: save_file(larger, path))
    finish(IDS[1])
    store.withdraw(IDS[2])
    assert loaded.checkpoint_problem(IDS[0], thorough=False) is None
    assert loaded.record(IDS[1]) is None
    assert loaded.record(IDS[2]) is None
    assert loaded.problems() == ()
    assert far.preloaded(IDS).record(IDS[1]) == store.record(IDS[1])
