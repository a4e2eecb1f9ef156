"""COCO's detection metrics by pycocotools."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from tcc.formats.sample import Batch
from tcc.tasks._rcnn import coco_matched, coco_numbers, coco_rows, one_table, table
from tcc.tasks.detection import METRIC_NAMES


class DetectionAccumulator:
    """Keeps the boxes of labels and predictions as tables of numbers until `compute` matches them.

    Labelled boxes count as their file has them, those without extent too: no detector can find
    them, but the numbers are then those that pycocotools gives for the file.
    """

    def __init__(self, classes: tuple[str, ...]):
        self._num_classes = len(classes)
        # a table an image, whose columns are x1, y1, x2, y2, class and …
        self._truth: list[NDArray[np.float64]] = []  # … crowd, area
        self._found: list[NDArray[np.float64]] = []  # … score

    def update(
        self, predictions: Sequence[Mapping[str, Tensor]], batch: Batch
    ) -> list[dict[str, float]]:
        """``predictions``: boxes (N, 4) xyxy in pixels, labels (N,), scores (N,) of each image."""
        for prediction, target in zip(predictions, batch.labels["boxes"], strict=True):
            self._truth.append(table(target, "labels", "crowd", "area"))
            self._found.append(table(prediction, "labels", "scores"))
        return [{} for _ in predictions]

    def compute(self) -> dict[str, float]:
        """The numbers from 0 to 1; those of sizes that no labelled object has are left out."""
        if not any(len(rows) for rows in self._truth):
            return {}
        truth, found = one_table(self._truth), one_table(self._found)
        # class by class: what pycocotools keeps of a match is a hundred times the boxes' size
        matched = [
            self._matched(truth[truth[:, 5] == label], found[found[:, 5] == label])
            for label in range(1, self._num_classes + 1)
        ]
        return coco_numbers("bbox", METRIC_NAMES, matched)

    def _matched(self, truth: NDArray[np.float64], found: NDArray[np.float64]) -> dict[str, Any]:
        labelled = [
            {**row, "iscrowd": int(crowd), "area": area}
            for row, (_, crowd, area) in coco_rows(truth)
        ]
        detected = [
            {**row, "iscrowd": 0, "area": row["bbox"][2] * row["bbox"][3], "score": score}
            for row, (_, score) in coco_rows(found)
        ]
        return coco_matched("bbox", labelled, detected, len(self._truth))
