"""The made-up study as fixtures: its stores, records, curves and report; and a W&B server."""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

import mirrored_child
from made_up import fabricate, fill, plan_of, run_of

from tcc.curves.points import curves_of
from tcc.records import RDCurve, RunRecord, TrialRecord
from tcc.report import ReportFiles, build_report
from tcc.stores import Store
from tcc.tracking.wandb import PLUGIN

MakeStore = Callable[..., Store]


@pytest.fixture
def made_up_run() -> Callable[..., RunRecord]:
    """``made_up_run(started_at, **changes)``: a run of the study."""
    return run_of


@pytest.fixture
def make_store(tmp_path: Path) -> MakeStore:
    """``make_store(seeds=(0,), failing=False, root=tmp_path)``: a store for the test to change."""

    def make(
        seeds: tuple[int, ...] = (0,), *, failing: bool = False, root: Path = tmp_path
    ) -> Store:
        return fill(root / "runs", seeds, failing=failing)

    return make


@pytest.fixture(scope="session")
def reported(tmp_path_factory: pytest.TempPathFactory) -> tuple[Store, ReportFiles]:
    """A study of three seeds with failures, and its report, to be read only."""
    store = fill(tmp_path_factory.mktemp("reported"), (0, 1, 2), failing=True)
    return store, build_report("made_up", store)


@pytest.fixture
def make_records() -> Callable[..., tuple[TrialRecord, ...]]:
    """``make_records((0, 1))``: the finished trials of some seeds, without a store."""

    def make(seeds: tuple[int, ...] = (0,)) -> tuple[TrialRecord, ...]:
        return tuple(map(fabricate, plan_of(seeds)[0]))

    return make


@pytest.fixture
def make_curves(
    make_records: Callable[..., tuple[TrialRecord, ...]],
) -> Callable[..., tuple[RDCurve, ...]]:
    """``make_curves((0, 1))``: the curves of some seeds."""

    def make(seeds: tuple[int, ...] = (0,)) -> tuple[RDCurve, ...]:
        return curves_of(make_records(seeds), {})

    return make


@pytest.fixture(scope="session")
def server():
    """One server, at one port: W&B reads its address once in a process."""
    path = Path(__file__).parents[1] / "tracking" / "wandb_server.py"
    spec = importlib.util.spec_from_file_location("report_wandb_server", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    server = module.WandbServer()
    yield server
    server.stop()


@pytest.fixture
def mirroring(server, tmp_path_factory, monkeypatch):
    """The server, empty and up, a key, and no one's own account."""
    import wandb

    home = tmp_path_factory.mktemp("home")
    for name in [name for name in os.environ if name.startswith("WANDB_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("NETRC", str(home / "netrc"))
    monkeypatch.setenv("WANDB_BASE_URL", server.url)
    monkeypatch.setenv("WANDB_API_KEY", "a" * 40)
    monkeypatch.setattr("tcc.report.sync.CONFIRM_AFTER_S", (0.0,))
    connect = PLUGIN.connect
    monkeypatch.setattr(
        PLUGIN, "connect", lambda it, **to: connect({**it, **mirrored_child.waits}, **to)
    )
    wandb.teardown()
    server.reset()
    yield
    wandb.teardown()


@pytest.fixture
def study(tmp_path, make_records):
    """``study(mode)``: a store with a planned study of three trials, none begun; its records."""

    def make(mode: str = "offline"):
        return mirrored_child.plan_few(tmp_path / "runs", make_records(), mode)

    return make
