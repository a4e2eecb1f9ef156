"""Two drivers on one store: no trial is trained by both, whether one dies or not."""

from __future__ import annotations

import json
import signal

import pytest
from fault_bench import SMALL, Bench, until
from fault_notes import account, running
from fault_results import differences, results
from kill_study import Undisturbed

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1500)]

OTHER = ("study=other", "grid.lambda_b=[0.3]", "grid.lambda_e=[1]", "also=[single_layer]")


def assert_once(bench: Bench, ids: set[str]) -> None:
    found = account(bench.notes)
    assert not found.wrong
    assert found.again == 0
    assert found.commits == len(ids)
    assert all(len(found.trials[id].pids) == 1 for id in ids)


def test_one_study_by_two_drivers(bench: Bench, reference: Undisturbed) -> None:
    drivers = [bench.start(*SMALL, "--json") for _ in range(2)]
    ends = [driver.wait() for driver in drivers]
    assert [done.code for done in ends] == [0, 0], ends
    ids = {trial["id"] for trial in bench.plan(*SMALL)}
    assert_once(bench, ids)
    for done in ends:
        assert sum(json.loads(done.out)["counts"].values()) == len(ids)
    assert differences(results(bench.store), reference.results, ids) == []


def test_two_studies_that_share_bases_and_one_is_killed(
    bench: Bench, reference: Undisturbed
) -> None:
    bench.set(save_every_s=0.25, pause_s=0.02)
    shared = {t["id"] for t in bench.plan(*SMALL)} & {t["id"] for t in bench.plan(*OTHER)}
    assert len(shared) >= 3  # the pretraining and two bases
    survivor, victim = bench.start(*SMALL), bench.start(*OTHER)
    until(lambda: len(running(bench.notes)) >= 2, "both train", within_s=400)
    victim.signal(signal.SIGKILL)
    victim.wait()
    done = survivor.wait(400)
    assert done.code == 0, done
    ids = {trial["id"] for trial in bench.plan(*SMALL)}
    assert differences(results(bench.store), reference.results, ids) == []
    assert bench.run(*OTHER).code == 0
    ids |= {trial["id"] for trial in bench.plan(*OTHER)}
    assert differences(results(bench.store), reference.results, ids) == []
    found = account(bench.notes)
    assert not found.wrong
    assert found.commits == len(ids)
