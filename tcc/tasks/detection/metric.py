"""COCO's detection metrics by pycocotools, without its printing."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Mapping, Sequence
from typing import Any

from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
from torch import Tensor

from tcc.formats.sample import Batch
from tcc.tasks.detection import METRIC_NAMES


class DetectionAccumulator:
    """Keeps the boxes of labels and predictions until they are matched in `compute`."""

    def __init__(self, classes: tuple[str, ...]):
        self._categories = [{"id": i, "name": name} for i, name in enumerate(classes, start=1)]
        self._images: list[dict[str, int]] = []
        self._truth: list[dict[str, Any]] = []
        self._found: list[dict[str, Any]] = []

    def update(
        self, predictions: Sequence[Mapping[str, Tensor]], batch: Batch
    ) -> list[dict[str, float]]:
        """``predictions``: boxes (N, 4) xyxy in pixels, labels (N,), scores (N,) of each image."""
        for prediction, target in zip(predictions, batch.labels["boxes"], strict=True):
            image_id = len(self._images) + 1
            self._images.append({"id": image_id})
            self._truth += _rows(
                image_id,
                target["boxes"],
                category_id=target["labels"],
                iscrowd=target["crowd"].long(),
                area=target["area"],
            )
            boxes = prediction["boxes"]
            self._found += _rows(
                image_id,
                boxes,
                category_id=prediction["labels"],
                score=prediction["scores"],
                area=(boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1]),
            )
        return [{} for _ in predictions]

    def compute(self) -> dict[str, float]:
        """The numbers from 0 to 1; those of sizes that no labelled object has are left out."""
        if not self._truth:
            return {}
        with contextlib.redirect_stdout(io.StringIO()):
            evaluation = COCOeval(self._coco(self._truth), self._coco(self._found), "bbox")
            evaluation.evaluate()
            evaluation.accumulate()
            evaluation.summarize()
        values = zip(METRIC_NAMES, evaluation.stats, strict=True)
        return {name: float(value) for name, value in values if value >= 0}

    def _coco(self, annotations: list[dict[str, Any]]) -> COCO:
        coco = COCO()
        # matching writes into the annotations: give it copies, so that compute can run again
        rows = [{"id": i, "iscrowd": 0, **row} for i, row in enumerate(annotations, start=1)]
        coco.dataset = {  # type: ignore[assignment]
            "images": self._images,
            "categories": self._categories,
            "annotations": rows,
        }
        coco.createIndex()
        return coco


def _rows(image_id: int, boxes_N4: Tensor, **columns: Tensor) -> list[dict[str, Any]]:
    """One annotation a box, in COCO's (x, y, width, height)."""
    corners = boxes_N4.detach().double().tolist()
    values = zip(*(column.detach().tolist() for column in columns.values()), strict=True)
    return [
        {
            "image_id": image_id,
            "bbox": [x1, y1, x2 - x1, y2 - y1],
            **dict(zip(columns, row, strict=True)),
        }
        for (x1, y1, x2, y2), row in zip(corners, values, strict=True)
    ]
