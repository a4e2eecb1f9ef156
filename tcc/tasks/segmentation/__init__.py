"""Segmentation: the class of every pixel, as train ids; 255 is ignored.

Distortion: cross-entropy × number of classes, averaged over the pixels of the batch that are not
ignored; an auxiliary head, where the model has one, adds its own at weight 1. Metrics, from one
confusion matrix over the whole set: mIoU, as Cityscapes' own scripts take it, and the share of the
pixels that are right.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from tcc.records import MetricInfo
from tcc.tasks import Task
from tcc.tasks._weights import NetworkParams, WeightNames

if TYPE_CHECKING:
    from torch import Tensor

    from tcc.tasks.segmentation.metric import SegmentationAccumulator
    from tcc.tasks.segmentation.model import SegmentationModel


class SegmentationParams(NetworkParams):
    """``small``: a light convolutional network for images of any size; it has no auxiliary head.

    On uncompressed scenes of 64×64 `small` reaches mIoU 0.85 in 500 steps of batch 8 and 0.92 in
    1500 (5 and 15 CPU-seconds). ``deeplabv3_resnet50`` needs at least two images a training batch,
    or part of one, unless its batch normalisation is frozen.
    """

    published: ClassVar[Mapping[str, WeightNames]] = {
        "deeplabv3_resnet50": WeightNames("DeepLabV3_ResNet50_Weights", "ResNet50_Weights")
    }
    model: Literal["small", "deeplabv3_resnet50"] = "small"


class Segmentation(Task):
    """See the module."""

    version = 2
    Params = SegmentationParams
    label = "label_ids"
    tiny = {"width": 8}
    metrics = (
        MetricInfo(name="miou", unit="", higher_is_better=True),
        MetricInfo(name="pixel_accuracy", unit="", higher_is_better=True, per_image=True),
    )

    def build(self, params: SegmentationParams, classes: tuple[str, ...]) -> SegmentationModel:
        from tcc.tasks.segmentation.model import SegmentationModel, build_network

        return SegmentationModel(build_network(params, len(classes)), len(classes))

    def accumulator(self, params: Any, classes: tuple[str, ...]) -> SegmentationAccumulator:
        from tcc.tasks.segmentation.metric import SegmentationAccumulator

        return SegmentationAccumulator(classes)

    def write(self, prediction: Tensor, stem: Path, classes: tuple[str, ...]) -> Path:
        """A PNG of train ids, shown in the colours of Pascal VOC."""
        from tcc.formats.image import write_indices
        from tcc.formats.voc import colours

        path = stem.with_name(f"{stem.name}.png")
        write_indices(path, prediction.byte().cpu().numpy(), colours())
        return path


PLUGIN = Segmentation()
