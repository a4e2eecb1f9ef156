"""Ideal schedules, and what no schedule can beat."""

from __future__ import annotations

import math
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from itertools import count

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tcc.plan.capacity import Node
from tcc.plan.makespan import Span, bound, makespan, schedule
from tcc.records import TrialSpec

Shaped = Callable[..., TrialSpec]
Graph = tuple[list[TrialSpec], dict[str, float]]

SECONDS = st.floats(0.1, 100.0)
SHAPES = st.sampled_from([(1.0, 0.0), (2.0, 0.0), (0.5, 0.25), (1.0, 0.4), (1.0, 1.0), (4.0, 2.0)])
NODES = st.lists(
    st.builds(
        Node,
        name=st.just("node"),
        cpu=st.integers(4, 9).map(float),
        gpu=st.integers(2, 4).map(float),
        count=st.integers(1, 2),
    ),
    min_size=1,
    max_size=3,
)


def close(value: float) -> float:
    return pytest.approx(value, rel=1e-9)


def slot(number: int) -> list[Node]:
    return [Node(name="node", cpu=float(number), gpu=0.0)]


@st.composite
def graphs(draw: st.DrawFn, shaped: Shaped, *, alike: bool = False, flat: bool = False) -> Graph:
    """Trials that need some of those before them, and what they take."""
    trials: list[TrialSpec] = []
    for index in range(draw(st.integers(1, 14))):
        cpu, gpu = (1.0, 0.0) if alike else draw(SHAPES)
        before = st.sets(st.sampled_from([t.id for t in trials]), max_size=3) if trials else None
        needs = () if flat or before is None else tuple(sorted(draw(before)))
        trials.append(shaped(f"t{index:02}", needs, cpu=cpu, gpu=gpu))
    return trials, {trial.id: draw(SECONDS) for trial in trials}


def longest_chain(trials: Sequence[TrialSpec], seconds: Mapping[str, float]) -> float:
    ends: dict[str, float] = {}
    for trial in trials:
        ends[trial.id] = seconds[trial.id] + max((ends[need] for need in trial.needs), default=0.0)
    return max(ends.values())


@settings(deadline=None)
@given(st.data(), NODES)
def test_no_schedule_beats_the_bound(
    shaped: Shaped, data: st.DataObject, nodes: list[Node]
) -> None:
    trials, seconds = data.draw(graphs(shaped))
    least = bound(trials, seconds, nodes)
    assert makespan(trials, seconds, nodes) >= least * (1 - 1e-9)
    assert least >= longest_chain(trials, seconds) * (1 - 1e-9)


@settings(deadline=None)
@given(st.data())
def test_one_slot_takes_the_sum(shaped: Shaped, data: st.DataObject) -> None:
    trials, seconds = data.draw(graphs(shaped, alike=True))
    assert makespan(trials, seconds, slot(1)) == close(sum(seconds.values()))
    assert bound(trials, seconds, slot(1)) == close(sum(seconds.values()))


@settings(deadline=None)
@given(st.data())
def test_enough_slots_take_the_longest_chain(shaped: Shaped, data: st.DataObject) -> None:
    trials, seconds = data.draw(graphs(shaped, alike=True))
    chain = longest_chain(trials, seconds)
    assert makespan(trials, seconds, slot(len(trials))) == close(chain)
    assert bound(trials, seconds, slot(len(trials))) == close(chain)


@settings(deadline=None)
@given(st.data(), NODES)
def test_a_schedule_keeps_the_order_and_the_room(
    shaped: Shaped, data: st.DataObject, nodes: list[Node]
) -> None:
    trials, seconds = data.draw(graphs(shaped))
    spans = schedule(trials, seconds, nodes)
    assert set(spans) == {trial.id for trial in trials}
    for trial in trials:
        assert spans[trial.id].end_s == close(spans[trial.id].start_s + seconds[trial.id])
        assert all(spans[need].end_s <= spans[trial.id].start_s for need in trial.needs)
    apart = [node for node in nodes for _ in range(node.count)]
    for moment in spans.values():
        there = _running(trials, spans, moment.start_s)
        for index, held in there.items():
            assert sum(trial.resources.cpu for trial in held) <= apart[index].cpu
            assert _gpus(held) <= apart[index].gpu


def _running(
    trials: Sequence[TrialSpec], spans: Mapping[str, Span], at: float
) -> dict[int, list[TrialSpec]]:
    there: dict[int, list[TrialSpec]] = defaultdict(list)
    for trial in trials:
        if spans[trial.id].start_s <= at < spans[trial.id].end_s:
            there[spans[trial.id].node].append(trial)
    return there


def _gpus(held: Sequence[TrialSpec]) -> float:
    """The GPUs that the shares take: no more than two of 0.4 are on one."""
    return sum({0.4: 0.5}.get(trial.resources.gpu, trial.resources.gpu) for trial in held)


@settings(deadline=None)
@given(st.data(), st.integers(1, 6))
def test_more_room_for_independent_trials_takes_no_longer(
    shaped: Shaped, data: st.DataObject, slots: int
) -> None:
    trials, seconds = data.draw(graphs(shaped, alike=True, flat=True))
    more = [*slot(slots), *slot(1)]
    assert makespan(trials, seconds, more) <= makespan(trials, seconds, slot(slots)) * (1 + 1e-9)


