"""What `injected.sitecustomize` noted of a study: what steps were trained, where, how often."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class Note:
    what: str  # step | saved | restored | committed | died
    trial: str
    number: int
    pid: int
    at: float


@dataclass
class Course:
    """A trial by its notes. ``saved``: the step of its last saved state."""

    saved: int = 0
    last: int = 0
    done: bool = False
    seen: set[int] = field(default_factory=set)
    pids: set[int] = field(default_factory=set)


@dataclass
class Account:
    """All steps of a study: how many there were, how many came again, and what must not be."""

    steps: int = 0
    again: int = 0
    commits: int = 0
    wrong: list[str] = field(default_factory=list)
    trials: dict[str, Course] = field(default_factory=lambda: defaultdict(Course))


class Notes:
    """A growing file of notes; only what is new is read each time."""

    def __init__(self, path: Path):
        self._path, self._offset = path, 0
        self._found: list[Note] = []

    def read(self) -> list[Note]:
        if not self._path.exists():
            return []
        with self._path.open() as file:
            file.seek(self._offset)
            text = file.read()
        whole = text[: text.rfind("\n") + 1]
        self._offset += len(whole)
        for what, trial, number, pid, at in map(str.split, whole.splitlines()):
            self._found.append(Note(what, trial, int(number), int(pid), float(at)))
        return self._found


def account(notes: list[Note]) -> Account:
    """A step may come again only if no state saved before has it, and none after a commit."""
    found = Account()
    for note in notes:
        trial = found.trials[note.trial] if note.what != "died" else Course()
        match note.what:
            case "step":
                found.steps += 1
                if trial.done:
                    found.wrong.append(f"{note} though it was committed")
                elif note.number in trial.seen:
                    found.again += 1
                    if note.number <= trial.saved:
                        found.wrong.append(f"{note} though step {trial.saved} was saved")
                trial.seen.add(note.number)
                trial.pids.add(note.pid)
                trial.last = note.number
            case "saved":
                trial.saved = note.number
            case "committed":
                found.commits += 1
                if trial.done:
                    found.wrong.append(f"{note} for the second time")
                trial.done = True
    return found


def running(notes: list[Note]) -> dict[str, Note]:
    """Trial → its last step, of those that are not committed."""
    last: dict[str, Note] = {}
    for note in notes:
        if note.what == "step":
            last[note.trial] = note
        elif note.what == "committed":
            last.pop(note.trial, None)
    return last
