"""Whose fault it was: a full disk and a killed process are not the trial's, a Python error is."""

from __future__ import annotations

import errno
from importlib import import_module
from pathlib import Path

import pytest

from tcc.errors import DataError, LostProcessError, StoreError
from tcc.records import FailureRecord
from tcc.stores import open_store
from tcc.trial import attempt, checkpoint, loop, state


@pytest.mark.parametrize(
    "error",
    [LostProcessError("killed"), StoreError("full"), OSError(errno.ENOSPC, "full", "/x")],
)
def test_what_is_not_the_trial_s_fault_goes_up(pretrain, tmp_path, monkeypatch, error):
    def breaks(*_, **__):
        raise error

    monkeypatch.setattr(import_module("tcc.trial.execute"), "evaluate", breaks)
    trial, store = pretrain(), open_store(tmp_path)
    with pytest.raises(StoreError if isinstance(error, OSError) else type(error)):
        attempt(trial, store)
    assert store.failure(trial.id) is None
    assert store.record(trial.id) is not None
    assert store.progress(trial.id).phase == "ended"
    assert store.holder(trial.id) is None


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EROFS])
def test_a_disk_s_refusal_is_no_failure_whatever_it_was_made_into(
    pretrain, tmp_path, monkeypatch, number
):
    def breaks(path, pixels):
        try:
            raise OSError(number, "refused", str(path))
        except OSError as error:
            raise DataError(f"{path}: cannot be made") from error

    monkeypatch.setattr(import_module("tcc.trial.evaluate"), "write_png", breaks)
    trial, store = pretrain(), open_store(tmp_path)
    with pytest.raises(StoreError, match=r"previews/.*\.png cannot be written .*goes on from it"):
        attempt(trial, store)
    assert store.failure(trial.id) is None
    assert store.record(trial.id) is not None


def test_a_disk_that_fills_up_while_weights_are_saved_is_told_as_such(
    pretrain, tmp_path, monkeypatch
):
    real = checkpoint.save
    monkeypatch.setattr(checkpoint, "save", lambda _, *what: real(Path("/dev/full"), *what))
    monkeypatch.setattr(state, "AT_SELECTION_S", 0.0)
    trial, store = pretrain(), open_store(tmp_path)
    with pytest.raises(StoreError, match=f"{trial.id}/training.safetensors cannot be written"):
        attempt(trial, store)
    assert store.failure(trial.id) is None


def test_a_python_error_has_the_step_that_it_came_in(pretrain, tmp_path, monkeypatch):
    trial, store = pretrain(), open_store(tmp_path)
    real = loop.learning_rate

    def breaks(recipe, step):
        return {}["rate"] if step == 4 else real(recipe, step)

    monkeypatch.setattr(loop, "learning_rate", breaks)
    outcome = attempt(trial, store)
    assert isinstance(outcome, FailureRecord)
    assert (outcome.reason, outcome.step, outcome.term) == ("KeyError: 'rate'", 4, None)
    assert Path(outcome.log) == store.log_path(trial.id)
    assert "Traceback" in Path(outcome.log).read_text()
