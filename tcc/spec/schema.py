"""What a sweep file may say: `SweepSpec` and its sections, each a frozen model with its defaults.

Names of plug-ins, and their parameters, are only text and mappings here: `check` knows them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PrivateAttr,
    SerializerFunctionWrapHandler,
    field_serializer,
    model_serializer,
    model_validator,
)

from tcc.records import DatasetInfo, FrozenMap, Resources, TrainRecipe
from tcc.spec.values import (
    Betas,
    ByTask,
    Count,
    Flag,
    Gpus,
    Lambdas,
    Name,
    NaturalNumber,
    Number,
    Numbers,
    Positive,
    PositiveShare,
    Scale,
    Seeds,
    Share,
    frozen,
    refuse,
    short,
)

Axis = Literal["lambda_b", "lambda_e", "beta"]
Filter = Annotated[Mapping[Axis, Numbers], AfterValidator(frozen)]
Params = Annotated[Mapping[str, Any], AfterValidator(frozen)]
ALL = "all"  # as a pair's task: every task that the data set has labels for


def _gathered(value: Any, own: tuple[str, ...], rest: str) -> Any:
    """A mapping whose keys that are not a section's own lie under ``rest``."""
    if not isinstance(value, Mapping):
        return value
    known = {key: item for key, item in value.items() if key in own}
    return known | {rest: {key: item for key, item in value.items() if key not in own}}


class Section(BaseModel):
    """A mapping of the spec: frozen, no key but its own."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class DataEntry(Section):
    """A data set under a name of the user's. `check` completes it: params in full, `info`."""

    type: str = Field(default="", description="the data set plug-in; the entry's name by default")
    params: Params = FrozenMap()
    _info: DatasetInfo | None = PrivateAttr(default=None)

    @model_validator(mode="before")
    @classmethod
    def _gather(cls, value: Any) -> Any:
        return _gathered({} if value is None else value, ("type",), "params")

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
    """The bases that get enhancements."""

    lambda_b: Lambdas


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

    @field_serializer("grid")
    def _replaced(self, grid: Grid) -> dict[str, Any]:
        return grid.model_dump(mode="json", exclude_unset=True)


def _pairs(value: Any) -> Any:
    """``all`` and ``{all: data set}`` stand for every ordered pair of tasks."""
    if value == ALL:
        return [{"base": ALL, "enhancement": ALL}]
    if isinstance(value, Mapping):
        if list(value) != [ALL]:
            raise refuse(f"{short(value)}: write a list of pairs, `all`, or {{all: data set}}")
        return [{"base": ALL, "enhancement": ALL, "dataset": value[ALL]}]
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


class TrainFields(Section):
    """How trials are trained: the fields of a `TrainRecipe`, with defaults."""

    steps: Count = 1000
    batch: Count = 8
    lr: Positive = 1e-3
    decay: Share = 0.3
    clip: Positive = 1.0
    precision: Literal["fp32", "bf16"] = "fp32"
    threads: Count = 1
    rate_ramp: Share = 0.5
    rate_start: PositiveShare = 0.05
    select_every: Count | None = None  # a tenth of the steps
    patience: NaturalNumber = 0
    crop: NaturalNumber = 0
    flip: Flag = False


class TrainSpec(TrainFields):
    """`TrainFields` for all kinds, and the fields that single kinds have otherwise."""

    warm_start: Literal["none", "pretrain"] = "none"
    scale: Scale = 1.0  # of the whole study: a base's latents and those above it align
    kinds: Annotated[Mapping[str, TrainFields], AfterValidator(frozen)] = Field(
        default={}, validate_default=True, exclude=True
    )

    @model_validator(mode="before")
    @classmethod
    def _gather(cls, value: Any) -> Any:
        if not isinstance(value, Mapping):
            return value
        own = [key for key, item in value.items() if not isinstance(item, Mapping)]
        return _gathered(value, (*own, *TrainFields.model_fields, "warm_start", "scale"), "kinds")

    @model_serializer(mode="wrap")
    def _spread(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return handler(self) | {
            kind: item.model_dump(mode="json", exclude_unset=True)
            for kind, item in self.kinds.items()
        }

    def recipe(self, kind: str) -> TrainRecipe:
        """How trials of a kind are trained."""
        fields = {name: getattr(self, name) for name in TrainFields.model_fields}
        if kind in self.kinds:
            override = self.kinds[kind]
            fields |= {name: getattr(override, name) for name in override.model_fields_set}
        every = fields["select_every"]
        fields["select_every"] = max(1, fields["steps"] // 10) if every is None else every
        return TrainRecipe(**fields, scale=self.scale)


class EvaluateSpec(Section):
    """One thing to measure of every trial. ``data``: its own training data by default."""

    data: str | None = None
    split: Literal["val", "select", "train"] = "val"
    rate: Literal["estimated"] = "estimated"


class ResourcesSpec(Section):
    """What a trial of a kind occupies."""

    cpu: Positive | None = None
    gpu: Gpus | None = None


class SearchSpec(Section):
    """Which trials are proposed."""

    policy: str = "grid"


class ReportSpec(Section):
    """What the report compares with what, and says on its face."""

    anchor: Annotated[Mapping[Axis, Number], AfterValidator(frozen)] = Field(
        default={"beta": 0.0}, validate_default=True
    )
    notice: str = ""
    refuse: str = Field(default="", description="why no BD-rate of this study is to be believed")
    improving_share: PositiveShare = Field(
        default=0.02,
        description="a point whose rd_cost fell by more than this share over the last tenth of "
        "training is marked as still improving",
    )


class WandbSpec(Section):
    """Where the store is mirrored."""

    project: Name = "tcc"
    mode: Literal["offline", "online", "auto", "disabled"] = "offline"
    entity: Name | None = None


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

    def resources_of(self, kind: str) -> Resources:
        """What a trial of a kind occupies; as many CPUs as it has threads by default."""
        fields = {"cpu": float(self.train.recipe(kind).threads), "gpu": 0.0}
        for name in ("default", kind):
            if name in self.resources:
                fields |= self.resources[name].model_dump(exclude_none=True)
        return Resources(**fields)
