"""A parent's weights: whose they are, and when its result is taken back."""

from __future__ import annotations

import errno
import os
from functools import partial
from pathlib import Path

import pytest
import torch

from tcc.errors import BusyError, CheckpointError, StoreError
from tcc.records import SCHEMA, Provenance, Training, TrialRecord
from tcc.stores import open_store
from tcc.trial import checkpoint
from tcc.trial.parents import weights


@pytest.fixture
def store(tmp_path):
    return open_store(tmp_path / "runs")


@pytest.fixture
def finish(store, pretrain):
    """Puts a parent with weights of one value into the store; gives its id and their hash."""
    trial = pretrain()

    def put(value: float) -> tuple[str, str]:
        state = {"w": torch.full((64,), value)}
        sha256 = store.save_checkpoint(
            trial.id, partial(checkpoint.write, state=state, trial_id=trial.id)
        )
        training = Training(
            steps=1, best_step=1, best_rd_cost=1.0, rd_cost=((1, 1.0),), last_terms={},
            num_parameters={}, kmac_per_pixel={}, kmac_size=(64, 64), initial_weights={},
            checkpoint_sha256=sha256, last_sha256=sha256, parents_sha256={},
        )  # fmt: skip
        nowhere = Provenance(
            tcc_version="", git_revision="", packages={}, machine="", device="cpu", started_at="",
            study="",
        )  # fmt: skip
        store.commit(
            TrialRecord(
                schema=SCHEMA,
                trial=trial,
                training=training,
                evaluations=(),
                timings={},
                provenance=nowhere,
            )
        )
        return trial.id, sha256

    return put


@pytest.mark.parametrize("damage", ["missing", "torn", "another"])
def test_weights_that_are_not_those_of_the_record_take_it_back(store, finish, damage):
    id, sha256 = finish(1.0)
    path = store.checkpoint(id)
    if damage == "missing":
        path.unlink()
    else:
        data = path.read_bytes()
        path.write_bytes(data[:-4] + (b"" if damage == "torn" else bytes(4)))
    with pytest.raises(CheckpointError, match=rf"{id}.* was taken back"):
        weights(store, id, sha256)
    assert store.record(id) is None


def test_a_parent_that_was_redone_meanwhile_keeps_its_new_result(store, finish):
    id, before = finish(1.0)
    _, now = finish(2.0)
    with pytest.raises(BusyError, match=f"trial {id} was redone meanwhile"):
        weights(store, id, before)
    assert store.checkpoint_sha256(id) == now
    assert torch.equal(weights(store, id, now)["w"], torch.full((64,), 2.0))


def test_of_many_children_one_takes_a_result_back_and_all_say_so(store, finish):
    id, sha256 = finish(1.0)
    store.checkpoint(id).write_bytes(b"")
    for _ in range(2):
        with pytest.raises(CheckpointError, match=rf"{id}.* was taken back"):
            weights(store, id, sha256)


@pytest.mark.parametrize("number", [errno.EIO, errno.ESTALE, errno.EMFILE, errno.EACCES])
def test_a_disk_that_cannot_be_read_takes_no_result_back(store, finish, monkeypatch, number):
    id, sha256 = finish(1.0)
    real = Path.read_bytes

    def refuses(path):
        if path.name == "checkpoint.safetensors":
            raise OSError(number, os.strerror(number), str(path))
        return real(path)

    monkeypatch.setattr(Path, "read_bytes", refuses)
    with pytest.raises(StoreError, match=rf"{id}/checkpoint\.safetensors cannot be read \(\w"):
        weights(store, id, sha256)
    monkeypatch.undo()
    assert store.record(id) is not None
    assert torch.equal(weights(store, id, sha256)["w"], torch.ones(64))
