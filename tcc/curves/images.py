"""The 95 % intervals of BD-rates over the images that they were measured on.

The images are drawn with replacement, the same ones for all curves, seeds and bases of a
comparison; every point's rate and metric is averaged over them anew, and the BD-rate of the curves
that come of it is one draw. So the interval says what other images might have given, of the same
trained weights; the one over seeds says what other weights might have given.

There is none where a point's rate or metric is no plain mean over its images (mAP, mIoU and depth's
RMSE are of all images together), where the points are not of one set of images or of fewer than
``MIN_IMAGES``, and where more than ``MAX_UNDEFINED`` of the draws have no BD-rate.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import groupby
from typing import Any, Protocol, runtime_checkable

import numpy as np
from threadpoolctl import threadpool_limits

from tcc.curves.comparisons import OWN_STANDALONE, Comparison, without_base
from tcc.curves.resampling import Array, ResampledCurve, resampled_bd_rates, resampled_curve
from tcc.curves.seeds import Interval, percentile_interval
from tcc.records import BDRate, CurveKey, ImageResult, RDCurve, RDPoint

MIN_IMAGES = 5
RESAMPLES = 1000
MAX_UNDEFINED = 0.05  # share of the draws
_SECOND_LAYER = ("enhancement_only", OWN_STANDALONE)  # families whose rate is of that layer alone
_ROUNDING = 1e-9  # relative: so near to what was reported is a mean over images
_CURVES = 256  # resampled ones that are kept; one of five points takes about 0.2 MB

Keys = tuple[str, ...]


def image_intervals(comparisons: Iterable[Comparison]) -> tuple[Comparison, ...]:
    """The comparisons with the interval over images in each verdict that has one.

    Args:
        comparisons: of `comparisons.compare`, in its order: a mean follows the rows of its bases.
    """
    with threadpool_limits(1, user_api="blas"):  # small products, in which threads only wait
        return tuple(_with_intervals(comparisons))


def _with_intervals(comparisons: Iterable[Comparison]) -> Iterator[Comparison]:
    bootstrap = _Bootstrap()
    for _, rows in groupby(comparisons, lambda row: (row.reference, without_base(row.test))):
        of_bases: list[Mapping[int, _Drawn]] = []
        for row in rows:
            drawn = _over_bases(of_bases) if row.over else bootstrap.drawn(row)
            of_bases.append(drawn)
            yield _told(row, drawn)


@dataclass(frozen=True, kw_only=True)
class _Drawn:
    """The BD-rates of a verdict in all draws of some images. ``percents``: None where the verdict
    has none over images; NaN in a draw that would be refused."""

    refused: bool
    images: Keys = ()
    percents: Array | None = None

    @property
    def interval(self) -> Interval | None:
        if self.percents is None:
            return None
        defined = self.percents[np.isfinite(self.percents)]
        enough = len(defined) >= (1 - MAX_UNDEFINED) * RESAMPLES
        return percentile_interval(defined) if enough else None


def _over_bases(of_bases: Sequence[Mapping[int, _Drawn]]) -> Mapping[int, _Drawn]:
    """Each seed's mean over its bases."""
    seeds = sorted({seed for drawn in of_bases for seed in drawn})
    return {seed: _mean(drawn[seed] for drawn in of_bases if seed in drawn) for seed in seeds}


def _mean(parts: Iterable[_Drawn]) -> _Drawn:
    """Of the parts that are not refused, as `seeds.average`, draw by draw."""
    used = [part for part in parts if not part.refused]
    percents = [part.percents for part in used if part.percents is not None]
    if not used or len(percents) < len(used) or len({part.images for part in used}) > 1:
        return _Drawn(refused=not used)
    return _Drawn(refused=False, images=used[0].images, percents=np.mean(percents, axis=0))


