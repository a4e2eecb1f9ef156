"""The boxes of one image as arrays, whatever format they came from. Free of torch.

Boxes are xyxy in continuous pixel coordinates: the top left pixel covers 0 to 1, so that a box
around it is (0, 0, 1, 1) and the width is always x2 − x1.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray


@dataclass(frozen=True, kw_only=True)
class Boxes:
    """N boxes. ``crowd``: regions that count neither for nor against a detector."""

    xyxy: NDArray[np.float64]  # (N, 4) pixels
    labels: NDArray[np.int64]  # (N,) from 1
    crowd: NDArray[np.bool_]  # (N,)
    area: NDArray[np.float64]  # (N,) pixels: of the object's mask where the format has one

    @classmethod
    def of(cls, xyxy: ArrayLike, labels: ArrayLike, crowd: ArrayLike, area: ArrayLike) -> Boxes:
        """From any sequences of equal length, empty ones too."""
        return cls(
            xyxy=np.asarray(xyxy, np.float64).reshape(-1, 4),
            labels=np.asarray(labels, np.int64),
            crowd=np.asarray(crowd, np.bool_),
            area=np.asarray(area, np.float64),
        )

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, rows: Any) -> Boxes:
        """The boxes of some rows: a slice, a boolean mask or indices."""
        return Boxes(
            xyxy=self.xyxy[rows],
            labels=self.labels[rows],
            crowd=self.crowd[rows],
            area=self.area[rows],
        )

    @property
    def empty(self) -> NDArray[np.bool_]:
        """Which boxes have no extent; detectors refuse those. (N,)"""
        return (self.xyxy[:, 2:] <= self.xyxy[:, :2]).any(axis=1)

    def clipped(self, height: ArrayLike, width: ArrayLike) -> Boxes:
        """Cut to the image in pixels, one size for all or one a box; may leave empty boxes."""
        xyxy = self.xyxy.copy()
        xyxy[:, 0::2] = np.clip(xyxy[:, 0::2], 0, np.reshape(width, (-1, 1)))
        xyxy[:, 1::2] = np.clip(xyxy[:, 1::2], 0, np.reshape(height, (-1, 1)))
        return replace(self, xyxy=xyxy)
