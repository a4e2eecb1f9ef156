"""When a trial whose process was lost is tried again, and when it is given up. No Ray.

Losses are not the trial's fault, as a rule: only those count after which it came no further.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

from tcc.records import Progress, TrialSpec

IN_A_ROW = {"process": 5, "memory": 3, "node": 30}  # without coming further, by what was lost
IN_ALL = 100

_OF_MEMORY = ("low on memory", "memory usage threshold", "OutOfMemory")
_OF_NODE = ("its node has died", "node has crashed", "node was", "is unavailable", "SIGTERM")
_IN_USE = re.compile(r"\) was (\S+) used / (\S+) limit")
_OWN = re.compile(r"actual memory used=(\w+(?:\.\w+)?)")


@dataclass(frozen=True, kw_only=True)
class Loss:
    """A trial lost its process. ``what``: a key of `IN_A_ROW`. ``how``: in words."""

    what: str
    how: str

    @classmethod
    def told(cls, text: str) -> Loss:
        """From what Ray says of the death of a process."""
        flat = " ".join(text.split())
        if any(sign in flat for sign in _OF_MEMORY):
            return cls(what="memory", how=f"was killed, as its node ran out of memory{_used(flat)}")
        if any(sign in flat for sign in _OF_NODE):
            return cls(what="node", how=f"was lost with its node or told to go ({_detail(flat)})")
        return cls(what="process", how=f"died ({_detail(flat)})")


class Losses:
    """Counts them. ``progress``: where a trial was last. ``measured``: how many of its evaluations
    stand."""

    def __init__(self, progress: Callable[[str], Progress | None], measured: Callable[[str], int]):
        self._progress, self._measured = progress, measured
        self._best: dict[str, tuple[bool, int, int]] = {}  # trial → how far it had come at a loss
        self._in_a_row: dict[str, Counter[str]] = {}
        self._by_trial: Counter[str] = Counter()

    @property
    def total(self) -> int:
        return self._by_trial.total()

    def add(self, trial: TrialSpec, loss: Loss) -> tuple[bool, str]:
        """Whether a trial is given up with this loss, and what there is to say of it.

        Raises:
            StoreError: as ``progress`` and ``measured``.
        """
        id, last = trial.id, self._progress(trial.id)
        evaluates = last is not None and last.phase == "evaluate"
        at = evaluates, self._measured(id), last.step if last else 0
        if id not in self._best or at > self._best[id]:
            self._best[id], self._in_a_row[id] = at, Counter()
        self._in_a_row[id][loss.what] += 1
        self._by_trial[id] += 1
        where = f" at step {last.step} of {last.steps} ({last.phase})" if last else ""
        times, most = self._in_a_row[id][loss.what], IN_A_ROW[loss.what]
        if times < most and self._by_trial[id] < IN_ALL:
            return False, f"its process {loss.how}{where}; it goes on from its last saved step"
        often = (
            f"{times} times without coming further" if times >= most else f"{IN_ALL} times in all"
        )
        return True, f"its process {loss.how}{where}, {often}{_fix(trial, loss)}"


def _fix(trial: TrialSpec, loss: Loss) -> str:
    if loss.what != "memory":
        return ""
    return (
        f"; raise `resources.{trial.kind}.cpu`, so that fewer run side by side, or "
        "`train.accumulate`, for smaller parts of a batch"
    )


def _used(text: str) -> str:
    """How much memory the node and the trial used, where Ray says so."""
    node, own = _IN_USE.search(text), _OWN.search(text)
    parts = [f"{own[1]} of it this trial's"] if own else []
    return f" ({', '.join([f'{node[1]} of {node[2]} used', *parts])})" if node else ""


def _detail(text: str) -> str:
    """The part of Ray's text that says more than that a process died."""
    for begin in ("Worker exit detail: ", "the actor's node was ", "Node Id: "):
        _, found, after = text.partition(begin)
        if found:
            text = after
            break
    text = text.removeprefix("Worker exits unexpectedly. ").partition(" Some common causes")[0]
    return text.strip()[:200].rstrip(".") or "Ray gives no reason"
