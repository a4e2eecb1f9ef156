"""Draws one scene of `scenes` with its labels, from a seed alone. Free of torch.

A camera looks over a ground plane. Disparity grows linearly from the horizon to the bottom row, as
it does on a real ground plane; above the horizon all is far. An object stands where the ground has
its disparity, so its size, its foot, the haze over it and what it hides all tell how near it is.
"""

from __future__ import annotations

import colorsys
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from PIL import Image

from tcc.datasets.scenes import SHAPE_NAMES
from tcc.datasets.scenes._shapes import SHAPES, Plane

FAR_PX, NEAR_PX = 8.0, 110.0  # disparity at the horizon and at the bottom row
OBJECT_PX = (32.0, 102.0)  # disparities of objects
OBJECT_SIZE = 0.56  # side of the nearest objects, as a share of the image's short side
HAZE_PX = 16.0  # disparity at which haze leaves 1/e of an object's own colour
MIN_VISIBLE = 0.45  # share of an object that must not be hidden
_HIDING_STEP_PX = 26.0  # disparity step that hides one column from the second camera


class VisibleObject(NamedTuple):
    """An object as seen; ``label`` from 1, ``mask`` without what nearer objects hide."""

    label: int
    disparity_px: float
    mask: NDArray[np.bool_]


class Scene(NamedTuple):
    """One image and its labels; ``disparity_px`` is NaN where invalid."""

    image: NDArray[np.uint8]  # (H, W, 3)
    disparity_px: Plane
    label_ids: NDArray[np.uint8]
    objects: tuple[VisibleObject, ...]  # nearest first


@dataclass(frozen=True)
class _Placed:
    """An object before it is drawn: its outline on a window of the image."""

    label: int
    disparity_px: float
    window: tuple[slice, slice]
    distance_px: Plane  # signed, on the window
    texture: Plane
    colours: tuple[NDArray[np.float32], NDArray[np.float32]]  # light, dark
    foot: tuple[float, float, float]  # x, y, radius in pixels


def draw(rng: Generator, height: int, width: int, num_classes: int) -> Scene:
    """A scene of 2 to 6 objects, of which at least one is seen."""
    horizon = float(rng.uniform(0.2, 0.38)) * height
    rows = np.arange(height, dtype=np.float32) + 0.5
    slope = (NEAR_PX - FAR_PX) / (height - horizon)
    ground_px = (FAR_PX + slope * np.maximum(rows - horizon, 0)).astype(np.float32)

    seen: list[tuple[_Placed, VisibleObject]] = []
    hidden = np.zeros((height, width), bool)
    for disparity_px in sorted(rng.uniform(*OBJECT_PX, int(rng.integers(2, 7))), reverse=True):
        label = int(rng.integers(num_classes)) + 1
        foot_y = horizon + (disparity_px - FAR_PX) / slope
        placed = _place(rng, label, float(disparity_px), foot_y, height, width)
        mask = np.zeros((height, width), bool)
        mask[placed.window] = placed.distance_px < 0
        visible = mask & ~hidden
        if visible.sum() >= max(MIN_VISIBLE * mask.sum(), 1):
            seen.append((placed, VisibleObject(label, placed.disparity_px, visible)))
            hidden |= mask

    disparity = np.repeat(ground_px[:, None], width, axis=1)
    label_ids = np.zeros((height, width), np.uint8)
    for _, item in seen:
        disparity[item.mask] = item.disparity_px
        label_ids[item.mask] = item.label
    image = _paint(rng, [placed for placed, _ in seen], ground_px, horizon, height, width)
    disparity[_unmatched(disparity)] = np.nan
    return Scene(image, disparity, label_ids, tuple(item for _, item in seen))


def _place(
    rng: Generator, label: int, disparity_px: float, foot_y: float, height: int, width: int
) -> _Placed:
    shape = SHAPES[SHAPE_NAMES[label - 1]]
    nearness = disparity_px / OBJECT_PX[1]
    radius = 0.5 * OBJECT_SIZE * min(height, width) * nearness * float(rng.uniform(0.92, 1.0))
    aspect = float(rng.uniform(0.88, 1.0))
    tilt = float(rng.uniform(-0.2, 0.2))
    centre_x = float(rng.uniform(0.8 * radius, width - 0.8 * radius))
    centre_y = foot_y - 0.86 * radius
    window = _window(centre_y, radius, height), _window(centre_x, radius, width)
    y, x = np.mgrid[window].astype(np.float32) + 0.5
    x, y = (x - centre_x) / (radius * aspect), (y - centre_y) / radius
    u = np.cos(tilt) * x + np.sin(tilt) * y
    v = np.cos(tilt) * y - np.sin(tilt) * x
    return _Placed(
        label=label,
        disparity_px=disparity_px,
        window=window,
        distance_px=shape.distance(u, v) * radius,
        texture=np.clip(shape.texture(u, v), 0, 1),
        colours=_colours(rng, label),
        foot=(centre_x, foot_y, radius),
    )


