"""Intervals over images: paired, exact where they are known, absent where there is none."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tcc.curves import images as module
from tcc.curves.bdrate import verdict
from tcc.curves.comparisons import compare
from tcc.curves.images import MIN_IMAGES, image_intervals
from tcc.curves.points import curves_of
from tcc.records import CurveKey, ImageResult, MetricInfo, RDCurve, RDPoint

RATES = np.array([0.1, 0.2, 0.4, 0.8])
PSNR = np.array([28.0, 31.0, 33.5, 35.5])
COUNT = 24
RANDOM = np.random.default_rng(3)
EFFECTS = RANDOM.normal(0, 0.1, COUNT)  # of single images
PSNR_NAME = "reconstruction/psnr"


def spread(column, count=COUNT):
    """``(points, images)``: every image alike."""
    return np.repeat(np.asarray(column)[:, None], count, axis=1)


def make_curve(rates, values, *, beta=0.0, seed=0, lambda_b=1.0, lower=False, reported=None):
    """A scalable curve of ``(points, images)`` rates and values; images have sizes of their own."""
    points = []
    for index, (bpp, value) in enumerate(zip(rates, values, strict=True)):
        results = []
        for number, (rate, one) in enumerate(zip(bpp, value, strict=True)):
            height, width = 32 + 8 * number, 40
            bits = rate * height * width
            results.append(
                ImageResult(
                    key=f"{number:03}",
                    height=height,
                    width=width,
                    bits_by_stream={"base.y": bits / 4, "enhancement.y": 3 * bits / 4},
                    metrics={PSNR_NAME: float(one)},
                )
            )
        points.append(
            RDPoint(
                trial=f"{beta} {seed} {lambda_b} {index}",
                base="b",
                evaluation="e",
                kind="enhancement",
                label="",
                axes={"lambda_b": lambda_b, "beta": beta, "lambda_e": float(index)},
                seed=seed,
                step=0,
                rate_bpp=float(bpp.mean()),
                bpp_by_stream={"base.y": bpp.mean() / 4, "enhancement.y": 3 * bpp.mean() / 4},
                source="estimated",
                value=float(value.mean()) if reported is None else float(reported[index]),
                still_improving=False,
                per_image=tuple(results),
            )
        )
    key = CurveKey(
        family="scalable",
        method="ttcc",
        tasks=("depth", "reconstruction"),
        dataset="scenes",
        split="val",
        source="estimated",
        metric=PSNR_NAME,
        fixed={"beta": beta, "lambda_b": lambda_b},
        variant="",
        seed=seed,
    )
    metric = MetricInfo(name=PSNR_NAME, unit="dB", higher_is_better=not lower, per_image=True)
    return RDCurve(key=key, metric=metric, points=tuple(points))


def told(*curves):
    return list(image_intervals(compare(curves, anchor={"beta": 0.0})))


def interval(anchor, test, **options):
    (row,) = told(make_curve(*anchor, **options), make_curve(*test, beta=0.1, **options))
    ((_, result),) = row.per_seed
    assert row.summary.image_interval == result.image_interval
    return result.image_interval


def with_images(curve, change):
    points = (replace(point, per_image=tuple(change(point.per_image))) for point in curve.points)
    return replace(curve, points=tuple(points))


ANCHOR = spread(RATES), spread(PSNR)


def dearer(effects):
    """The anchor with each image's rates raised by a share: BD-rate is the shares' mean."""
    return ANCHOR[0] * (1 + effects), ANCHOR[1]


# --- what is known --------------------------------------------------------------------------------


def test_images_that_are_all_alike_leave_no_width():
    assert interval(ANCHOR, (spread(0.8 * RATES), spread(PSNR))) == pytest.approx((-20, -20))


def test_what_images_do_to_both_curves_alike_cancels():
    """Images differ tenfold in rate and by decibels: only an unpaired bootstrap would see it."""
    size, level = 10 ** RANDOM.uniform(0, 1, COUNT), RANDOM.normal(0, 3, COUNT)
    anchor = ANCHOR[0] * size, ANCHOR[1] + level
    assert interval(anchor, (0.9 * anchor[0], anchor[1])) == pytest.approx((-10, -10))
    shuffled = RANDOM.permutation(COUNT)
    low, high = interval(anchor, (0.9 * anchor[0][:, shuffled], anchor[1]))
    assert high - low > 20


def test_the_interval_of_a_mean_is_that_of_the_mean():
    """Where images differ in the ratio of their rates alone, BD-rate is the mean of a sample."""
    low, high = interval(ANCHOR, dearer(EFFECTS))
    half = 100 * 1.96 * EFFECTS.std() / COUNT**0.5
    assert (low + high) / 2 == pytest.approx(100 * EFFECTS.mean(), abs=0.15 * half)
    assert (high - low) / 2 == pytest.approx(half, rel=0.1)


def test_it_agrees_with_a_verdict_on_each_draw():
    noise = RANDOM.normal(0, 0.3, (4, 4, COUNT))
    anchor = ANCHOR[0] * np.exp(noise[0]), ANCHOR[1] + 3 * noise[1]
    test = 0.9 * ANCHOR[0] * np.exp(noise[2]), ANCHOR[1] + 3 * noise[3]
    draws = module._draws(COUNT)
    assert draws.sum(axis=0) == pytest.approx(np.ones(module.RESAMPLES))
    percents = []
    for draw in draws.T:
        columns = [column @ draw for column in (*anchor, *test)]
        percents.append(verdict(*columns, metric="m", higher_is_better=True).percent)
    expected = np.quantile([it for it in percents if it is not None], [0.025, 0.975])
    assert interval(anchor, test) == pytest.approx(tuple(expected), abs=1e-9)


def test_lower_is_better_gives_the_same_interval():
    noisy = dearer(EFFECTS)[0], ANCHOR[1] + RANDOM.normal(0, 0.2, ANCHOR[1].shape)
    higher = interval(ANCHOR, noisy)
    lower = interval((ANCHOR[0], -ANCHOR[1]), (noisy[0], -noisy[1]), lower=True)
    assert lower == higher
    assert lower[0] < lower[1]


def test_the_order_of_the_images_changes_nothing():
    anchor, test = make_curve(*ANCHOR), make_curve(*dearer(EFFECTS), beta=0.1)
    (straight,) = told(anchor, test)
    (turned,) = told(with_images(anchor, reversed), with_images(test, lambda it: it[5:] + it[:5]))
    assert turned == straight
    assert straight.summary.image_interval is not None


# --- several seeds and bases ----------------------------------------------------------------------


def test_the_mean_over_seeds_is_of_one_draw_of_images_for_all():
    curves = [make_curve(*ANCHOR, seed=seed) for seed in (0, 1)]
    curves += [make_curve(*dearer(s * EFFECTS), beta=0.1, seed=i) for i, s in enumerate((1, -1))]
    (row,) = told(*curves)
    for _, result in row.per_seed:
        assert result.image_interval[1] - result.image_interval[0] > 5
    assert row.summary.image_interval == pytest.approx((0, 0), abs=1e-9)
    assert row.summary.interval is None  # two seeds are too few for the one over seeds


def test_the_mean_over_bases_is_of_one_draw_of_images_for_all():
    curves = []
    for lambda_b, sign in ((0.3, 1), (1.0, -1)):
        curves.append(make_curve(*ANCHOR, lambda_b=lambda_b))
        curves.append(make_curve(*dearer(sign * EFFECTS), beta=0.1, lambda_b=lambda_b))
    *rows, mean = told(*curves)
    assert mean.over == (0.3, 1.0)
    assert all(row.summary.image_interval[1] > 1 for row in rows)
    assert mean.summary.image_interval == pytest.approx((0, 0), abs=1e-9)
    assert mean.per_seed[0][1].image_interval == mean.summary.image_interval


def test_a_refused_seed_is_left_out_as_it_is_of_the_mean():
    curves = [make_curve(*ANCHOR, seed=seed) for seed in (0, 1)]
    curves.append(make_curve(*dearer(EFFECTS), beta=0.1))
    curves.append(make_curve(ANCHOR[0], ANCHOR[1] + 50, beta=0.1, seed=1))
    (row,) = told(*curves)
    assert row.per_seed[1][1].image_interval is None
    assert row.summary.image_interval == row.per_seed[0][1].image_interval is not None


def test_seeds_that_saw_different_images_have_no_interval_of_their_mean():
    def renamed(images):
        return [replace(image, key=f"other {image.key}") for image in images]

    curves = [make_curve(*ANCHOR), make_curve(*dearer(EFFECTS), beta=0.1)]
    other = [replace(curve, key=replace(curve.key, seed=1)) for curve in curves]
    (row,) = told(*curves, *(with_images(curve, renamed) for curve in other))
    assert None not in [result.image_interval for _, result in row.per_seed]
    assert row.summary.image_interval is None


# --- where there is none --------------------------------------------------------------------------


def test_a_metric_of_all_images_together_has_none():
    values = ANCHOR[1] + RANDOM.normal(0, 2, ANCHOR[1].shape)
    assert interval((ANCHOR[0], values), (2 * ANCHOR[0], values)) is not None
    pooled = np.sqrt((values**2).mean(axis=1))
    assert interval((ANCHOR[0], values), (2 * ANCHOR[0], values), reported=pooled) is None


@pytest.mark.parametrize(
    "change",
    [
        lambda images: images[1:],
        lambda images: [replace(images[0], key="other"), *images[1:]],
        lambda images: [replace(images[0], key=images[1].key), *images[1:]],
        lambda images: [replace(images[0], metrics={}), *images[1:]],
        lambda images: (),
    ],
    ids=["one fewer", "another one", "one twice", "one without the metric", "none"],
)
def test_curves_of_different_images_have_none(change):
    anchor, test = make_curve(*ANCHOR), make_curve(*dearer(EFFECTS), beta=0.1)
    for pair in ((anchor, with_images(test, change)), (with_images(anchor, change), test)):
        (row,) = told(*pair)
        assert row.summary.percent is not None
        assert row.summary.image_interval is None
    one = replace(test.points[0], per_image=tuple(change(test.points[0].per_image)))
    (row,) = told(anchor, replace(test, points=(one, *test.points[1:])))
    assert row.summary.image_interval is None


def test_few_images_have_none():
    for count in (MIN_IMAGES - 1, MIN_IMAGES):
        found = interval(
            (spread(RATES, count), spread(PSNR, count)),
            (spread(RATES, count) * (1 + EFFECTS[:count]), spread(PSNR, count)),
        )
        assert (found is None) == (count < MIN_IMAGES)


def test_where_many_draws_would_be_refused_there_is_none():
    """The curves share metric values in the mean of one image alone."""
    lone = np.zeros(COUNT)
    lone[7] = 1.0
    test = ANCHOR[0], ANCHOR[1] + 10 - 24 * 5 * lone
    (row,) = told(make_curve(*ANCHOR), make_curve(*test, beta=0.1))
    assert row.summary.percent is not None
    assert row.summary.image_interval is None


# --- from records ---------------------------------------------------------------------------------


def in_images(evaluation, *, scale=1.0):
    """An evaluation whose images differ in rate and PSNR, and agree with what it reports."""
    (streams, *_) = [rate.bpp_by_stream for rate in evaluation.rates] or [{}]
    wide = 1 + EFFECTS - EFFECTS.mean()
    results = tuple(
        ImageResult(
            key=str(number),
            height=32,
            width=32,
            bits_by_stream={s: bpp * 1024 * factor * scale for s, bpp in streams.items()},
            metrics={
                metric.name: metric.value + 5 * (factor - 1)
                for metric in evaluation.metrics
                if metric.name == PSNR_NAME
            },
        )
        for number, factor in enumerate(wide)
    )
    return replace(evaluation, per_image=results)


def test_every_rate_that_is_compared_has_one(study):
    """Total, second layer alone, standalone, single layer and simulcast."""
    records = [
        replace(record, evaluations=tuple(map(in_images, record.evaluations)))
        for record in study(0, 1, 2)
    ]
    rows = list(image_intervals(compare(curves_of(records, {}), anchor={"beta": 0.0})))
    seen = set()
    for row in rows:
        if row.metric.name == PSNR_NAME and row.summary.percent is not None:
            seen.add((row.test.family, row.reference, bool(row.over)))
            low, high = row.summary.image_interval
            assert low - 1e-9 <= row.summary.percent <= high + 1e-9
        elif row.metric.name != PSNR_NAME:
            assert row.summary.image_interval is None
    of_scalable = {("scalable", "baseline"), ("enhancement_only", "baseline")}
    of_scalable |= {("scalable", it) for it in ("standalone", "single_layer", "simulcast")}
    of_scalable |= {("enhancement_only", it) for it in ("standalone", "simulcast")}
    assert seen >= {(*it, over) for it in of_scalable for over in (False, True)}


def test_the_bits_are_of_the_source_of_the_curve(study):
    """Images tell one of two rates: a curve of the other has no interval."""
    records = []
    for record in study(0):
        (evaluation,) = record.evaluations
        estimated = evaluation.rates
        coded = tuple(
            replace(
                rate,
                source="coded",
                bpp_by_stream={s: 1.02 * bpp for s, bpp in rate.bpp_by_stream.items()},
            )
            for rate in estimated
        )
        both = replace(in_images(evaluation, scale=1.02), rates=coded + estimated)
        records.append(replace(record, evaluations=(both,)))
    rows = list(image_intervals(compare(curves_of(records, {}), anchor={"beta": 0.0})))
    for source in ("coded", "estimated"):
        found = [
            row.summary.image_interval is not None
            for row in rows
            if row.test.source == source
            and row.metric.name == PSNR_NAME
            and row.summary.percent is not None
        ]
        assert found
        assert set(found) == {source == "coded"}
