"""The Faster R-CNNs: torchvision's, and a light one for small images."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.models.detection import (
    FasterRCNN,
    fasterrcnn_mobilenet_v3_large_320_fpn,
    fasterrcnn_resnet50_fpn_v2,
)
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.faster_rcnn import FastRCNNPredictor, TwoMLPHead
from torchvision.models.detection.transform import GeneralizedRCNNTransform, resize_boxes
from torchvision.ops import MultiScaleRoIAlign

from tcc.tasks._layers import Features
from tcc.tasks._weights import load_from_path, torchvision_weights
from tcc.tasks.detection import DetectionParams

_BUILDERS = {
    "fasterrcnn_mobilenet_v3_large_320_fpn": fasterrcnn_mobilenet_v3_large_320_fpn,
    "fasterrcnn_resnet50_fpn_v2": fasterrcnn_resnet50_fpn_v2,
}


def build_detector(params: DetectionParams, num_classes: int) -> FasterRCNN:
    """A detector for ``num_classes`` classes, numbered from 1; 0 is the background."""
    if params.model == "small":
        detector = _small(params, num_classes + 1)
    else:
        detector = _published(params, num_classes + 1)
    load_from_path(detector, params)
    return detector


def _published(params: DetectionParams, num_outputs: int) -> FasterRCNN:
    weights, backbone = torchvision_weights(params)
    detector = _BUILDERS[params.model](
        weights=weights,
        weights_backbone=backbone,
        num_classes=None if weights else num_outputs,
    )
    if weights is not None:
        heads: Any = detector.roi_heads
        heads.box_predictor = FastRCNNPredictor(
            heads.box_predictor.cls_score.in_features, num_outputs
        )
    return detector


def _small(params: DetectionParams, num_outputs: int) -> FasterRCNN:
    """Square anchors on one feature map at a quarter of the image's size, few proposals."""
    width, pooled, hidden = params.width, 7, 4 * params.width
    anchor_sizes = tuple(params.scale * size for size in params.anchor_sizes)
    detector = FasterRCNN(
        _Backbone(width),
        rpn_anchor_generator=AnchorGenerator((anchor_sizes,), ((1.0,),)),  # type: ignore[arg-type]
        rpn_pre_nms_top_n_train=128,
        rpn_pre_nms_top_n_test=128,
        rpn_post_nms_top_n_train=32,
        rpn_post_nms_top_n_test=32,
        rpn_fg_iou_thresh=0.6,  # not 0.7: square anchors alone overlap oblong objects less
        rpn_batch_size_per_image=64,
        box_roi_pool=MultiScaleRoIAlign(["0"], output_size=pooled, sampling_ratio=1),
        box_head=TwoMLPHead(width * pooled**2, hidden),
        box_predictor=FastRCNNPredictor(hidden, num_outputs),
        box_batch_size_per_image=32,
        box_score_thresh=0.01,
    )
    detector.transform = _Scaled(params.scale)
    return detector


class _Backbone(nn.Module):
    """`Features` at a quarter of the image's size, as FasterRCNN wants a backbone."""

    def __init__(self, width: int):
        super().__init__()
        self.features = Features(width)
        self.out_channels = width

    def forward(self, image_B3HW: Tensor) -> OrderedDict[str, Tensor]:
        return OrderedDict({"0": self.features(image_B3HW)})


class _Scaled(GeneralizedRCNNTransform):
    """Resizes by a factor: torchvision's own would bring 64 pixels to 320 or more. Does not
    normalise: `Features` centres its input itself."""

    def __init__(self, scale: float) -> None:
        super().__init__(0, 0, [0.0] * 3, [1.0] * 3, size_divisible=8)
        self.scale = scale

    def resize(
        self, image: Tensor, target: dict[str, Tensor] | None = None
    ) -> tuple[Tensor, dict[str, Tensor] | None]:
        if self.scale == 1:
            return image, target
        height, width = image.shape[-2:]
        size = [max(1, round(self.scale * height)), max(1, round(self.scale * width))]
        image = F.interpolate(image[None], size=size, mode="bilinear", antialias=True)[0]
        if target is not None:
            target["boxes"] = resize_boxes(target["boxes"], [height, width], size)
        return image, target
