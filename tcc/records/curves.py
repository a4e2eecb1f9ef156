"""What follows from results: RD points, curves and BD-rate verdicts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from tcc.records.frozen import FrozenMap, Record
from tcc.records.plugins import MetricInfo
from tcc.records.results import CodingGap, ImageResult


@dataclass(frozen=True, kw_only=True)
class RDPoint(Record):
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
    gap: CodingGap | None = None  # of the layers of its rate; None where no image was coded
    bits_by_stream: Mapping[str, float] = field(default_factory=FrozenMap)  # over all images
    per_image: Sequence[ImageResult] = field(default=(), repr=False, compare=False)
    base_images: Sequence[ImageResult] = field(default=(), repr=False, compare=False)
    # of simulcast: the images of the scalable point whose base is in its rate


@dataclass(frozen=True, kw_only=True)
class CurveKey(Record):
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
class RDCurve(Record):
    """RD points of one key, by rising rate."""

    key: CurveKey
    metric: MetricInfo
    points: tuple[RDPoint, ...]


@dataclass(frozen=True, kw_only=True)
class BDRate(Record):
    """A verdict on two curves: percent more (+) or less (−) rate of `test` at equal metric.

    ``percent`` is by PCHIP and None when refused. ``interval``: of the mean over seeds, None
    below three. ``overlap``: intersection over union of the two metric ranges, 0 to 1.
    ``metric_change``: BD-metric, the mean of test minus anchor over the log-rates that both have,
    in the metric's unit and with its own sign; None where they share none. ``rate_overlap``: the
    share of the log-rates that it is a mean over. ``image_interval``: of ``percent``, over the
    images that it was measured on; None where the metric is no mean over images.
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
    metric_change: float | None = None
    metric_interval: tuple[float, float] | None = None  # of `metric_change`, as `interval`
    rate_overlap: float = 0.0
    image_interval: tuple[float, float] | None = None
