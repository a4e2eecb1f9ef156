"""The names a reader sees: of curves, axes, metrics and kinds."""

from __future__ import annotations

from collections.abc import Mapping

from tcc.records import CurveKey, MetricInfo

SYMBOLS = {"lambda_b": "λ_b", "lambda_e": "λ_e", "beta": "β", "quality": "quality", "k": "k"}
FAMILIES = {
    "base": "base",
    "direct": "direct",
    "direct_published": "direct, as published",
    "scalable": "scalable",
    "enhancement_only": "enhancement only",
    "standalone": "standalone",
    "single_layer": "single layer",
    "simulcast": "simulcast",
    "uncompressed": "uncompressed",
    "pixels": "original pixels",
}
_METRICS = {"psnr": "PSNR", "ms-ssim": "MS-SSIM", "rmse": "RMSE", "miou": "mIoU", "map": "mAP"}


def axis_name(axis: str) -> str:
    """``lambda_b`` → ``λ_b``."""
    return SYMBOLS.get(axis, axis)


def axes_text(axes: Mapping[str, float]) -> str:
    """``β = 0.1, λ_b = 0.3``."""
    order = [name for name in SYMBOLS if name in axes] + [n for n in axes if n not in SYMBOLS]
    return ", ".join(f"{axis_name(name)} = {axes[name]:g}" for name in order)


def pair_text(tasks: tuple[str, ...]) -> str:
    """``depth → reconstruction``."""
    return " → ".join(tasks)


def family_text(family: str) -> str:
    """``direct_published`` → ``direct, as published``."""
    return FAMILIES.get(family, family.replace("_", " "))


def curve_text(key: CurveKey) -> str:
    """Family and fixed axes of a curve; its seeds share it."""
    parts = [family_text(key.family), arm_text(key), at_text(key)]
    return ", ".join(part for part in parts if part)


def arm_text(key: CurveKey) -> str:
    """``β = 0.1``, with the variant that tells β modes apart; empty where β plays no part."""
    fixed = {name: value for name, value in key.fixed.items() if name != "lambda_b"}
    variant = f"({key.variant})" if key.variant else ""
    return " ".join(part for part in (axes_text(fixed), variant) if part)


def at_text(key: CurveKey) -> str:
    """``λ_b = 0.3`` where all points of the curve stand on one base."""
    return axes_text({name: value for name, value in key.fixed.items() if name == "lambda_b"})


def metric_text(name: str) -> str:
    """``reconstruction/psnr`` → ``PSNR``."""
    short = name.rpartition("/")[2]
    return _METRICS.get(short, short.replace("_", " "))


def metric_axis(metric: MetricInfo) -> str:
    """``PSNR (dB)``; says so where lower is better."""
    unit = f" ({metric.unit})" if metric.unit else ""
    return f"{metric_text(metric.name)}{unit}" + (
        "" if metric.higher_is_better else ", lower is better"
    )


def value_text(value: float, unit: str) -> str:
    """Four significant digits and the unit."""
    return f"{value:.4g} {unit}".strip()


def number(value: float, form: str = "g") -> str:
    """A number with a true minus sign."""
    return format(value, form).replace("-", "−")


def duration_text(seconds: float) -> str:
    """``41 s``, ``12 min 5 s``, ``3 h 7 min``: the two largest units."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    minutes, second = divmod(whole, 60)
    if minutes < 60:
        return f"{minutes} min {second} s" if second else f"{minutes} min"
    hours, minute = divmod(minutes, 60)
    return f"{hours} h {minute} min" if minute else f"{hours} h"


def bytes_text(count: int) -> str:
    """``512 bytes``, ``3.4 MB``: decimal units, as disks are sold."""
    if count < 1000:
        return f"{count} bytes"
    size = float(count)
    for unit in ("kB", "MB", "GB"):
        size /= 1000
        if size < 999.5:
            return f"{size:.3g} {unit}"
    return f"{size / 1000:.3g} TB"


def time_text(iso: str) -> str:
    """``2026-11-20T12:00:00.123+00:00`` → ``2026-11-20 12:00 UTC``."""
    return f"{iso[:10]} {iso[11:16]} UTC"


def count_text(number: int, noun: str) -> str:
    """``1 trial``, ``3 trials``."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
