"""The Faster R-CNNs: torchvision's, and a light one for small images."""

from __future__ import annotations

from typing import Any

from torchvision.models.detection import (
    FasterRCNN,
    fasterrcnn_mobilenet_v3_large_320_fpn,
    fasterrcnn_resnet50_fpn_v2,
)
from torchvision.models.detection.faster_rcnn import FastRCNNPredictor

from tcc.tasks._rcnn import light_rcnn
from tcc.tasks._weights import builder_arguments, initialise
from tcc.tasks.detection import DetectionParams

_BUILDERS = {
    "fasterrcnn_mobilenet_v3_large_320_fpn": fasterrcnn_mobilenet_v3_large_320_fpn,
    "fasterrcnn_resnet50_fpn_v2": fasterrcnn_resnet50_fpn_v2,
}


def build_detector(params: DetectionParams, num_classes: int) -> FasterRCNN:
    """A detector for ``num_classes`` classes, numbered from 1; 0 is the background."""
    if params.model == "small":
        detector = light_rcnn(
            FasterRCNN,
            width=params.width,
            anchor_sizes=params.anchor_sizes,
            scale=params.scale,
            num_outputs=num_classes + 1,
        )
        initialise(detector, params)
    else:
        detector = _published(params, num_classes + 1)
        backbone: Any = detector.backbone
        initialise(detector, params, backbone.body)
    return detector


def _published(params: DetectionParams, num_outputs: int) -> FasterRCNN:
    detector = _BUILDERS[params.model](**builder_arguments(params, num_outputs))
    if params.origin == "model":
        heads: Any = detector.roi_heads
        heads.box_predictor = FastRCNNPredictor(
            heads.box_predictor.cls_score.in_features, num_outputs
        )
    return detector
