"""Tracker plug-ins: mirrors of the store, such as Weights & Biases. Nothing ever needs one.

This page is the contract. A plug-in file ends with ``PLUGIN = MyTracker()``; importing it must not
import the tracker's own package. While trials run, nothing that goes wrong in a tracker is ever
raised: it becomes one message to the logger ``tcc.tracking``, and what is tracked goes on without
it. The store is the truth, and a `Remote` brings a tracker's server up to it afterwards.
"""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict

from tcc.records import FailureRecord, TrialRecord, TrialSpec

Cell = str | int | float | bool | None
Rows = Iterable[Mapping[str, Any]]  # metrics: each with its ``step``; steps never fall
STUDY_CHARACTERS = 40  # in an id, to which trackers add what their own names need


class TrackerParams(BaseModel):
    """What the spec may set of a tracker; nothing of it enters ids."""

    model_config = ConfigDict(extra="forbid", frozen=True)


@dataclass(frozen=True, kw_only=True)
class Table:
    """A table of a study: RD points, BD-rates. The cells of a column are of one type, or None."""

    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]


@dataclass(frozen=True, kw_only=True)
class Chart:
    """Curves of one metric over the rate: name → (bpp, value) of each point."""

    title: str
    x: str
    curves: Mapping[str, tuple[tuple[float, float], ...]]


@dataclass(frozen=True, kw_only=True)
class TrialCopy:
    """What a tracker is to hold of a trial. ``rows`` can be read more than once; ``outcome`` is
    None while the trial has none; ``checkpoint`` gives a local file, fetched only where it is
    called; ``digest`` stands for rows and outcome."""

    trial: TrialSpec
    study: str
    rows: Rows
    num_steps: int
    last_step: int | None
    outcome: TrialRecord | FailureRecord | None
    digest: str
    checkpoint: Callable[[], Path] | None = None

    @property
    def id(self) -> str:
        return self.trial.id


@dataclass(frozen=True, kw_only=True)
class StudyCopy:
    """What a tracker is to hold of a study, in the study's own run, all by name: tables, charts,
    figures (PNG), and ``files`` of the report, by their paths in it; ``digest`` stands for all."""

    study: str
    tables: Mapping[str, Table]
    images: Mapping[str, Path]
    config: Mapping[str, Any]
    digest: str
    charts: Mapping[str, Chart] = field(default_factory=dict)
    files: Mapping[str, Path] = field(default_factory=dict)

    @property
    def id(self) -> str:
        return study_run(self.study)


Copy = TrialCopy | StudyCopy


def study_run(study: str) -> str:
    """The id of a study's own run."""
    return f"study-{cut(study, STUDY_CHARACTERS)}"


def cut(name: str, characters: int) -> str:
    """A name of at most so many characters; two that begin alike stay apart."""
    if len(name) <= characters:
        return name
    mark = hashlib.sha256(name.encode()).hexdigest()[:8]
    return f"{name[: characters - len(mark) - 1]}-{mark}"


def by_step(rows: Rows) -> Iterator[tuple[int, dict[str, Any]]]:
    """Each step with all its values, which rows may hold in parts."""
    for step, parts in groupby(rows, key=lambda row: row["step"]):
        values = {name: value for part in parts for name, value in part.items()}
        del values["step"]
        yield step, values


class TrackedRun(ABC):
    """The mirror of one running trial."""

    trouble: str = ""
    """Why the run is not mirrored online though the settings ask for it, in one line; or ""."""

    @abstractmethod
    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Adds values at a training step; names such as ``train/total`` are the caller's. Steps
        never fall; values of one step may come in several calls."""

    @abstractmethod
    def finish(self, outcome: TrialRecord | FailureRecord | None) -> None:
        """Adds what the trial came to, and ends the run in bounded time. None: the trial was
        interrupted, and another run of the same id will go on."""


class Tracker(ABC):
    """Mirrors trials and studies."""

    Params: ClassVar[type[TrackerParams]]

    @abstractmethod
    def start(
        self,
        settings: Mapping[str, Any],
        *,
        trial: TrialSpec,
        study: str,
        directory: Path,
        past: Callable[[], Rows] = tuple,
        checkpoint: Callable[[], Path] | None = None,
    ) -> TrackedRun:
        """A run for a trial, with the trial's id, in the trial's process.

        ``settings``: what `Params` takes. ``directory``: the store's local folder; the tracker
        keeps its files in a folder of its own there. ``past``: the trial's rows in the store. A
        killed process may have kept the last of them to itself: a resumed run begins with those.
        ``checkpoint``: gives the trial's, once it has been written.
        """

    @abstractmethod
    def summarise(self, settings: Mapping[str, Any], copy: StudyCopy, *, directory: Path) -> None:
        """Writes the study's own run."""

    @abstractmethod
    def connect(self, settings: Mapping[str, Any], *, directory: Path) -> Remote:
        """The tracker's server, to be brought up to the store.

        Raises:
            TrackingError: the settings disable it, there is no key, or it does not answer.
        """


class Remote(ABC):
    """A tracker's server. Runs are named by the ids of what they copy."""

    place: str
    """Server and project, as text: what was pushed to one place was not pushed to another."""

    @abstractmethod
    def lacking(self, copies: Sequence[Copy]) -> dict[str, str]:
        """What the server does not hold whole: id → what is missing. Opens no run.

        Raises:
            LostServerError: it does not answer.
        """

    @abstractmethod
    def absent(self, ids: Sequence[str]) -> frozenset[str]:
        """The runs of which the server has nothing any more: someone may have deleted them.

        Raises:
            LostServerError: it does not answer.
        """

    @abstractmethod
    def push(self, copy: Copy) -> None:
        """Adds to the server what it lacks of a run; what it has is not sent again.

        Raises:
            TrackingError: this run could not be pushed.
            LostServerError: the server does not answer.
        """

    @abstractmethod
    def publish(self, copy: StudyCopy) -> str:
        """Writes the page that the server shows of a study, over an earlier one and not over one
        of the same digest; gives its address, or "" where the tracker has no such pages.

        Raises:
            TrackingError: it could not be written; what the runs hold is not touched.
        """

    @abstractmethod
    def settle(self, ids: Iterable[str]) -> None:
        """Marks local files of runs that the server holds whole, so that the tracker's own tools
        do not push them again."""
