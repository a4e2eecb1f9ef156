"""The numbers of a report as flat rows: points.csv, bd_rates.csv and their JSON."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from tcc.curves.comparisons import Comparison
from tcc.curves.files import bdrate_json
from tcc.curves.points import rate_of
from tcc.curves.side_information import Saving
from tcc.records import BDRate, CurveKey, RDCurve, RDPoint
from tcc.report.words import arm_text, at_text, family_text, pair_text

Row = dict[str, Any]

POINT_COLUMNS = (
    "study",
    "family",
    "method",
    "pair",
    "trained_on",
    "dataset",
    "split",
    "source",
    "metric",
    "value",
    "rate_bpp",
    "base_bpp",
    "enhancement_bpp",
    "lambda_b",
    "lambda_e",
    "beta",
    "variant",
    "seed",
    "trial",
    "base_trial",
    "evaluation",
    "step",
    "still_improving",
    "coded_images",
    "coding_gap_percent",
)


def point_rows(study: str, curves: Iterable[Row]) -> Iterator[Row]:
    """One row for each point of each curve of `curve_rows`."""
    for curve in curves:
        for point in curve["points"]:
            yield {"study": study, **curve, **point}


def _key_cells(study: str, key: CurveKey) -> Row:
    return {
        "study": study,
        "family": key.family,
        "method": key.method,
        "pair": pair_text(key.tasks),
        "trained_on": key.trained_on,
        "dataset": key.dataset,
        "split": key.split,
        "source": key.source,
        "metric": key.metric,
        "variant": key.variant,
    }


def _point_cells(point: RDPoint) -> Row:
    layers = {stream.partition(".")[0] for stream in point.bpp_by_stream}
    rates = {layer: rate_of(point.bpp_by_stream, layer) for layer in layers}
    return {
        "value": point.value,
        "rate_bpp": point.rate_bpp if math.isfinite(point.rate_bpp) else None,
        "base_bpp": rates.get("base"),
        "enhancement_bpp": rates.get("enhancement"),
        **{axis: point.axes.get(axis) for axis in ("lambda_b", "lambda_e", "beta")},
        "source": point.source,
        "seed": point.seed,
        "trial": point.trial,
        "base_trial": point.base,
        "evaluation": point.evaluation,
        "step": point.step,
        "still_improving": point.still_improving,
        "coded_images": point.gap.images if point.gap else 0,
        "coding_gap_percent": point.gap.percent if point.gap else None,
    }


MPEG_COLUMNS = ("dataset", "point", "bitrate", "accuracy", "metric", "curve", "seed", "trial")


def mpeg_rows(curves: Iterable[RDCurve]) -> Iterator[Row]:
    """The points of each curve as MPEG's test conditions list them: counted by rising ``bitrate``,
    in bits per pixel. A level has no rate."""
    for curve in curves:
        key = curve.key
        parts = (family_text(key.family), pair_text(key.tasks), arm_text(key), at_text(key))
        shared = {
            "dataset": key.dataset,
            "metric": key.metric,
            "curve": ", ".join(part for part in (*parts, key.split, key.source) if part),
            "seed": key.seed,
        }
        for number, point in enumerate(curve.points):
            bitrate = point.rate_bpp if math.isfinite(point.rate_bpp) else None
            yield {
                **shared,
                "point": number,
                "bitrate": bitrate,
                "accuracy": point.value,
                "trial": point.trial,
            }


def bd_rate_rows(study: str, comparisons: Iterable[Comparison]) -> Iterator[Row]:
    """One row for each comparison and seed, then one for its mean over seeds (``seed`` None)."""
    for comparison in comparisons:
        for seed, result in comparison.per_seed:
            yield {**_comparison_cells(study, comparison), "seed": seed, **_verdict_cells(result)}
        yield {
            **_comparison_cells(study, comparison),
            "seed": None,
            **_verdict_cells(comparison.summary),
            "bootstrap": None if comparison.bootstrap is None else list(comparison.bootstrap),
            "deltas": [
                {
                    "axes": dict(delta.axes),
                    "seeds": list(delta.seeds),
                    "rate_percent": list(delta.rate_percent),
                    "value": list(delta.value),
                }
                for delta in comparison.deltas
            ],
        }


def _verdict_cells(result: BDRate) -> Row:
    ends = result.image_interval
    return {**bdrate_json(result), "image_interval": None if ends is None else list(ends)}


def _comparison_cells(study: str, comparison: Comparison) -> Row:
    key, result = comparison.test, comparison.summary
    return {
        **_key_cells(study, key),
        "reference": comparison.reference,
        "rate": comparison.rate,
        "anchor": result.anchor,
        "test": result.test,
        "lambda_b": key.fixed.get("lambda_b"),
        "over_lambda_b": list(comparison.over),
        "beta": key.fixed.get("beta"),
    }


BD_RATE_COLUMNS = (
    "study",
    "reference",
    "rate",
    "family",
    "method",
    "pair",
    "trained_on",
    "dataset",
    "split",
    "source",
    "metric",
    "anchor",
    "test",
    "lambda_b",
    "over_lambda_b",
    "beta",
    "variant",
    "seed",
    "bd_rate_percent",
    "akima",
    "cubic",
    "overlap",
    "anchor_points",
    "test_points",
    "interval_low",
    "interval_high",
    "bootstrap_low",
    "bootstrap_high",
    "image_low",
    "image_high",
    "bd_metric",
    "bd_metric_low",
    "bd_metric_high",
    "rate_overlap",
    "verdict",
    "reasons",
    "dropped",
)


SAVING_COLUMNS = (
    "study",
    "method",
    "pair",
    "trained_on",
    "dataset",
    "split",
    "source",
    "variant",
    "beta",
    "lambda_b",
    "seeds",
    "gains",
    "saved_bits",
    "saved_bpp",
    "saved_bpp_low",
    "saved_bpp_high",
    "saved_percent",
    "saved_percent_low",
    "saved_percent_high",
    "saved_percent_of_base",
    "saved_percent_of_base_low",
    "saved_percent_of_base_high",
)


def saving_rows(study: str, savings: Iterable[Saving]) -> Iterator[Row]:
    """What the base saves the enhancement: bits of all images, bits per pixel, percent of the rate
    without side information and of the base's; ``lambda_b`` None: over all bases."""
    for it in savings:
        row = {**_key_cells(study, it.key), "seeds": it.seeds, "gains": it.gains}
        row |= {axis: it.key.fixed.get(axis) for axis in ("beta", "lambda_b")}
        row |= {"saved_bits": it.bits}
        for name, value, interval in (
            ("bpp", it.bpp, it.bpp_interval),
            ("percent", it.percent, it.percent_interval),
            ("percent_of_base", it.percent_of_base, it.percent_of_base_interval),
        ):
            low, high = interval or (None, None)
            row |= {f"saved_{name}": value, f"saved_{name}_low": low, f"saved_{name}_high": high}
        yield {name: row[name] for name in SAVING_COLUMNS}


