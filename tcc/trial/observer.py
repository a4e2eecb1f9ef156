"""What a running trial tells whoever watches: the live table, W&B, a terminal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from tcc.records import FailureRecord, Progress, TrialRecord


class Observer(Protocol):
    """Watches one trial. A trial's results never depend on its observer."""

    def progress(self, progress: Progress) -> None:
        """Called often; the observer decides how much of it to show."""
        ...

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """``train/…`` and ``val/…`` values of one step."""
        ...

    def finished(self, outcome: TrialRecord | FailureRecord) -> None:
        """Called once, after the outcome is in the store."""
        ...


class Silent:
    """Watches nothing."""

    def progress(self, progress: Progress) -> None: ...

    def log(self, step: int, values: Mapping[str, float]) -> None: ...

    def finished(self, outcome: TrialRecord | FailureRecord) -> None: ...
