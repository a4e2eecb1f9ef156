"""The frozen types that pass between rooms. Standard library only, no input or output."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields
from typing import Any, NoReturn

SCHEMA = 1  # version of the record files; raised when a reader of old files would misread new ones
LOOP_VERSION = 1  # version of the training loop (tcc/trial/loop.py); raised when its numbers change


class FrozenMap(dict[str, Any]):
    """An immutable, hashable dict with sorted keys; nested mappings and lists are frozen too."""

    def __init__(self, source: Mapping[str, Any] | None = None, /):
        super().__init__({key: _freeze(value) for key, value in sorted((source or {}).items())})

    def _refuse(self, *_: object, **__: object) -> NoReturn:
        raise TypeError("a record is frozen")

    __setitem__ = __delitem__ = __ior__ = _refuse  # pyright: ignore
    clear = pop = popitem = setdefault = update = _refuse  # pyright: ignore

    def __hash__(self) -> int:  # type: ignore[override]
        return hash(tuple(self.items()))

    def __reduce__(self) -> tuple[type[FrozenMap], tuple[dict[str, Any]]]:
        return FrozenMap, (dict(self),)


def _freeze(value: Any) -> Any:
    if isinstance(value, Mapping):
        return value if isinstance(value, FrozenMap) else FrozenMap(value)
    if isinstance(value, list | tuple):
        return tuple(_freeze(item) for item in value)
    return value


class _Record:
    """Freezes the mappings and sequences of a record as it is made."""

    def __post_init__(self) -> None:
        for item in fields(self):  # type: ignore[arg-type]
            value = getattr(self, item.name)
            if isinstance(value, Mapping | list):
                object.__setattr__(self, item.name, _freeze(value))


# --- what plug-ins say of themselves -----------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class MetricInfo(_Record):
    """A reported metric. ``per_image``: it has a value for each image (PSNR has, mAP has not)."""

    name: str
    unit: str
    higher_is_better: bool
    per_image: bool = False


@dataclass(frozen=True, kw_only=True)
class DatasetInfo(_Record):
    """What a data set holds. ``classes``: label kind → class names, in index order."""

    labels: tuple[str, ...]
    splits: Mapping[str, int]  # split → number of images
    fingerprint: str  # changes when the data changes; enters trial ids
    classes: Mapping[str, tuple[str, ...]] = field(default_factory=FrozenMap)


@dataclass(frozen=True, kw_only=True)
class PluginUse(_Record):
    """One plug-in as a trial uses it: ``name`` in the spec, plug-in file, version, parameters."""

    name: str
    plugin: str
    version: int
    params: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class DatasetUse(PluginUse):
    """A data set as a trial uses it. Paths in ``params`` do not enter ids, the fingerprint does."""

    fingerprint: str


# --- what is to be done ------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class TrainRecipe(_Record):
    """How a trial is trained; every field can change the weights, so every field enters its id."""

    steps: int
    batch: int
    lr: float
    decay: float  # share of the steps, at the end, over which the rate decays by a cosine
    clip: float  # gradient norm, for each parameter group apart
    precision: str  # fp32 | bf16
    threads: int  # CPU threads of the trial, set by the trial itself
    rate_ramp: float  # share of the steps over which the rate's weight rises …
    rate_start: float  # … from this to 1
    select_every: int  # steps between evaluations of val/rd_cost on the select split
    patience: int  # evaluations without improvement before training ends; 0: never
    crop: int  # side of the random training crop in pixels; 0: whole images
    flip: bool  # random horizontal flips
    scale: float  # codec scale, applied before the analysis transform


@dataclass(frozen=True, kw_only=True)
class Recipe(_Record):
    """All that makes the trained weights what they are, apart from kind, axes, seed and needs."""

    method: PluginUse
    tasks: tuple[PluginUse, ...]  # every task plug-in used, an auxiliary decoder's too
    datasets: tuple[DatasetUse, ...]
    train: TrainRecipe
    loop_version: int


@dataclass(frozen=True, kw_only=True)
class EvaluationSpec(_Record):
    """What is measured of a trained trial. ``metrics``: ``task/metric``; empty: the rate alone."""

    id: str
    dataset: DatasetUse
    split: str
    rate: str  # estimated | coded
    metrics: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Resources(_Record):
    """What one trial occupies while it runs."""

    cpu: float = 1.0
    gpu: float = 0.0


@dataclass(frozen=True, kw_only=True)
class TrialSpec(_Record):
    """One trial. ``id`` hashes all below it up to ``needs``, by content and not by name."""

    id: str
    kind: str
    method: str
    tasks: tuple[str, ...]  # (base,), (enhancement,) or (base, enhancement)
    datasets: tuple[str, ...]
    axes: Mapping[str, float]  # lambda_b, lambda_e, beta …
    seed: int
    variant: str  # "" or what sets trials of equal axes apart, such as "relative" for the β mode
    recipe: Recipe
    needs: tuple[str, ...]  # ids of the trials whose checkpoints it starts from
    evaluations: tuple[EvaluationSpec, ...]
    resources: Resources
    label: str


@dataclass(frozen=True, kw_only=True)
class Plan(_Record):
    """A study's trials in topological order: each after all that it needs."""

    study: str
    trials: tuple[TrialSpec, ...]

    def __iter__(self) -> Iterator[TrialSpec]:
        return iter(self.trials)

    def __len__(self) -> int:
        return len(self.trials)


