"""The shapes of `scenes`: outlines as signed distances and one simple texture each.

Coordinates u (right) and v (down) run from −1 to 1 across a shape. Textures are low-frequency on
purpose: a small network learns them in minutes, fine stripes it does not.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Plane = NDArray[np.float32]


class Shape(NamedTuple):
    """``distance``: negative inside, in units of the shape's radius. ``texture``: 0 to 1, how much
    of the shape's light colour, against its dark one."""

    distance: Callable[[Plane, Plane], Plane]
    texture: Callable[[Plane, Plane], Plane]


def _disc(u: Plane, v: Plane) -> Plane:
    return np.hypot(u, v) - 0.95


def _square(u: Plane, v: Plane) -> Plane:
    return np.maximum(np.abs(u), np.abs(v)) - 0.86


def _triangle(u: Plane, v: Plane) -> Plane:
    slanted = (1.85 * np.abs(u) - 0.95 * (v + 1)) / np.hypot(1.85, 0.95)
    return np.maximum(slanted, v - 0.85)


def _cross(u: Plane, v: Plane) -> Plane:
    u, v = np.abs(u), np.abs(v)
    return np.minimum(np.maximum(u - 0.95, v - 0.34), np.maximum(u - 0.34, v - 0.95))


def _ring(u: Plane, v: Plane) -> Plane:
    return np.abs(np.hypot(u, v) - 0.66) - 0.29


def _diamond(u: Plane, v: Plane) -> Plane:
    return (np.abs(u) + np.abs(v) - 0.98) / np.sqrt(np.float32(2))


SHAPES = {
    "disc": Shape(_disc, lambda u, v: 1.15 - 0.85 * np.hypot(u + 0.35, v + 0.4)),  # a lit ball
    "square": Shape(_square, lambda u, v: 0.5 - 4 * u),  # two halves
    "triangle": Shape(_triangle, lambda u, v: 0.45 - 0.65 * v),  # lighter to the top
    "cross": Shape(_cross, lambda u, v: 0 * u + 0.75),  # plain
    "ring": Shape(_ring, lambda u, v: 0.5 + 0.6 * u),  # lit from the right
    "diamond": Shape(_diamond, lambda u, v: 1.3 - 2.2 * (np.abs(u) + np.abs(v))),  # light core
}
