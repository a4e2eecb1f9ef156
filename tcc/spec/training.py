"""How trials are trained: the fields of ``train``, and how they must fit one another."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    Field,
    SerializerFunctionWrapHandler,
    model_serializer,
    model_validator,
)

from tcc.records import TrainRecipe
from tcc.spec.document import Document, Path
from tcc.spec.section import Section, gathered
from tcc.spec.values import (
    Count,
    Flag,
    NaturalNumber,
    Positive,
    PositiveShare,
    Scale,
    Share,
    frozen,
)

if TYPE_CHECKING:
    from tcc.spec.schema import SweepSpec


class TrainFields(Section):
    """How trials are trained: the fields of a `TrainRecipe`, with defaults."""

    steps: Count = 1000
    batch: Count = 8
    accumulate: Count = 1
    devices: Count = 1
    lr: Positive = 1e-3
    warmup: Share = 0.0
    decay: Share = 0.3
    clip: Positive = 1.0
    precision: Literal["fp32", "bf16"] = "fp32"
    deterministic: Flag = False
    threads: Count = 1
    rate_ramp: Share = 0.5
    rate_start: PositiveShare = 0.05
    select_every: Count | None = None  # a tenth of the steps
    patience: NaturalNumber = 0
    crop: NaturalNumber = 0
    flip: Flag = False


class TrainSpec(TrainFields):
    """`TrainFields` for all trials, and what single kinds or tasks have otherwise.

    ``own``: kind or task → its fields. Of a field that both set, the task's value holds; a trial's
    task is the one that it trains for, an enhancement's the second.
    """

    warm_start: Literal["none", "pretrain"] = "none"
    scale: Scale = 1.0  # of the whole study: a base's latents and those above it align
    own: Annotated[Mapping[str, TrainFields], AfterValidator(frozen)] = Field(
        default={}, validate_default=True, exclude=True
    )

    @model_validator(mode="before")
    @classmethod
    def _gather(cls, value: Any) -> Any:
        if not isinstance(value, Mapping):
            return value
        plain = [key for key, item in value.items() if not isinstance(item, Mapping)]
        plain += [*TrainFields.model_fields, "warm_start", "scale"]
        return gathered(value, tuple(key for key in plain if key != "own"), "own")

    @model_serializer(mode="wrap")
    def _spread(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return handler(self) | {
            name: item.model_dump(mode="json", exclude_unset=True)
            for name, item in self.own.items()
        }

    def recipe(self, kind: str, task: str = "") -> TrainRecipe:
        """How trials of a kind are trained for a task."""
        fields = {name: getattr(self, name) for name in TrainFields.model_fields}
        for override in (self.own[name] for name in (kind, task) if name in self.own):
            fields |= {name: getattr(override, name) for name in override.model_fields_set}
        every = fields["select_every"]
        fields["select_every"] = max(1, fields["steps"] // 10) if every is None else every
        return TrainRecipe(**fields, scale=self.scale)


def check_training(document: Document, spec: SweepSpec, trained: Iterable[tuple[str, str]]) -> None:
    """Each batch divides into its parts, a trial's GPUs are its devices, and its schedule fits into
    its steps. ``trained``: kind and task of the trials that there are."""
    if document.touched(("train",)):
        return
    for kind, task in trained:
        recipe, written = spec.train.recipe(kind, task), _Written(document, kind, task)
        _check_batch(document, written, recipe)
        _check_schedule(document, written, recipe)
        if recipe.devices > 1 and not document.touched(("resources",)):
            _check_gpus(document, spec, written, recipe)


class _Written:
    """Where the fields of a kind and a task stand in the document."""

    def __init__(self, document: Document, kind: str, task: str):
        self.document, self.kind, self.task = document, kind, task

    def place(self, *fields: str) -> Path:
        """The first of some fields that is written: for the task, for the kind, then for all."""
        sections = (("train", self.task), ("train", self.kind), ("train",))
        paths = [(*section, field) for section in sections for field in fields]
        return next((path for path in paths if self.document.has(path)), ("train",))


def _check_batch(document: Document, written: _Written, recipe: TrainRecipe) -> None:
    parts = recipe.accumulate * recipe.devices
    if recipe.batch % parts:
        document.report(
            written.place("batch", "accumulate", "devices"),
            f"a batch of {recipe.batch} images does not divide into {recipe.accumulate} "
            f"accumulated parts on each of {recipe.devices} devices: take a multiple of {parts}",
        )


def _check_schedule(document: Document, written: _Written, recipe: TrainRecipe) -> None:
    if recipe.warmup + recipe.decay > 1 + 1e-9:
        document.report(
            written.place("warmup", "decay"),
            f"warmup {recipe.warmup:g} and decay {recipe.decay:g} are shares of the steps: "
            "together at most 1",
        )


def _check_gpus(
    document: Document, spec: SweepSpec, written: _Written, recipe: TrainRecipe
) -> None:
    """A process of a trial has a GPU of its own, or all run on the CPU."""
    gpu = spec.resources_of(written.kind, written.task).gpu
    if gpu not in (0, recipe.devices):
        sections = (written.task, written.kind, "default")
        given = [name for name in sections if document.has(("resources", name, "gpu"))]
        devices = ".".join(map(str, written.place("devices")))
        document.report(
            ("resources", given[0], "gpu"),
            f"is {gpu:g} but {devices} is {recipe.devices}: give a trial of that kind "
            f"{recipe.devices} GPUs",
        )