@dataclass(frozen=True, kw_only=True)
class PairGrid(_Record):
    """One task pair with its grids, as a method expands it into trials."""

    base: str
    enhancement: str
    dataset: str
    lambda_b: tuple[float, ...]
    lambda_e: tuple[float, ...]
    beta: tuple[float, ...]
    beta_mode: str  # absolute | relative
    seeds: tuple[int, ...]
    enhance_at: tuple[float, ...] | None  # the λ_b whose bases get enhancements; None: all
    pairing: str  # product | zip (λ_e[i] belongs to λ_b[i])
    also: Mapping[
        str, Mapping[str, tuple[float, ...]]
    ]  # kind → axis → the values wanted (none: all)
    warm_start: str  # none | pretrain


@dataclass(frozen=True, kw_only=True)
class TrialDraft(_Record):
    """A trial as a method asks for it, before `plan` gives it a recipe and an id."""

    kind: str
    tasks: tuple[str, ...]
    uses: tuple[str, ...]  # task plug-ins whose models it builds
    dataset: str
    axes: Mapping[str, float]
    seed: int
    variant: str
    needs: tuple[TrialDraft, ...]


# --- what was measured -------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Rate(_Record):
    """Bits spent on a set of images. Streams: ``base.y``, ``base.z``, ``enhancement.y`` …"""

    bits_by_stream: Mapping[str, float]
    num_pixels: int  # of the ORIGINAL, unpadded images
    bpp_by_stream: Mapping[str, float]  # mean over images of each image's bits per pixel
    source: str  # coded | estimated

    @property
    def bpp(self) -> float:
        """Bits per pixel over all streams: the mean of the images' bits per pixel."""
        return sum(self.bpp_by_stream.values())


@dataclass(frozen=True, kw_only=True)
class Metric(_Record):
    """One value of one metric; ``name`` is ``task/metric``."""

    name: str
    value: float
    unit: str
    higher_is_better: bool


@dataclass(frozen=True, kw_only=True)
class ImageResult(_Record):
    """One image of an evaluation: its size, its bits and its per-image metrics."""

    key: str
    height: int
    width: int
    bits_by_stream: Mapping[str, float]
    metrics: Mapping[str, float]


@dataclass(frozen=True, kw_only=True)
class Training(_Record):
    """How a training went. ``rd_cost``: (step, value) on the select split, the picking rule's."""

    steps: int
    best_step: int
    best_rd_cost: float
    rd_cost: tuple[tuple[int, float], ...]
    last_terms: Mapping[str, float]  # last training loss terms
    num_parameters: Mapping[str, int]  # by part of the model
    checkpoint_sha256: str
    parents_sha256: Mapping[str, str]  # needed trial id → the checkpoint that was used


