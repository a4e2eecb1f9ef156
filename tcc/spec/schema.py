"""What a sweep file may say: `SweepSpec` and its sections, each a frozen model with its defaults.

Names of plug-ins, and their parameters, are only text and mappings here: `check` knows them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    PrivateAttr,
    field_serializer,
    model_serializer,
    model_validator,
)

from tcc.records import DatasetInfo, FrozenMap, Resources
from tcc.spec.section import Section, gathered
from tcc.spec.training import TrainSpec
from tcc.spec.values import (
    Betas,
    ByTask,
    Gpus,
    Name,
    Number,
    Numbers,
    Positive,
    PositiveShare,
    Seeds,
    frozen,
    refuse,
    short,
)

Axis = Literal["lambda_b", "lambda_e", "beta"]
Filter = Annotated[Mapping[Axis, Numbers], AfterValidator(frozen)]
Params = Annotated[Mapping[str, Any], AfterValidator(frozen)]
ALL = "all"  # as a pair's task: every task that the data set has labels for


class DataEntry(Section):
    """A data set under a name of the user's. `check` completes it: params in full, `info`."""

    type: str = Field(default="", description="the data set plug-in; the entry's name by default")
    params: Params = FrozenMap()
    _info: DatasetInfo | None = PrivateAttr(default=None)

    @model_validator(mode="before")
    @classmethod
    def _gather(cls, value: Any) -> Any:
        return gathered({} if value is None else value, ("type",), "params")

    @model_serializer
    def _spread(self) -> dict[str, Any]:
        return {"type": self.type, **self.params}

    @property
    def info(self) -> DatasetInfo:
        """What the data set holds."""
        assert self._info is not None, "only a checked spec knows its data"
        return self._info

    def described(self, info: DatasetInfo) -> DataEntry:
        """The entry with what its data set holds."""
        entry = self.model_copy()
        entry._info = info
        return entry


class EnhanceAt(Section):
    """The bases that get enhancements; all those of a task that is not named."""

    lambda_b: ByTask


class Grid(Section):
    """The values that each axis takes. A pair's own grid replaces them key by key."""

    lambda_b: ByTask | None = None
    lambda_e: ByTask | None = None
    beta: Betas = (0.0,)
    beta_mode: Literal["absolute", "relative"] = "absolute"
    seed: Seeds = (0,)
    enhance_at: Annotated[
        EnhanceAt | None, BeforeValidator(lambda value: None if value == ALL else value)
    ] = None
    pairing: Literal["product", "zip"] = "product"


class Pair(Section):
    """A base task and an enhancement task on one data set."""

    base: str
    enhancement: str
    dataset: str | None = None  # the only one by default
    grid: Grid = Grid()

    @model_validator(mode="before")
    @classmethod
    def _all(cls, value: Any) -> Any:
        """``{all: data set}``: every ordered pair of the tasks that it has labels for."""
        if not isinstance(value, Mapping) or ALL not in value:
            return value
        rest = {key: item for key, item in value.items() if key != ALL}
        return {"base": ALL, "enhancement": ALL, "dataset": value[ALL], **rest}

    @field_serializer("grid")
    def _replaced(self, grid: Grid) -> dict[str, Any]:
        return grid.model_dump(mode="json", exclude_unset=True)


def _pairs(value: Any) -> Any:
    """``all`` and ``{all: data set}`` stand for lists of one."""
    if value == ALL:
        return [{"base": ALL, "enhancement": ALL}]
    if isinstance(value, Mapping):
        if list(value) != [ALL]:
            raise refuse(f"{short(value)}: write a list of pairs, `all`, or {{all: data set}}")
        return [value]
    return value


class Also(Section):
    """An optional trial kind; ``only`` keeps those trials whose axes have these values."""

    kind: str
    only: Filter = Field(default={}, validate_default=True)

    @model_validator(mode="before")
    @classmethod
    def _written(cls, value: Any) -> Any:
        if isinstance(value, str):
            return {"kind": value}
        if isinstance(value, Mapping) and len(value) == 1:
            ((kind, only),) = value.items()
            return {"kind": kind, "only": only}
        raise refuse(f"{short(value)}: write a trial kind, or {{kind: {{axis: [values]}}}}")

    @model_serializer
    def _as_written(self) -> Any:
        only = {axis: list(values) for axis, values in self.only.items()}
        return {self.kind: only} if only else self.kind


