"""What a reader is told of a drawn point, and the trials that it leads back to."""

from __future__ import annotations

from tcc.curves.points import rate_of
from tcc.curves.relative import RelativeRate
from tcc.curves.side_information import SideInformation
from tcc.records import CodingGap, CurveKey, MetricInfo, RDPoint
from tcc.report.words import (
    axes_text,
    family_text,
    metric_text,
    number,
    pair_text,
    value_text,
)


def trials_of(point: RDPoint) -> tuple[str, ...]:
    """The point's own trial, and that of its base where that is another."""
    return tuple(dict.fromkeys(id for id in (point.trial, point.base) if id))


def point_lines(key: CurveKey, metric: MetricInfo, point: RDPoint) -> tuple[str, ...]:
    """All that leads from a drawn point back to its trial, or to its file."""
    told = f"{metric_text(metric.name)} {value_text(point.value, metric.unit)}"
    if not point.trial:
        at = f"{told} at {point.rate_bpp:.4g} bpp"
        return f"{key.variant}, a codec from outside", at, f"of {point.evaluation}"
    layers = dict.fromkeys(stream.partition(".")[0] for stream in point.bpp_by_stream)
    split = (f"{_layer(name)} {rate_of(point.bpp_by_stream, name):.4g}" for name in layers)
    rate = f" at {point.rate_bpp:.4g} bpp, {point.source}" if layers else ""
    improving = ", still improving" if point.still_improving else ""
    lines = (
        f"{family_text(key.family)}, {pair_text(key.tasks)}",
        told + rate,
        " + ".join(split) + " bpp" if layers else "",
        _gap_text(point.gap),
        ", ".join(part for part in (axes_text(point.axes), f"seed {point.seed}") if part),
        f"{point.kind} trial {point.trial}, step {point.step}{improving}",
        f"base trial {point.base}" if point.base and point.base != point.trial else "",
    )
    return tuple(line for line in lines if line)


def gain_lines(gain: SideInformation) -> tuple[str, ...]:
    """What is told of a point of the side information's plot."""
    axes = axes_text({**gain.key.fixed, "lambda_e": gain.lambda_e})
    return (
        f"saves {gain.saved_percent:.3g} % of the enhancement's rate, "
        f"{gain.saved_percent_of_base:.3g} % of the base's",
        f"{gain.standalone_bpp:.4g} bpp without, {gain.enhancement_bpp:.4g} bpp with the base",
        f"{axes}, seed {gain.key.seed}",
        f"enhancement trial {gain.trial}",
        f"standalone trial {gain.standalone}",
    )


def _gap_text(gap: CodingGap | None) -> str:
    if gap is None:
        return ""
    return f"files of {gap.images} images are {number(gap.percent, '+.2f')} % off the estimate"


def _layer(name: str) -> str:
    return name.replace("_", " ")


def relative_lines_of(rate: RelativeRate) -> tuple[str, ...]:
    """What is told of a point of the relative rate's plot."""
    told = point_lines(rate.key, rate.metric, rate.point)
    baseline = f"{rate.anchor_bpp:.4g} bpp of the baseline"
    change = f"{number(rate.percent, '+.2f')} % against {baseline} at this metric"
    return (*told[:2], change, *told[2:])
