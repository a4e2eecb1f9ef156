"""Files that cannot be trusted, in words: what is wrong with each and how it will be made good.

A store that was moved from another version holds hundreds of the same kind: these are one entry.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

SHOWN = 3  # files that an entry of many names
_FILE = re.compile(r".*?(?:trials|studies)/.+?\.(?:jsonl?|safetensors|txt|yaml)(?=\s)")
_REMEDIES = {
    "result.json": "the trial will be redone",
    "evaluations": "will be redone: it is measured again, nothing is trained",
    "checkpoint.safetensors": "will be redone: the trial is trained again",
    "last.safetensors": "will be redone: the trial is trained again",
    "training.safetensors": "will be redone: the training starts over",
    "failure.json": "reads as no failure: the trial will be tried again",
    "state.json": "will be redone: it is written again when the trial goes on",
    "trial.json": "will be redone: it is written again when the trial is begun",
    "metrics.jsonl": "is left out; no result depends on it",
    "runs": "is left out of the runs; no result depends on it",
    "leases": "nobody else may take the trial for a minute",
}


@dataclass(frozen=True, kw_only=True)
class Distrust:
    """Files with one fault. ``count`` of them, of which ``files`` names at most `SHOWN`."""

    files: tuple[str, ...]
    count: int
    reason: str
    remedy: str  # empty: nothing will be done

    def __str__(self) -> str:
        remedy = f"; {self.remedy}" if self.remedy else ""
        if self.count == 1:
            return f"{self.files[0]} {self.reason}{remedy}"
        return f"{self.count} files ({', '.join(self.files)}, …): {self.reason}{remedy}"


def distrusts(problems: Iterable[str], *, redone: bool = True) -> tuple[Distrust, ...]:
    """What a store says of its files, alike ones together where there are more than `SHOWN`.

    ``redone``: false for a plan that nobody will run again.
    """
    alike: dict[tuple[str, str], list[tuple[str, str]]] = {}
    for problem in problems:
        file, reason = _split(problem)
        key = _kind(file), re.sub(r"\d+", "", reason)
        alike.setdefault(key, []).append((file, reason))
    found = []
    for (kind, _), entries in alike.items():
        remedy = _REMEDIES.get(kind, "will be redone") if redone else ""
        groups = [entries] if len(entries) > SHOWN else [[entry] for entry in entries]
        found += [
            Distrust(
                files=tuple(file for file, _ in group[:SHOWN]),
                count=len(group),
                reason=group[0][1],
                remedy=remedy,
            )
            for group in groups
        ]
    return tuple(found)


def _split(problem: str) -> tuple[str, str]:
    """``/runs/trials/ID/result.json is torn`` → the file and the rest."""
    match = _FILE.match(problem)
    if match is None:
        file, _, reason = problem.partition(" ")
        return file, reason
    return match[0], problem[match.end() :].lstrip()


def _kind(file: str) -> str:
    """What a file is: its name, or its folder where files are named by what they hold."""
    *_, folder, name = ("", *file.split("/"))
    return folder if folder in ("evaluations", "runs", "leases") else name
