from __future__ import annotations

import pytest
from fake_trials import make_trial

from tcc.records import Progress
from tcc.run.losses import IN_A_ROW, IN_ALL, Loss, Losses

TRIAL = make_trial("base")
SIGTERM = """The actor died unexpectedly before finishing this task.
\tclass_name: ImplicitFunc
The actor is dead because its worker process has died. Worker exit type: SYSTEM_ERROR Worker exit
detail: Worker exits unexpectedly. Worker exits with an exit code 1. The process receives a SIGTERM.
"""
SIGKILL = """The actor is dead because its worker process has died. Worker exit type: SYSTEM_ERROR
Worker exit detail: Worker unexpectedly exits with a connection error code 2. End of file. Some
common causes include: (1) the process was killed by the OOM killer due to high memory usage, (2)
ray stop --force was called, or (3) the worker crashed unexpectedly.
"""
NODE = """The actor died because its node has died. Node Id: 080c281c750a
\tthe actor's node was terminated expectedly: received SIGTERM
"""
UNAVAILABLE = """The actor 826c85e5 is unavailable: The actor is temporarily unavailable: RpcError:
RPC error: Socket closed rpc_code: 14. The task may or may not have been executed on the actor.
"""
MEMORY = """1 worker(s) were killed due to the node running low on memory. Memory on the node (IP:
10.0.0.2, ID: 30ef) was 2.52GB used / 23.54GB limit (0.107186)
Selected to kill: (Actor(d2cf): job ID=01, pid=24765, actual memory used=0.83GB, worker ID=0265)
"""


def progress(step: int, phase: str = "train") -> Progress:
    return Progress(
        trial="base", phase=phase, step=step, steps=9, loss=None, bpp=None, elapsed_s=0, eta_s=None
    )


def none(id: str) -> int:
    """No evaluation of a trial stands."""
    return 0


@pytest.mark.parametrize(
    "text,what,how",
    [
        (SIGTERM, "node", "The process receives a SIGTERM"),
        (
            SIGKILL,
            "process",
            "died (Worker unexpectedly exits with a connection error code 2. End of",
        ),
        (NODE, "node", "terminated expectedly: received SIGTERM"),
        (UNAVAILABLE, "node", "temporarily unavailable"),
        (MEMORY, "memory", "ran out of memory (2.52GB of 23.54GB used, 0.83GB of it this trial's)"),
        ("", "process", "died (Ray gives no reason)"),
    ],
)
def test_a_loss_is_told_from_what_ray_says(text: str, what: str, how: str) -> None:
    loss = Loss.told(text)
    assert loss.what == what
    assert how in loss.how
    assert "common causes" not in loss.how


@pytest.mark.parametrize("what", IN_A_ROW)
def test_a_trial_that_comes_no_further_is_given_up(what: str) -> None:
    losses = Losses(lambda id: progress(3), none)
    said = [losses.add(TRIAL, Loss(what=what, how="died")) for _ in range(IN_A_ROW[what])]
    assert [given_up for given_up, _ in said] == [False] * (IN_A_ROW[what] - 1) + [True]
    assert (
        said[0][1] == "its process died at step 3 of 9 (train); it goes on from its last saved step"
    )
    assert f"{IN_A_ROW[what]} times without coming further" in said[-1][1]
    assert ("resources.base.cpu" in said[-1][1]) == (what == "memory")


def test_a_trial_that_comes_further_each_time_is_given_up_much_later() -> None:
    steps = iter(range(1, 1000))
    losses = Losses(lambda id: progress(next(steps)), none)
    loss = Loss(what="process", how="died")
    assert not any(losses.add(TRIAL, loss)[0] for _ in range(IN_ALL - 1))
    assert losses.add(TRIAL, loss) == (
        True,
        f"its process died at step {IN_ALL} of 9 (train), {IN_ALL} times in all",
    )
    assert losses.total == IN_ALL


def test_an_evaluation_is_further_than_a_training() -> None:
    at = [progress(9), progress(1, "evaluate"), progress(1, "evaluate")]
    losses = Losses(lambda id: at.pop(0), none)
    for _ in range(3):
        losses.add(TRIAL, Loss(what="process", how="died"))
    assert losses._in_a_row["base"]["process"] == 2


def test_a_second_evaluation_is_further_than_the_first() -> None:
    """Though it is at an earlier image."""
    at, measured = [progress(9, "evaluate"), *[progress(1, "evaluate")] * 3], [0, 1, 2, 2]
    losses = Losses(lambda id: at.pop(0), lambda id: measured.pop(0))
    for in_a_row in (1, 1, 1, 2):
        losses.add(TRIAL, Loss(what="process", how="died"))
        assert losses._in_a_row["base"]["process"] == in_a_row


def test_losses_of_each_sort_and_trial_count_apart() -> None:
    losses = Losses(lambda id: None, none)
    for what in IN_A_ROW:
        for trial in (TRIAL, make_trial("other")):
            assert [losses.add(trial, Loss(what=what, how="died"))[0] for _ in range(2)] == [
                False
            ] * 2


def test_a_state_that_says_ended_hides_no_later_step() -> None:
    """A trial that was told to end leaves such a state; the next process goes on from it."""
    at = [progress(5, "ended"), *(progress(step) for step in range(10, 60, 10))]
    losses = Losses(lambda _: at.pop(0), none)
    loss = Loss(what="memory", how="was killed")
    assert [losses.add(TRIAL, loss)[0] for _ in range(6)] == [False] * 6