def test_the_longest_chain_starts_first(shaped: Shaped) -> None:
    trials = [shaped("short"), shaped("long"), shaped("child", ("long",))]
    spans = schedule(trials, {"short": 5.0, "long": 4.0, "child": 4.0}, slot(1))
    assert [*spans] == ["long", "short", "child"]
    assert makespan(trials, {"short": 5.0, "long": 4.0, "child": 4.0}, slot(2)) == 8.0


def test_what_needs_less_fills_what_is_left(shaped: Shaped) -> None:
    trials = [shaped("a", cpu=3), shaped("b", cpu=3), shaped("c", cpu=1)]
    seconds = {"a": 9.0, "b": 8.0, "c": 1.0}
    spans = schedule(trials, seconds, slot(4))
    assert (spans["a"].start_s, spans["c"].start_s, spans["b"].start_s) == (0.0, 0.0, 9.0)


def test_no_share_of_a_gpu_spans_two(shaped: Shaped) -> None:
    node = Node(name="node", cpu=99, gpu=2)
    trials = [shaped(str(index), gpu=0.4) for index in range(5)]
    seconds = {trial.id: 1.0 for trial in trials}
    assert makespan(trials, seconds, [node]) == 2.0
    assert bound(trials, seconds, [node]) == 5 / 4
    whole = [shaped("small", gpu=0.2), shaped("whole", gpu=1), shaped("half", gpu=0.5)]
    assert makespan(whole, {"small": 1.0, "whole": 1.0, "half": 1.0}, [node]) == 1.0


def test_ten_tenths_are_one(shaped: Shaped) -> None:
    trials = [shaped(str(index), cpu=0.1, gpu=0.1) for index in range(10)]
    seconds = {trial.id: 1.0 for trial in trials}
    assert makespan(trials, seconds, [Node(name="node", cpu=1, gpu=1)]) == 1.0


def test_trials_without_gpu_leave_the_gpus_free(shaped: Shaped) -> None:
    nodes = [Node(name="gpu", cpu=1, gpu=1), Node(name="cpu", cpu=1, gpu=0)]
    trials = [shaped("a"), shaped("b", gpu=1)]
    assert makespan(trials, {"a": 2.0, "b": 1.0}, nodes) == 2.0


def test_node_types_that_grow_count_as_grown(shaped: Shaped) -> None:
    trials = [shaped(str(index)) for index in range(6)]
    seconds = {trial.id: 1.0 for trial in trials}
    growing = Node(name="type", cpu=1, gpu=0, count=5)
    assert makespan(trials, seconds, [*slot(1), growing]) == 1.0
    assert makespan(trials, seconds, [growing]) == 2.0
    assert bound(trials, seconds, [growing]) == 6 / 5


def test_what_is_not_known_takes_the_mean(shaped: Shaped) -> None:
    trials = [shaped(id) for id in "abc"]
    assert makespan(trials, {"a": 1.0, "b": 3.0, "other": 99.0}, slot(1)) == 6.0
    assert bound(trials, {"a": 1.0, "b": 3.0}, slot(1)) == 6.0
    assert makespan(trials, {}, slot(1)) == bound(trials, {}, slot(1)) == 0.0


def test_what_is_done_holds_nothing_up(shaped: Shaped) -> None:
    child = shaped("child", ("done",))
    assert makespan([child], {"child": 2.0}, slot(1)) == bound([child], {"child": 2.0}, slot(1))
    assert makespan([], {}, slot(1)) == bound([], {}, slot(1)) == 0.0


@pytest.mark.parametrize("shape", [{"cpu": 3}, {"gpu": 1}, {"gpu": 0.1}])
def test_what_no_node_holds_never_ends(shaped: Shaped, shape: dict[str, float]) -> None:
    trials = [shaped("a"), shaped("b", **shape), shaped("c", ("b",))]
    assert makespan(trials, {"a": 1.0}, slot(2)) == bound(trials, {"a": 1.0}, slot(2)) == math.inf
    assert [*schedule(trials, {"a": 1.0}, slot(2))] == ["a"]
    assert makespan(trials, {"a": 1.0}, []) == math.inf


def test_thousands_of_trials_are_scheduled_at_once(shaped: Shaped) -> None:
    numbers, bases = count(), [shaped(f"base{index}", gpu=1, cpu=8) for index in range(500)]
    kinds = [{"gpu": 0.5, "cpu": 3}, {"gpu": 0.25, "cpu": 2}, {"cpu": 1}]
    rest = [
        shaped(f"t{next(numbers)}", (base.id,), **kinds[index % 3])
        for base in bases
        for index in range(9)
    ]
    seconds = {trial.id: 60.0 + index % 97 for index, trial in enumerate((*bases, *rest))}
    nodes = [
        Node(name="head", cpu=16, gpu=0),
        Node(name="worker", cpu=64, gpu=8, count=16),
        Node(name="small", cpu=4, gpu=1, count=100),
    ]
    begun = time.process_time()
    took = makespan([*bases, *rest], seconds, nodes)
    least = bound([*bases, *rest], seconds, nodes)
    assert time.process_time() - begun < 1.0
    assert least <= took < 3 * least
