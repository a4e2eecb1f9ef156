"""Codecs from outside as anchors: RD files (VTM, BPG, JPEG …) as curves of a study's metrics."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from tcc.curves.points import by_rate
from tcc.curves.reading import RDFile, read_file, same_metric
from tcc.errors import DataError
from tcc.records import CurveKey, MetricInfo, RDCurve, RDPoint

FAMILY = "imported"


def imported_curves(
    files: Iterable[tuple[str, str]], curves: Iterable[RDCurve]
) -> tuple[RDCurve, ...]:
    """One curve for each file and each metric of the study that it holds under a like name:
    ``psnr-rgb`` is ``reconstruction/psnr``. Its name is the key's variant.

    Args:
        files: path and data set that it was measured on.
        curves: of the study.

    Raises:
        DataError: a file cannot be read, or holds no metric that was measured on its data set.
    """
    curves = tuple(curves)
    found: list[RDCurve] = []
    for path, dataset in files:
        metrics = {c.metric.name: c.metric for c in curves if c.key.dataset == dataset}
        file = read_file(path)
        here = [*_of_file(file, dataset, metrics.values())]
        if metrics and not here:
            raise DataError(
                f"{path}: holds {', '.join(file.metrics) or 'no metric'}, and on {dataset!r} there "
                f"is measured {', '.join(metrics)}; take it out of report.anchors, or name a "
                "column as one of these"
            )
        found += here
    return tuple(found)


def _of_file(file: RDFile, dataset: str, metrics: Iterable[MetricInfo]) -> Iterator[RDCurve]:
    for metric in metrics:
        task, _, short = metric.name.partition("/")
        names = [name for name in file.metrics if same_metric(name, short)]
        if not names:
            continue
        curve = file.curve(names[0])
        points = (
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
        yield RDCurve(key=key, metric=metric, points=by_rate(points))
