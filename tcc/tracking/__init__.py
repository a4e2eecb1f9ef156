"""Tracker plug-ins: mirrors of the store, such as Weights & Biases. Nothing ever needs one.

This page is the contract. A plug-in file ends with ``PLUGIN = MyTracker()``; importing it must not
import the tracker's own package. No method ever raises: whatever goes wrong in a tracker becomes
one message to the logger ``tcc.tracking``, and what is tracked goes on without it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict

from tcc.records import FailureRecord, TrialRecord, TrialSpec

Cell = str | int | float | bool | None


class TrackerParams(BaseModel):
    """What the spec may set of a tracker; nothing of it enters ids."""

    model_config = ConfigDict(extra="forbid", frozen=True)


@dataclass(frozen=True, kw_only=True)
class Table:
    """A table of a study: RD points, BD-rates."""

    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]


class TrackedRun(ABC):
    """The mirror of one running trial."""

    @abstractmethod
    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Adds values at a training step; names such as ``train/total`` are the caller's. Steps
        never fall; values of one step may come in several calls."""

    @abstractmethod
    def finish(self, outcome: TrialRecord | FailureRecord) -> None:
        """Adds what the trial came to, and ends the run in bounded time."""


class Tracker(ABC):
    """Mirrors trials and studies."""

    Params: ClassVar[type[TrackerParams]]

    @abstractmethod
    def start(
        self, settings: Mapping[str, Any], *, trial: TrialSpec, study: str, directory: Path
    ) -> TrackedRun:
        """A run for a trial, with the trial's id, in the trial's process.

        ``settings``: what `Params` takes. ``directory``: the store's local folder; the tracker
        keeps its files in a folder of its own there.
        """

    @abstractmethod
    def summarise(
        self,
        settings: Mapping[str, Any],
        *,
        study: str,
        directory: Path,
        tables: Mapping[str, Table],
        images: Mapping[str, Path],
        config: Mapping[str, Any],
    ) -> None:
        """The study's own run, ``study-NAME``: its tables and its figures, PNG, by name."""
