"""The grid of one pair: the study's, with the pair's own keys in place of it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

from tcc.records import PairGrid
from tcc.spec.schema import Grid, Pair, SweepSpec


def merged(spec: SweepSpec, pair: Pair) -> Grid:
    """The study's grid with the keys that the pair sets replaced."""
    own = {name: getattr(pair.grid, name) for name in pair.grid.model_fields_set}
    return spec.grid.model_copy(update=own)


def of_task(
    values: tuple[float, ...] | Mapping[str, tuple[float, ...]] | None, task: str
) -> tuple[float, ...]:
    """The λ of one task; empty where the grid has none for it."""
    return tuple(values.get(task, ())) if isinstance(values, Mapping) else values or ()


def enhanced(grid: Grid, base: str) -> tuple[float, ...]:
    """The λ_b of the bases that get enhancements; empty where all do."""
    return () if grid.enhance_at is None else of_task(grid.enhance_at.lambda_b, base)


def close(value: float, other: float) -> bool:
    """Whether two values are one: a log-spaced value that is typed again is rounded."""
    return math.isclose(value, other, rel_tol=1e-5)


def snapped(wanted: Iterable[float], values: Iterable[float]) -> tuple[float, ...]:
    """What is wanted, each as it stands in the grid where it is there."""
    values = tuple(values)
    return tuple(
        next((value for value in values if close(value, number)), number) for number in wanted
    )


def pair_grid(spec: SweepSpec, pair: Pair) -> PairGrid:
    """A pair as a method expands it."""
    assert pair.dataset is not None, "only a checked spec has grids"
    grid = merged(spec, pair)
    lambda_b, lambda_e = of_task(grid.lambda_b, pair.base), of_task(grid.lambda_e, pair.enhancement)
    axes = {"lambda_b": lambda_b, "lambda_e": lambda_e, "beta": grid.beta}
    return PairGrid(
        base=pair.base,
        enhancement=pair.enhancement,
        dataset=pair.dataset,
        lambda_b=lambda_b,
        lambda_e=lambda_e,
        beta=grid.beta,
        beta_mode=grid.beta_mode,
        seeds=grid.seed,
        enhance_at=snapped(enhanced(grid, pair.base), lambda_b) or None,
        pairing=grid.pairing,
        also={
            also.kind: {axis: snapped(wanted, axes[axis]) for axis, wanted in also.only.items()}
            for also in spec.also
        },
        warm_start=spec.train.warm_start,
    )