@dataclass(frozen=True, kw_only=True)
class Provenance(_Record):
    """Where a record comes from; never part of a comparison."""

    tcc_version: str
    git_revision: str
    packages: Mapping[str, str]
    machine: str
    device: str
    started_at: str  # ISO 8601, UTC
    study: str


@dataclass(frozen=True, kw_only=True)
class EvaluationRecord(_Record):
    """The result of one evaluation; ``rates`` by source."""

    schema: int
    trial: str
    evaluation: EvaluationSpec
    checkpoint_sha256: str
    rates: tuple[Rate, ...]
    metrics: tuple[Metric, ...]
    per_image: tuple[ImageResult, ...]
    timings: Mapping[str, float]  # seconds by phase
    provenance: Provenance


@dataclass(frozen=True, kw_only=True)
class TrialRecord(_Record):
    """A finished trial; ``evaluations`` are the records measured so far (each in its own file)."""

    schema: int
    trial: TrialSpec
    training: Training
    evaluations: tuple[EvaluationRecord, ...]
    timings: Mapping[str, float]  # seconds by phase: setup, train, select, evaluate, total
    provenance: Provenance


@dataclass(frozen=True, kw_only=True)
class FailureRecord(_Record):
    """A trial that could not finish."""

    schema: int
    trial: TrialSpec
    reason: str
    step: int | None
    term: str | None
    log: str  # path of its log


@dataclass(frozen=True, kw_only=True)
class Progress(_Record):
    """Where a running trial is; what the live table and `tcc status` show."""

    trial: str
    phase: str  # setup | train | evaluate
    step: int
    steps: int
    loss: float | None
    bpp: float | None
    elapsed_s: float
    eta_s: float | None


# --- what follows from it ----------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class RDPoint(_Record):
    """One point in the rate-metric plane and the way back to where it was measured."""

    trial: str
    base: str  # the trial of its base layer; "" where there is none
    evaluation: str
    kind: str
    label: str
    axes: Mapping[str, float]
    seed: int
    step: int  # of the checkpoint
    rate_bpp: float  # of this curve: total, or the enhancement's own; NaN: without codec (pixels)
    bpp_by_stream: Mapping[str, float]
    source: str  # coded | estimated
    value: float
    still_improving: bool


@dataclass(frozen=True, kw_only=True)
class CurveKey(_Record):
    """What all points of a curve share. ``family``: base, direct, direct_published, scalable,
    enhancement_only, standalone, single_layer, simulcast, uncompressed, pixels."""

    family: str
    method: str
    tasks: tuple[str, ...]
    dataset: str
    split: str
    source: str
    metric: str
    fixed: Mapping[str, float]  # axes that do not move along the curve: beta, lambda_b …
    variant: str
    seed: int
    trained_on: str = ""  # the training data set; `dataset` is the one measured on


@dataclass(frozen=True, kw_only=True)
class RDCurve(_Record):
    """RD points of one key, by rising rate."""

    key: CurveKey
    metric: MetricInfo
    points: tuple[RDPoint, ...]


@dataclass(frozen=True, kw_only=True)
class BDRate(_Record):
    """A verdict on two curves: percent more (+) or less (−) rate of `test` at equal metric.

    ``percent`` is by PCHIP and None when refused. ``interval``: of the mean over seeds, None
    below three. ``overlap``: intersection over union of the two metric ranges, 0 to 1.
    """

    anchor: str
    test: str
    metric: str
    percent: float | None
    method: str  # the interpolation of `percent`
    cross_checks: Mapping[str, float | None]  # akima, cubic
    overlap: float
    num_points: Mapping[str, int]  # anchor, test: after the reduction
    dropped: tuple[str, ...]
    interval: tuple[float, float] | None
    verdict: str  # ok | caution | refused
    reasons: tuple[str, ...]
