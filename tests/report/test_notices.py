"""What the page says on top: whether all is done, and of when its plan is."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tcc.report.notices import notices
from tcc.report.study import read_study

NOTICE = "Made-up <numbers>: they mean nothing."


@pytest.fixture
def study(make_store):
    return read_study("made_up", make_store())


def in_states(study, **states):
    """The study with its first trials in other states: ``new=2`` makes two of them new."""
    wanted = [state for state, number in states.items() for _ in range(number)]
    changed = {
        id: replace(state, state=wanted[at]) if at < len(wanted) else state
        for at, (id, state) in enumerate(study.states.items())
    }
    return replace(study, states=changed)


def test_a_finished_study_has_its_own_notice_alone(study):
    assert notices(study) == (NOTICE,)


def test_a_study_with_failures_says_what_its_numbers_are_of(study):
    told, own = notices(in_states(study, failed=1, skipped=10))
    assert told == (
        "Not complete: of 94 trials 1 failed and 10 were skipped. "
        "Curves and verdicts are of the 83 trials that are done."
    )
    assert own == NOTICE


def test_a_running_study_says_so_first(study):
    told, _ = notices(in_states(study, running=1, new=2, blocked=3))
    assert told.startswith("Still running: of 94 trials 1 is running and 5 are still to do.")
