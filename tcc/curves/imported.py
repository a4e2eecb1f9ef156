"""Codecs from outside as anchors: RD files (VTM, BPG, JPEG …) as curves of a study's metrics."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from pathlib import Path

from tcc.curves.points import by_rate
from tcc.errors import DataError
from tcc.formats.rd import RDFile, parse_file, read_text
from tcc.records import CurveKey, MetricInfo, RDCurve, RDPoint

FAMILY = "imported"


def imported_curves(
    files: Iterable[tuple[str, str, str]], curves: Iterable[RDCurve]
) -> tuple[RDCurve, ...]:
    """One curve for each file and each metric of the study that it holds under a like name:
    ``psnr-rgb`` is ``reconstruction/psnr``. Its name is the key's variant. A file without any gives
    none: of a study that is not finished, its metric may be still to come. Points without a number
    are left out.

    Args:
        files: path, data set that it was measured on, and what was kept of it.
        curves: of the study.

    Raises:
        DataError: a file cannot be read, or has the name of another.
    """
    curves = tuple(curves)
    found: dict[CurveKey, RDCurve] = {}
    for path, dataset, kept in files:
        metrics = {c.metric.name: c.metric for c in curves if c.key.dataset == dataset}
        file = parse_file(path, read_text(Path(path), kept))
        for curve in _of_file(file, dataset, metrics.values()):
            if curve.key in found:
                raise DataError(
                    f"{path}: its codec is named {file.name!r}, as that of another file: give one "
                    'of them another "name" (JSON) or file name (CSV)'
                )
            found[curve.key] = curve
    return tuple(found.values())


def _of_file(file: RDFile, dataset: str, metrics: Iterable[MetricInfo]) -> Iterator[RDCurve]:
    for metric in metrics:
        task = metric.name.partition("/")[0]
        column = file.column_of(metric.name)
        if column is None:
            continue
        curve = file.curve(column)
        points = by_rate(
            RDPoint(
                trial="",
                base="",
                evaluation=Path(file.path).name,
                kind=FAMILY,
                label=curve.name,
                axes={},
                seed=0,
                step=0,
                rate_bpp=rate,
                bpp_by_stream={},
                source="coded",
                value=value,
                still_improving=False,
            )
            for rate, value in zip(curve.bpp, curve.values, strict=True)
            if math.isfinite(rate) and math.isfinite(value)  # an empty cell was not measured
        )
        key = CurveKey(
            family=FAMILY,
            method="",
            tasks=(task,),
            dataset=dataset,
            split="",
            source="coded",
            metric=metric.name,
            fixed={},
            variant=curve.name,
            seed=0,
        )
        if points:
            yield RDCurve(key=key, metric=metric, points=points)
