"""Method plug-ins: what trial kinds a method has, what each needs, its models and losses.

This page is the contract. A plug-in ends with ``PLUGIN = MyMethod()``; importing it and calling
`expand` must not import torch.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from pydantic import BaseModel, ConfigDict

from tcc.records import PairGrid, TrialDraft, TrialSpec

if TYPE_CHECKING:
    from torch import Tensor
    from torch.nn import Parameter

    from tcc.codec.coding import LatentCoder
    from tcc.codec.geometry import Size
    from tcc.formats.sample import Batch


class MethodParams(BaseModel):
    """What the spec's ``model`` section may set."""

    model_config = ConfigDict(extra="forbid", frozen=True)


@dataclass(frozen=True, kw_only=True)
class Measured:
    """What a model gives for one batch in evaluation.

    ``bits_by_stream``: stream → bits of each image, float64 (B,). ``outputs``: task → the
    image-like tensor that its task model reads, (B, 3, H, W). ``coded``: the same as it was
    decoded, at the codec's scale; empty where there is no codec. ``payloads``: layer → the
    stream of each image, where they were coded.
    """

    bits_by_stream: Mapping[str, Tensor]
    outputs: Mapping[str, Tensor]
    coded: Mapping[str, Tensor] = field(default_factory=dict)
    payloads: Mapping[str, Sequence[bytes]] = field(default_factory=dict)


class TrialModel(Protocol):
    """A torch ``nn.Module``: all that a trial trains and all that it stands on, frozen."""

    @property
    def origins(self) -> Mapping[str, Any]:
        """The kinds of trial whose weights `load_parents` takes."""
        ...

    def loss(self, batch: Batch, rate_weight: float) -> Mapping[str, Tensor]:
        """Loss terms of one training step; ``total`` is what is minimised."""
        ...

    def rd_cost(self, batch: Batch) -> Tensor:
        """λ·d + R of one batch, without auxiliary terms or ramp: the picking rule's value."""
        ...

    def coders(self) -> Mapping[str, LatentCoder]:
        """Layer → its coder with the weights as they are now, in the order of a file."""
        ...

    def measure(self, batch: Batch, coders: Mapping[str, LatentCoder] | None = None) -> Measured:
        """Rates as evaluated (entropy parameters quantised) and each task's decoded image.

        With ``coders`` all latents are encoded, and what is measured is what was decoded.
        """
        ...

    def decode(
        self, payloads: Sequence[Sequence[bytes]], size: Size, coders: Mapping[str, LatentCoder]
    ) -> Mapping[str, Tensor]:
        """Task → the image-like tensor (B, 3, H, W) that its task model reads, of B images of one
        ``size``. ``payloads``: of each image, its file's layers from the base up.

        Raises:
            BitstreamError: a layer cannot be decoded.
        """
        ...

    def refuse_short(
        self, payloads: Sequence[Sequence[bytes]], size: Size, coders: Mapping[str, LatentCoder]
    ) -> None:
        """Computes nothing of what `decode` is given, but looks whether it has bytes enough.

        Raises:
            BitstreamError: a layer has fewer than any image of ``size`` takes.
        """
        ...

    def task_model(self, task: str) -> Any:
        """The task model that reads ``measure(batch).outputs[task]``."""
        ...

    def precompute(self, batch: Batch) -> Mapping[str, Tensor]:
        """What frozen parts give for a batch, (B, …) each: kept by the loop while crops are fixed
        and handed back as ``batch.frozen``."""
        ...

    def parameter_groups(self) -> Sequence[Sequence[Parameter]]:
        """The trained parameters; the gradient norm of each group is clipped apart."""
        ...

    def trained_state(self) -> Mapping[str, Tensor]:
        """The weights that this trial trains: its checkpoint."""
        ...

    def load_trained(self, state: Mapping[str, Tensor]) -> None:
        """Restores `trained_state`.

        Raises:
            CheckpointError: tensors are missing, unexpected or of another shape.
        """
        ...

    def load_parents(self, states: Mapping[str, Mapping[str, Tensor]]) -> None:
        """Takes kind → checkpoint of all trials it stands on: frozen parts and warm starts."""
        ...


class Method(ABC):
    """A way of training scalable codecs."""

    version: ClassVar[int] = 1  # raised when its numbers change
    Params: ClassVar[type[MethodParams]]
    kinds: ClassVar[tuple[str, ...]]  # every trial kind it owns
    optional: ClassVar[tuple[str, ...]]  # those a spec asks for in ``also``
    tiny: ClassVar[Mapping[str, Any]] = {}  # parameters for fast tests

    @abstractmethod
    def expand(self, params: Any, grid: PairGrid) -> Iterator[TrialDraft]:
        """The trials of one pair; a trial that several need is drafted equal each time."""

    @abstractmethod
    def recipe(self, params: Any, draft: TrialDraft) -> Mapping[str, Any]:
        """The part of ``params`` that can change the weights of this draft's trial."""

    @abstractmethod
    def reported_tasks(self, draft: TrialDraft) -> tuple[str, ...]:
        """The tasks whose metrics such a trial gives, its own first."""

    @abstractmethod
    def batch_key(self, trial: TrialSpec) -> tuple[str, ...]:
        """What, beside the seed, the batch order depends on: equal for arms of a comparison."""

    @abstractmethod
    def num_layers(self, kind: str) -> int:
        """How many layers the files have that trials of a kind write; 0: they code nothing. Above
        the base, which is coded by a parent of kind ``base``, there is one at most."""

    def codes_fast(self, params: Any) -> bool:
        """Whether a whole data set is coded in little more time than it is measured in."""
        return False

    @abstractmethod
    def build(
        self,
        trial: TrialSpec,
        parents: Mapping[str, TrialSpec],
        make_task: Callable[[str], Any],
    ) -> TrialModel:
        """The model of a trial with seeded initial weights, its parents' weights not yet loaded.

        ``parents``: kind → spec of every trial it stands on, near and far (a standalone's
        enhancement and that one's base). ``make_task``: task → a new task model.
        """