class _Bootstrap:
    """Draws images for curves, once for all that a curve is compared with."""

    def __init__(self) -> None:
        self._curves: dict[CurveKey, tuple[Keys, ResampledCurve] | None] = {}
        self._tables: dict[int, _Table] = {}  # by the identity of what the points hold

    def drawn(self, row: Comparison) -> Mapping[int, _Drawn]:
        """Each seed's verdict in every draw."""
        return {seed: self._drawn(result, *row.pairs[seed]) for seed, result in row.per_seed}

    def _drawn(self, result: BDRate, *pair: RDCurve) -> _Drawn:
        if result.percent is None:
            return _Drawn(refused=True)
        anchor, test = map(self._resampled, pair)
        if anchor is None or test is None or anchor[0] != test[0]:
            return _Drawn(refused=False)
        percents = resampled_bd_rates(anchor[1], test[1])
        return _Drawn(refused=False, images=test[0], percents=percents)

    def _resampled(self, curve: RDCurve) -> tuple[Keys, ResampledCurve] | None:
        """A curve in every draw of its images; None where it is no mean over them."""
        known = curve.key in self._curves
        found = self._curves.pop(curve.key) if known else self._resample(curve)
        self._curves[curve.key] = found  # at the end; what was not asked for longest comes first
        if len(self._curves) > _CURVES:
            del self._curves[next(iter(self._curves))]
        return found

    def _resample(self, curve: RDCurve) -> tuple[Keys, ResampledCurve] | None:
        images = self._table(curve.points[0].per_image).images
        rates, values = [], []
        for point in curve.points:
            table = self._table(point.per_image)
            value, rate = table.metric(curve.key.metric), self._rate(curve.key, point)
            if value is None or rate is None or table.images != images:
                return None
            rates.append(rate)
            values.append(value)
        columns = np.array(rates + values)
        reported = [p.rate_bpp for p in curve.points] + [p.value for p in curve.points]
        if not (abs(columns.mean(axis=1) - reported) <= _ROUNDING * np.abs(reported)).all():
            return None
        rates, scores = np.split(columns @ _draws(len(images)), 2)
        sign = 1.0 if curve.metric.higher_is_better else -1.0
        return images, resampled_curve(rates, sign * scores)

    def _rate(self, key: CurveKey, point: RDPoint) -> Array | None:
        """Each image's bits per pixel, as the curve counts them."""
        table = self._table(point.per_image)
        own = table.bpp("enhancement" if key.family in _SECOND_LAYER else "")
        if not point.base_images:
            return own
        base = self._table(point.base_images)
        return own + base.bpp("base") if base.images == table.images else None

    def _table(self, results: Sequence[ImageResult]) -> _Table:
        if id(results) not in self._tables:
            self._tables[id(results)] = _Table(results)
        return self._tables[id(results)]


@runtime_checkable
class _Stored(Protocol):
    """Image results that are still to be decoded."""

    def plain(self) -> Sequence[Any]: ...


class _Table:
    """The results of one evaluation as columns, by the keys of its images."""

    def __init__(self, results: Sequence[ImageResult]):
        self.results = results  # as long as they live, no others have their identity
        rows = results.plain() if isinstance(results, _Stored) else results
        rows = sorted(rows, key=lambda row: row.key)
        self.images = tuple(row.key for row in rows)
        pixels = np.array([row.height * row.width for row in rows])
        streams = {stream for row in rows for stream in row.bits_by_stream}
        self._bpp = {
            stream: np.array([row.bits_by_stream.get(stream, 0.0) for row in rows]) / pixels
            for stream in sorted(streams)
        }
        names = set.intersection(*(set(row.metrics) for row in rows)) if rows else set()
        usable = len({*self.images}) == len(rows) >= MIN_IMAGES
        self._metrics = {
            name: np.array([row.metrics[name] for row in rows]) for name in names if usable
        }

    def bpp(self, layer: str) -> Array:
        """Bits per pixel of a layer's streams; of all, without one."""
        found = (x for name, x in self._bpp.items() if layer in ("", name.partition(".")[0]))
        return sum(found, np.zeros(len(self.images)))

    def metric(self, name: str) -> Array | None:
        """A metric; None unless there are enough images, one of each key, and all have it."""
        return self._metrics.get(name)


def _told(row: Comparison, drawn: Mapping[int, _Drawn]) -> Comparison:
    return replace(
        row,
        per_seed=tuple((seed, _with_interval(it, drawn[seed])) for seed, it in row.per_seed),
        summary=_with_interval(row.summary, _mean(drawn.values())),
    )


def _with_interval(result: BDRate, drawn: _Drawn) -> BDRate:
    interval = drawn.interval
    return result if interval is None else replace(result, image_interval=interval)


@lru_cache(1)
def _draws(images: int) -> Array:
    """The share of each image in each draw, ``(images, RESAMPLES)``: the same on every call."""
    random = np.random.default_rng(0)
    drawn = (random.integers(images, size=images) for _ in range(RESAMPLES))
    counts = np.stack([np.bincount(picks, minlength=images) for picks in drawn], axis=1)
    return counts / images
