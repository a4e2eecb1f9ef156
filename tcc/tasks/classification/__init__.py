"""Classification: what an image shows, one class of many.

Distortion: cross-entropy in nats, mean over the images of the batch. Metrics: the share of images
whose class is the most likely one (top-1), or among the five most likely (top-5; left out where
there are five classes or fewer).
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

    from tcc.tasks.classification.metric import ClassificationAccumulator
    from tcc.tasks.classification.model import ClassificationModel


_WRITTEN = 5  # classes of a prediction


class ClassificationParams(NetworkParams):
    """``small``: a light convolutional network. All models take images of any size; the published
    weights of the ResNets were learnt at 224 pixels."""

    published: ClassVar[Mapping[str, WeightNames]] = {
        "resnet18": WeightNames("ResNet18_Weights"),
        "resnet50": WeightNames("ResNet50_Weights"),
    }
    model: Literal["small", "resnet18", "resnet50"] = "small"


class Classification(Task):
    """See the module."""

    Params = ClassificationParams
    label = "class"
    tiny = {"width": 8}
    metrics = (
        MetricInfo(name="top1", unit="", higher_is_better=True, per_image=True),
        MetricInfo(name="top5", unit="", higher_is_better=True, per_image=True),
    )

    def build(self, params: ClassificationParams, classes: tuple[str, ...]) -> ClassificationModel:
        from tcc.tasks.classification.model import ClassificationModel, build_network

        return ClassificationModel(build_network(params, len(classes)))

    def accumulator(self, params: Any, classes: tuple[str, ...]) -> ClassificationAccumulator:
        from tcc.tasks.classification.metric import ClassificationAccumulator

        return ClassificationAccumulator(len(classes))

    def write(self, prediction: Tensor, stem: Path, classes: tuple[str, ...]) -> Path:
        """The classes as JSON, the most likely first; no more than `_WRITTEN`."""
        from tcc.formats import atomic

        shares, found = prediction.double().softmax(0).topk(min(_WRITTEN, len(classes)))
        rows = [
            {"label": classes[index], "index": index, "probability": share}
            for index, share in zip(found.tolist(), shares.tolist(), strict=True)
        ]
        return atomic.write_json(stem, {"classes": rows})


PLUGIN = Classification()
