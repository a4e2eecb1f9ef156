"""Sizes: codec scale before the analysis transform, padding to its stride, and the ways back.

    x (B, 3, H, W) ──rescale──► (B, 3, ⌈sH⌉, ⌈sW⌉) ──pad_to──► multiples of 16 ──► g_a, g_s
    (B, 3, H, W) ◄──resize_to── (B, 3, ⌈sH⌉, ⌈sW⌉) ◄──crop_to── multiples of 16 ◄───┘

Sizes are (height, width) in pixels.
"""

from __future__ import annotations

import math

import torch.nn.functional as F
from torch import Tensor

Size = tuple[int, int]


def pad_to(x: Tensor, multiple: int) -> Tensor:
    """Repeats the last row and column until height and width are multiples of ``multiple``.

    x: (B, C, H, W) of any size from 1×1 up; the padding may be larger than the image.
    """
    height, width = x.shape[-2:]
    bottom, right = -height % multiple, -width % multiple
    if not (bottom or right):
        return x
    return F.pad(x, (0, right, 0, bottom), mode="replicate")


def crop_to(x: Tensor, size: Size) -> Tensor:
    """The top left part of ``size``: undoes `pad_to`."""
    return x[..., : size[0], : size[1]]


def scaled_size(size: Size, scale: float) -> Size:
    """Size in pixels of an image of ``size`` at a codec scale: rounded up, at least 1×1."""
    # the small term keeps 0.1 · 30 = 3.0000000000000004 from becoming 4
    height, width = (max(1, math.ceil(side * scale - 1e-9)) for side in size)
    return height, width


def rescale(x: Tensor, scale: float) -> Tensor:
    """The image at a codec scale ≤ 1, by antialiased bilinear resampling; 1 leaves it as it is."""
    height, width = x.shape[-2:]
    return resize_to(x, scaled_size((height, width), scale))


def resize_to(x: Tensor, size: Size) -> Tensor:
    """Antialiased bilinear resampling to ``size``: undoes `rescale`, up to the detail it lost."""
    if x.shape[-2:] == size:
        return x
    return F.interpolate(x, size=size, mode="bilinear", align_corners=False, antialias=True)
