"""A short run of `kill_study`: the driver, workers, Ray and writers of the store die at random."""

from __future__ import annotations

from pathlib import Path

import pytest
from fault_bench import HALF
from kill_study import Undisturbed, kill_study

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1500)]


def test_kills_change_no_result_and_train_nothing_twice_that_was_saved(
    tmp_path: Path, reference: Undisturbed
) -> None:
    figures = kill_study(17, tmp_path, kills=8, overrides=HALF, reference=reference)
    print(figures.summary())
    assert not figures.wrong, figures.summary()
    assert figures.kills.total() == 8
    assert figures.steps > figures.trials
