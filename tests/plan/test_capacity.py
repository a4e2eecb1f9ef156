"""What nodes can hold."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tcc.errors import ClusterError
from tcc.plan.capacity import Node, Room, each_node, oversize, refuse_oversize, slots, total_slots
from tcc.records import Resources, TrialSpec

Shaped = Callable[..., TrialSpec]

LAPTOP = Node(name="laptop", cpu=8, gpu=0)
SERVER = Node(name="server", cpu=16, gpu=2)


@pytest.mark.parametrize(
    "node,cpu,gpu,expected",
    [
        (LAPTOP, 1, 0, 8),
        (LAPTOP, 3, 0, 2),
        (LAPTOP, 0.1, 0, 80),
        (LAPTOP, 1, 0.5, 0),
        (SERVER, 1, 1, 2),
        (SERVER, 1, 0.5, 4),
        (SERVER, 1, 0.4, 4),  # no share of a GPU spans two of them
        (SERVER, 1, 0.1, 16),
        (SERVER, 8, 0.1, 2),
        (SERVER, 1, 2, 1),
        (SERVER, 1, 1.5, 0),  # Ray refuses it
        (SERVER, 0, 0.3, 6),
    ],
)
def test_slots(node: Node, cpu: float, gpu: float, expected: int) -> None:
    assert slots(node, Resources(cpu=cpu, gpu=gpu)) == expected


def test_slots_of_all_nodes_count_those_that_may_come() -> None:
    growing = Node(name="worker", cpu=4, gpu=1, count=10)
    assert total_slots([LAPTOP, growing], Resources(cpu=2)) == 4 + 20


def test_what_fits_is_not_refused(shaped: Shaped) -> None:
    trials = [shaped("a", cpu=16, gpu=2), shaped("b", cpu=8)]
    refuse_oversize(trials, [LAPTOP, SERVER])


def test_what_fits_nowhere_is_refused_with_kind_wish_and_largest_node(
    shaped: Shaped,
) -> None:
    trials = [
        shaped("a", cpu=4, gpu=4),
        shaped("b", kind="enhancement", cpu=99),
        shaped("c", kind="direct"),
    ]
    with pytest.raises(ClusterError) as refused:
        refuse_oversize(trials, [LAPTOP, SERVER])
    text = str(refused.value)
    assert "each base trial wants 4 CPU and 4 GPU" in text
    assert "each enhancement trial wants 99 CPU and 0 GPU" in text
    assert "server (16 CPU, 2 GPU)" in text
    assert "direct" not in text
    assert "--address" in text


def test_two_needs_on_two_nodes_are_not_one(shaped: Shaped) -> None:
    with pytest.raises(ClusterError, match="20 CPU and 1 GPU"):
        refuse_oversize([shaped("a", cpu=20, gpu=1)], [SERVER, Node(name="cpu", cpu=64, gpu=0)])


def test_part_of_a_gpu_beyond_one_is_refused(shaped: Shaped) -> None:
    with pytest.raises(ClusterError, match="whole GPUs"):
        refuse_oversize([shaped("a", gpu=1.5)], [SERVER])


def test_kinds_that_want_the_same_share_a_line(shaped: Shaped) -> None:
    trials = [shaped("a", gpu=1), shaped("b", kind="direct", gpu=1), shaped("c", gpu=2)]
    lines = oversize(trials, [LAPTOP])
    assert [line.split(",  ")[0].split(", more")[0] for line in lines] == [
        "each base, direct trial wants 1 CPU and 1 GPU",
        "each base trial wants 1 CPU and 2 GPU",
    ]
    assert oversize(trials, [SERVER]) == []
    assert "the largest is missing" in oversize(trials, [])[0]


def test_a_room_holds_as_many_as_there_are_slots() -> None:
    for cpu, gpu in [(1, 0), (3, 0.5), (0.1, 0.4), (1, 1), (1, 2), (0.3, 0.3)]:
        need, room = Resources(cpu=cpu, gpu=gpu), Room(SERVER)
        taken = []
        while (gpus := room.take(need)) is not None:
            taken.append(gpus)
        assert len(taken) == slots(SERVER, need)
        room.give(need, taken.pop())
        assert room.take(need) is not None
        assert room.take(need) is None


def test_shares_fill_one_gpu_before_another() -> None:
    room = Room(SERVER)
    half, whole = Resources(cpu=1, gpu=0.5), Resources(cpu=1, gpu=1)
    first, second = room.take(half), room.take(half)
    assert first == second
    assert room.take(whole) not in (first, None)


def test_nodes_apart_are_no_more_than_are_asked_for() -> None:
    growing = Node(name="type", cpu=1, gpu=0, count=10)
    assert each_node([LAPTOP, growing], 3) == [LAPTOP, growing, growing, growing]
    assert each_node([Node(name="head", cpu=1, gpu=0, count=0)], 3) == []