def flat(row: Row) -> Row:
    """A BD-rate row for CSV: one number a cell, lists as text."""
    ends = ("interval", "bootstrap", "image_interval", "bd_metric_interval")
    interval, bootstrap, image, metric = (row.get(name) or (None, None) for name in ends)
    return {
        **row,
        **row["cross_checks"],
        "seed": "mean" if row["seed"] is None else row["seed"],
        "over_lambda_b": " ".join(f"{value:g}" for value in row["over_lambda_b"]),
        "anchor_points": row["points"]["anchor"],
        "test_points": row["points"]["test"],
        "interval_low": interval[0],
        "interval_high": interval[1],
        "bootstrap_low": bootstrap[0],
        "bootstrap_high": bootstrap[1],
        "image_low": image[0],
        "image_high": image[1],
        "bd_metric_low": metric[0],
        "bd_metric_high": metric[1],
        "reasons": "; ".join(row["reasons"]),
        "dropped": "; ".join(row["dropped"]),
    }


_TRUTH = {True: "true", False: "false"}


def csv_text(columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> str:
    """CSV with a header; floats in their shortest exact form, None as an empty cell."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(
        [_TRUTH[cell] if cell is True or cell is False else cell for cell in map(row.get, columns)]
        for row in rows
    )
    return out.getvalue()


def curve_rows(curves: Iterable[RDCurve]) -> Iterator[Row]:
    """One entry a curve, with its points by rising rate; a rate that does not exist is None."""
    for curve in curves:
        yield {
            **{name: value for name, value in _key_cells("", curve.key).items() if name != "study"},
            "fixed": dict(curve.key.fixed),
            "seed": curve.key.seed,
            "unit": curve.metric.unit,
            "higher_is_better": curve.metric.higher_is_better,
            "points": [_point_cells(point) for point in curve.points],
        }
