"""mIoU and pixel accuracy from one confusion matrix over a whole set."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from tcc.errors import TrialError
from tcc.formats.sample import Batch

IGNORED = 255


class SegmentationAccumulator:
    """Counts pixels by (true class, predicted class), int64."""

    def __init__(self, classes: tuple[str, ...]):
        self.num_classes = len(classes)
        self.confusion = np.zeros((self.num_classes, self.num_classes), np.int64)

    def update(self, predictions: Sequence[Tensor], batch: Batch) -> list[dict[str, float]]:
        """``predictions``: train ids, (H, W). mIoU is no mean over images: of each image only the
        pixel accuracy is given.

        Raises:
            TrialError: a label id that is neither a class nor 255.
        """
        per_image: list[dict[str, float]] = []
        for prediction, target in zip(predictions, batch.labels["label_ids"], strict=True):
            counted = target != IGNORED
            true, found = target[counted].cpu().numpy(), prediction[counted].cpu().numpy()
            if true.size and not 0 <= true.min() <= true.max() < self.num_classes:
                raise TrialError(
                    f"label ids run from {true.min()} to {true.max()}; allowed are 0 to "
                    f"{self.num_classes - 1} ({self.num_classes} classes) and {IGNORED} (ignored)",
                    term="segmentation/miou",
                )
            counts = np.bincount(true * self.num_classes + found, minlength=self.confusion.size)
            confusion = counts.reshape(self.confusion.shape)
            self.confusion += confusion
            per_image.append(_accuracy(confusion))
        return per_image

    def compute(self) -> dict[str, float]:
        """Mean IoU over the classes that occur in the labels or the predictions of counted pixels,
        and the pixel accuracy."""
        correct = np.diag(self.confusion)
        union = self.confusion.sum(0) + self.confusion.sum(1) - correct
        occurs = union > 0
        if not occurs.any():
            return {}
        iou = correct[occurs] / union[occurs]
        return {"miou": float(iou.mean()), **_accuracy(self.confusion)}


def _accuracy(confusion: NDArray[np.int64]) -> dict[str, float]:
    count = confusion.sum()
    return {"pixel_accuracy": float(np.trace(confusion) / count)} if count else {}
