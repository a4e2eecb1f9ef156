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
