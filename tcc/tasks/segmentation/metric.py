"""mIoU from one confusion matrix over a whole set."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
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
        """``predictions``: train ids, (H, W). mIoU is no mean over images: no per-image value.

        Raises:
            TrialError: a label id that is neither a class nor 255.
        """
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
            self.confusion += counts.reshape(self.confusion.shape)
        return [{} for _ in predictions]

    def compute(self) -> dict[str, float]:
        """Mean IoU over the classes that occur in the labels or the predictions."""
        correct = np.diag(self.confusion)
        union = self.confusion.sum(0) + self.confusion.sum(1) - correct
        occurs = union > 0
        return {"miou": float((correct[occurs] / union[occurs]).mean())} if occurs.any() else {}
