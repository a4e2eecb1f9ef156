"""Top-1 and top-5 accuracy."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from tcc.errors import TrialError
from tcc.formats.sample import Batch

DEPTHS = {"top1": 1, "top5": 5}  # how many of the most likely classes are looked at


class ClassificationAccumulator:
    """Counts images whose class is among the most likely ones."""

    def __init__(self, num_classes: int):
        self.num_classes = num_classes
        self._right = {
            name: 0 for name, depth in DEPTHS.items() if depth == 1 or depth < num_classes
        }
        self._count = 0

    def update(self, predictions: Sequence[Tensor], batch: Batch) -> list[dict[str, float]]:
        """``predictions``: the logits of each image, (K,). Gives 1 where right and 0 where wrong;
        of equal logits the earlier class counts as the likelier.

        Raises:
            TrialError: a label that is no class.
        """
        per_image: list[dict[str, float]] = []
        for logits_K, label in zip(predictions, batch.labels["class"].tolist(), strict=True):
            if not 0 <= label < self.num_classes:
                raise TrialError(
                    f"class {label} is none of the {self.num_classes} of the data set",
                    term="classification/top1",
                )
            likely = logits_K.detach().argsort(descending=True, stable=True)[:5].tolist()
            right = {name: label in likely[: DEPTHS[name]] for name in self._right}
            for name, is_right in right.items():
                self._right[name] += is_right
            self._count += 1
            per_image.append({name: float(is_right) for name, is_right in right.items()})
        return per_image

    def compute(self) -> dict[str, float]:
        """Shares from 0 to 1; nothing before the first image."""
        if not self._count:
            return {}
        return {name: right / self._count for name, right in self._right.items()}