class EvaluateSpec(Section):
    """One thing to measure of every trial. ``data``: its own training data by default. ``rate``:
    coded by default where the method's contexts are fast to code. ``coded_images``: of an estimated
    rate, how many are coded as well, to measure what the estimate leaves out."""

    data: str | None = None
    split: Literal["val", "select", "train"] = "val"
    rate: Literal["coded", "estimated"] | None = None
    coded_images: Annotated[int, Field(ge=0)] = 8


class ResourcesSpec(Section):
    """What a trial of a kind occupies."""

    cpu: Positive | None = None
    gpu: Gpus | None = None


class SearchSpec(Section):
    """Which trials are proposed."""

    policy: str = "grid"


class AnchorFile(Section):
    """An RD file (CompressAI's JSON, or CSV) of a codec from outside, and the data set that it was
    measured on: by default the only one. `check` adds the file's content, which counts where the
    file is not there: on another machine, or after a Ray job, whose folder is removed."""

    file: Annotated[str, Field(min_length=1)]
    dataset: Name | None = None
    content: str = ""

    @model_validator(mode="before")
    @classmethod
    def _written(cls, value: Any) -> Any:
        return {"file": value} if isinstance(value, str) else value


class ReportSpec(Section):
    """What the report compares with what, and says on its face."""

    anchor: Annotated[Mapping[Axis, Number], AfterValidator(frozen)] = Field(
        default={"beta": 0.0}, validate_default=True
    )
    anchors: tuple[AnchorFile, ...] = Field(default=(), description="codecs from outside")
    notice: str = ""
    refuse: str = Field(default="", description="why no BD-rate of this study is to be believed")
    improving_share: PositiveShare = Field(
        default=0.02,
        description="a point whose rd_cost fell by more than this share over the last tenth of "
        "training is marked as still improving",
    )

    @property
    def imported(self) -> list[tuple[str, str, str]]:
        """Path, data set and content of each file of `anchors`."""
        return [(item.file, item.dataset or "", item.content) for item in self.anchors]


class WandbSpec(Section):
    """Where the store is mirrored."""

    project: Name = "tcc"
    mode: Literal["offline", "online", "auto", "disabled"] = "offline"
    entity: Name | None = None
    artifacts: tuple[Literal["report", "checkpoints"], ...] = ("report",)


@dataclass(frozen=True)
class Notes:
    """What is worth telling of a spec and no part of it: specs are equal whatever they note."""

    left_out: tuple[str, ...] = field(default=(), compare=False)


class SweepSpec(Section):
    """A whole study. `study`, `data` and `pairs` have defaults only so that the rest of a faulty
    spec can be checked: `load_spec` refuses a spec without them."""

    study: Name = ""
    method: str = "ttcc"
    data: Annotated[Mapping[Name, DataEntry], Field(min_length=1), AfterValidator(frozen)] = (
        FrozenMap()
    )
    pairs: Annotated[tuple[Pair, ...], Field(min_length=1), BeforeValidator(_pairs)] = ()
    grid: Grid = Grid()
    also: tuple[Also, ...] = ()
    model: Params = FrozenMap()
    tasks: Annotated[Mapping[str, Params], AfterValidator(frozen)] = FrozenMap()
    train: TrainSpec = TrainSpec()
    evaluate: Annotated[tuple[EvaluateSpec, ...], Field(min_length=1)] = (EvaluateSpec(),)
    resources: Annotated[Mapping[str, ResourcesSpec], AfterValidator(frozen)] = FrozenMap()
    search: SearchSpec = SearchSpec()
    report: ReportSpec = ReportSpec()
    wandb: WandbSpec = WandbSpec()
    _notes: Notes = PrivateAttr(default=Notes())

    @property
    def left_out(self) -> tuple[str, ...]:
        """The tasks that ``pairs: all`` left out, each with the reason."""
        return self._notes.left_out

    def noted(self, left_out: tuple[str, ...]) -> SweepSpec:
        """The spec with what `check` left out of it."""
        spec = self.model_copy()
        spec._notes = Notes(left_out)
        return spec

    def resources_of(self, kind: str, task: str = "") -> Resources:
        """What a trial of a kind and task occupies; by default a CPU a thread of each device."""
        recipe = self.train.recipe(kind, task)
        fields = {"cpu": float(recipe.threads * recipe.devices), "gpu": 0.0}
        for name in ("default", kind, task):
            if name in self.resources:
                fields |= self.resources[name].model_dump(exclude_none=True)
        return Resources(**fields)