def _window(centre: float, radius: float, limit: int) -> slice:
    start, stop = int(centre - 1.3 * radius) - 1, int(centre + 1.3 * radius) + 2
    return slice(max(start, 0), min(stop, limit))


def _colours(rng: Generator, label: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    hue = (label - 1) / len(SHAPES) + float(rng.normal(0, 0.035))
    saturation, value = float(rng.uniform(0.6, 0.95)), float(rng.uniform(0.8, 1.0))
    return _rgb(hue, saturation, value), _rgb(hue + 0.03, saturation, 0.5 * value)


def _paint(
    rng: Generator,
    nearest_first: list[_Placed],
    ground_px: Plane,
    horizon: float,
    height: int,
    width: int,
) -> NDArray[np.uint8]:
    haze = _rgb(float(rng.uniform(0.5, 0.65)), float(rng.uniform(0.05, 0.2)), 0.9)
    zenith = _rgb(float(rng.uniform(0.5, 0.65)), float(rng.uniform(0.3, 0.5)), 0.75)
    earth = _rgb(float(rng.random()), float(rng.uniform(0.1, 0.3)), float(rng.uniform(0.35, 0.6)))

    above = np.clip(1 - (np.arange(height) + 0.5) / horizon, 0, 1)[:, None, None]
    clouds = _smooth(rng, (4, 3), height, width)[..., None]
    sky = haze + above * (zenith - haze) + 0.08 * above * clouds
    mottle = _smooth(rng, (8, 6), height, width) + 0.5 * _smooth(rng, (20, 12), height, width)
    shade = 1 + 0.22 * mottle
    for item in nearest_first:
        shade *= 1 - _shadow(item.foot, height, width)
    clear = np.exp(-HAZE_PX / ground_px)[:, None, None]
    image = np.where(above > 0, sky, haze + clear * (earth * shade[..., None] - haze))

    for item in reversed(nearest_first):
        light, dark = item.colours
        own = dark + item.texture[..., None] * (light - dark)
        clear = np.exp(-HAZE_PX / item.disparity_px)
        cover = np.clip(0.5 - item.distance_px, 0, 1)[..., None]  # soft edge, one pixel wide
        below = image[item.window]
        image[item.window] = below + cover * (haze + clear * (own - haze) - below)
    return np.rint(np.clip(image, 0, 1) * 255).astype(np.uint8)


def _shadow(foot: tuple[float, float, float], height: int, width: int) -> Plane:
    """A soft dark patch where an object stands."""
    x, y, radius = foot
    across = (np.arange(width) + 0.5 - x) / (0.75 * radius)
    along = (np.arange(height) + 0.5 - y) / (0.22 * radius)
    return (0.5 * np.exp(-(across**2))[None, :] * np.exp(-(along**2))[:, None]).astype(np.float32)


def _smooth(rng: Generator, cells: tuple[int, int], height: int, width: int) -> Plane:
    """Noise of unit scale with that many cells down and across."""
    coarse = Image.fromarray(rng.uniform(-1, 1, cells).astype(np.float32))
    return np.asarray(coarse.resize((width, height), Image.Resampling.BICUBIC))


def _unmatched(disparity_px: Plane) -> NDArray[np.bool_]:
    """Pixels that a second camera to the right would not see: a margin on the left, and a band
    beside each nearer object, the wider the deeper the step."""
    height, width = disparity_px.shape
    unmatched = np.zeros((height, width), bool)
    unmatched[:, : max(1, width // 32)] = True
    for columns in range(1, 4):
        step = disparity_px[:, columns:] - disparity_px[:, :-columns]
        unmatched[:, :-columns] |= step > columns * _HIDING_STEP_PX
    return unmatched


def _rgb(hue: float, saturation: float, value: float) -> NDArray[np.float32]:
    return np.array(colorsys.hsv_to_rgb(hue % 1, saturation, value), np.float32)
