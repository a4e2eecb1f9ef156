"""The made-up study as fixtures: its stores, records, curves and report."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from made_up import fabricate, fill, plan_of, run_of

from tcc.curves.points import curves_of
from tcc.records import RDCurve, RunRecord, TrialRecord
from tcc.report import ReportFiles, build_report
from tcc.stores import Store

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
