"""What the head of a cluster does for a run that joined by ``ray://``, without the cluster."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from fake_trials import commit, make_plan, make_trial

from tcc.plan import TrialState
from tcc.run import remote
from tcc.run.drive import Driven, Work
from tcc.stores import open_store


def test_the_head_looks_at_checkpoints_as_thoroughly_as_who_joined(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, trial = open_store(tmp_path), make_trial("base")
    commit(trial, store, "test", 0.0)
    path = store.checkpoint(trial.id)
    path.write_bytes(path.read_bytes().replace(b"base", b"case"))

    def drive(work: Work, store: Any, states: Mapping[str, TrialState], *rest: Any, **_: Any):
        return Driven(states=states, seconds={}, losses=0, cause=None)

    monkeypatch.setattr(remote, "drive", drive)
    work = Work(
        plan=make_plan(trial), run="r", seconds={}, common={}, max_concurrent=1, grace_s=1.0
    )
    queue: Any = None
    driven = remote._drive_here(work, str(tmp_path), queue)
    assert driven.states["base"].state == "new"
