"""Task plug-ins: one file a task, holding its model, distortion and metrics.

This page is the contract. A plug-in file ends with ``PLUGIN = MyTask()``; importing it must not
import torch (its methods may), since specs and plans are made without.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, Self

from pydantic import BaseModel, ConfigDict

from tcc.records import MetricInfo

if TYPE_CHECKING:
    from torch import Tensor

    from tcc.formats.sample import Batch


class TaskParams(BaseModel):
    """What the spec may set of a task; every field can change the trained weights."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    def files(self) -> Mapping[str, Path]:
        """Parameters that are paths of files which shape the weights: those files. Their contents
        stand for the paths in trial ids."""
        return {}

    def initial_weights(self) -> str:
        """Where the task model's initial weights come from: ``random``, a published name, or
        ``file``."""
        return "random"

    def without_files(self) -> Self:
        """The same model without the files it started from, for a checkpoint to be loaded into."""
        return self


class TaskModel(Protocol):
    """A torch ``nn.Module`` that is appended to a synthesis transform."""

    def distortion(self, image_B3HW: Tensor, batch: Batch) -> Tensor:
        """d(Ẑ, Z), a scalar. ``image_B3HW``: what the synthesis gave, nominally 0 to 1 but not
        clamped, of the batch's size. Where ``batch.padded``, padding counts for nothing. Works in
        training and in evaluation mode alike."""
        ...

    def predict(self, image_B3HW: Tensor) -> Sequence[Any]:
        """One prediction an image, in the form that the task's accumulator reads."""
        ...


class Accumulator(Protocol):
    """Gathers a whole split's metrics; its memory does not grow with the images' pixels."""

    def update(self, predictions: Sequence[Any], batch: Batch) -> list[dict[str, float]]:
        """Adds one batch, in the data set's order and never padded; gives each image's own values
        of the per-image metrics. A metric that does not apply to an image (no valid pixel, too
        small) is left out."""
        ...

    def compute(self) -> dict[str, float]:
        """Each metric over all images so far; one that never applied is left out."""
        ...


class Task(ABC):
    """A task that a codec serves."""

    version: ClassVar[int] = 1  # raised when its numbers change
    Params: ClassVar[type[TaskParams]]
    label: ClassVar[str]  # the label kind it needs; "image" where the image itself is the target
    metrics: ClassVar[tuple[MetricInfo, ...]]  # the headline metric first
    tiny: ClassVar[Mapping[str, Any]] = {}  # parameters for fast tests

    @abstractmethod
    def build(self, params: Any, classes: tuple[str, ...]) -> TaskModel:
        """A new task model. Its initial weights come from torch's global generator, which the
        caller has seeded. ``classes``: names of the data set's classes of this label kind."""

    @abstractmethod
    def accumulator(self, params: Any, classes: tuple[str, ...]) -> Accumulator:
        """A new, empty accumulator."""

    @abstractmethod
    def write(self, prediction: Any, stem: Path, classes: tuple[str, ...]) -> Path:
        """Writes one prediction, atomically, as a file that other programs read, and gives it:
        ``stem`` with a suffix added.

        Raises:
            OSError: it cannot be written.
        """

    @property
    def headline(self) -> MetricInfo:
        """The metric that curves of this task are drawn in."""
        return self.metrics[0]
