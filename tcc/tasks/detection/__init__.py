"""Detection: boxes, classes and scores of objects, by a Faster R-CNN.

Distortion: the sum of its four losses (objectness and box regression of the proposals, class and
box regression of the regions), over labelled boxes that are clipped to the image, have an extent
and are no crowd. Metric: COCO's twelve numbers, mAP@[.5:.95] first, of the boxes as labelled: those
that pycocotools gives for the data set's own file.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field, PositiveFloat

from tcc.records import MetricInfo
from tcc.tasks import Task
from tcc.tasks._weights import NetworkParams, WeightNames

if TYPE_CHECKING:
    from torch import Tensor

    from tcc.tasks._rcnn import RcnnModel
    from tcc.tasks.detection.metric import DetectionAccumulator

# in the order of pycocotools' summary
METRIC_NAMES = (
    *("map", "map_50", "map_75", "map_small", "map_medium", "map_large"),
    *("mar_1", "mar_10", "mar_100", "mar_small", "mar_medium", "mar_large"),
)


class DetectionParams(NetworkParams):
    """``small``: a light Faster R-CNN that keeps the image's own size, unless ``scale`` is set. The
    others resize as torchvision does: the shorter side to 320 and to 800 pixels.

    On uncompressed scenes of 64×64 `small` reaches mAP 0.66 in 600 steps of batch 8 and 0.72 in
    1500 (17 and 42 CPU-seconds).
    """

    published: ClassVar[Mapping[str, WeightNames]] = {
        "fasterrcnn_mobilenet_v3_large_320_fpn": WeightNames(
            "FasterRCNN_MobileNet_V3_Large_320_FPN_Weights", "MobileNet_V3_Large_Weights"
        ),
        "fasterrcnn_resnet50_fpn_v2": WeightNames(
            "FasterRCNN_ResNet50_FPN_V2_Weights", "ResNet50_Weights"
        ),
    }
    model: Literal[
        "small", "fasterrcnn_mobilenet_v3_large_320_fpn", "fasterrcnn_resnet50_fpn_v2"
    ] = "small"
    anchor_sizes: tuple[PositiveFloat, ...] = Field(
        default=(12, 20, 32),
        min_length=1,
        description="of model small: sides of the square anchors in pixels of the image; the "
        "default suits objects of 10 to 36 pixels, (32, 64, 128, 256) photographs of 500",
    )
    scale: float = Field(
        default=1,
        gt=0,
        le=1,
        description="of model small: factor that it resizes the image by before it looks at it; "
        "0.25 suits photographs of 500 pixels",
    )


class Detection(Task):
    """See the module."""

    version = 2
    Params = DetectionParams
    label = "boxes"
    tiny = {"width": 8, "anchor_sizes": (8, 16)}
    metrics = tuple(MetricInfo(name=name, unit="", higher_is_better=True) for name in METRIC_NAMES)

    def build(self, params: DetectionParams, classes: tuple[str, ...]) -> RcnnModel:
        from tcc.tasks._rcnn import RcnnModel
        from tcc.tasks.detection.detector import build_detector

        return RcnnModel(build_detector(params, len(classes)), self.label, _class)

    def accumulator(self, params: Any, classes: tuple[str, ...]) -> DetectionAccumulator:
        from tcc.tasks.detection.metric import DetectionAccumulator

        return DetectionAccumulator(classes)

    def write(self, prediction: Mapping[str, Tensor], stem: Path, classes: tuple[str, ...]) -> Path:
        """The objects as JSON, boxes as (x1, y1, x2, y2) in pixels of the image."""
        from tcc.formats import atomic

        boxes, labels, scores = (prediction[x].tolist() for x in ("boxes", "labels", "scores"))
        objects = [
            {"label": classes[label - 1], "score": score, "box_xyxy": box}
            for box, label, score in zip(boxes, labels, scores, strict=True)
        ]
        return atomic.write_json(stem, {"objects": objects})


def _class(target: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """What is learnt of a labelled object besides its box."""
    return {"labels": target["labels"]}


PLUGIN = Detection()
