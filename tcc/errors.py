"""Everything that tcc raises on purpose.

TccError                    one clear message; the command line prints it and exits with 2
├── SpecError               a sweep spec is wrong; holds every problem, each with file:line
├── UnknownNameError        a plug-in name that does not exist; suggests the nearest
├── DataError               a data set root, file or label is missing or malformed
├── StoreError              a store cannot be read or written
├── BusyError               another process works on the trial
├── RecordError             a stored record is torn, tampered or of a foreign version
├── CheckpointError         weights do not fit the model that they are loaded into
├── BitstreamError          a compressed file is malformed or belongs to another model
├── OutputError             what was encoded or decoded cannot be written
├── LostProcessError        a process that a trial is made of was killed: it may be tried again
├── ClusterError            Ray cannot be reached, or no node can hold what is asked
├── TrackingError           a run cannot be brought to a tracker's server
│   └── LostServerError     the server answers no longer, for this run or any other
└── TrialError              a trial cannot go on: becomes its FailureRecord, never ends a study
    ├── NonFiniteError      a loss term or metric is NaN or infinite
    └── MemoryExceededError a device's memory does not suffice; says what would fit
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


class TccError(Exception):
    """Base of all deliberate errors; its text names the value, what is allowed and the fix."""


@dataclass(frozen=True, kw_only=True)
class Problem:
    """One thing that is wrong with a spec: ``where`` is ``file:line`` or ``command line``."""

    where: str
    message: str

    def __str__(self) -> str:
        return f"{self.where}: {self.message}"


class SpecError(TccError):
    """Raised by `spec` and `plan` with every problem found, not the first alone."""

    def __init__(self, problems: Iterable[Problem]):
        self.problems = tuple(problems)
        super().__init__("\n".join(str(problem) for problem in self.problems))


class UnknownNameError(TccError):
    """Raised by `registry` for a name that no plug-in file has."""


class DataError(TccError):
    """Raised by `datasets` and `formats`; names the file."""


class StoreError(TccError):
    """Raised by `stores` when a store cannot be reached, read or written."""


class BusyError(TccError):
    """Raised when another living process works on a trial, or has taken it over; names it."""


class RecordError(TccError):
    """Raised when a stored record cannot be trusted; names the file and why."""


class CheckpointError(TccError):
    """Raised when weights do not fit; names the tensors."""


class BitstreamError(TccError):
    """Raised when a compressed file cannot be decoded; names the field."""


class OutputError(TccError):
    """Raised when a file that a verb was asked to make cannot be written; names it."""


class LostProcessError(TccError):
    """Raised when something outside killed a process of a trial, which goes on from its last saved
    step when it is run again."""


class ClusterError(TccError):
    """Raised before any trial when the cluster cannot run the plan."""


class TrackingError(TccError):
    """Raised by `Tracker.connect` and by a `Remote`: a run cannot be pushed."""


class LostServerError(TrackingError):
    """Raised when a tracker's server no longer answers: nothing more can be pushed now."""


class TrialError(TccError):
    """Raised inside a trial by a deterministic fault; the study goes on without the trial."""

    def __init__(self, reason: str, *, step: int | None = None, term: str | None = None):
        self.reason, self.step, self.term = reason, step, term
        super().__init__(reason)


class NonFiniteError(TrialError):
    """Raised when a loss term, gradient norm or metric is NaN or infinite."""


class MemoryExceededError(TrialError):
    """Raised when a GPU's memory, or the machine's on the CPU, does not suffice for a trial; names
    the device, what was computed and what would fit."""
