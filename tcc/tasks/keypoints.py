"""Keypoints: where the joints of persons (or the parts of any one kind of object) are, by a
Keypoint R-CNN.

Distortion: the sum of its five losses (objectness and box regression of the proposals; class, box
regression and keypoints of the regions), over labelled objects that are no crowd, their boxes
clipped to the image. All objects are of one class. One without a labelled keypoint teaches its box
alone. torchvision's own training leaves out images with fewer than ten visible keypoints; here a
data set's images are all trained on.

Metric: COCO's ten numbers of object keypoint similarity (OKS), those that pycocotools gives for the
data set's own file and for results without boxes, whose area is then the keypoints' extent. Crowds
and objects without a labelled keypoint count neither for nor against. COCO's 17 keypoints have
COCO's tolerances, others the parameter ``sigma``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field, PositiveFloat

from tcc.records import MetricInfo
from tcc.tasks import Task
from tcc.tasks._weights import NetworkParams, WeightNames, builder_arguments, initialise

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor
    from torchvision.models.detection import KeypointRCNN

    from tcc.formats.sample import Batch
    from tcc.tasks._rcnn import RcnnModel

# in the order of pycocotools' summary
METRIC_NAMES = (
    *("oks_map", "oks_map_50", "oks_map_75", "oks_map_medium", "oks_map_large"),
    *("oks_mar", "oks_mar_50", "oks_mar_75", "oks_mar_medium", "oks_mar_large"),
)
COCO_KEYPOINTS = (
    *("nose", "left_eye", "right_eye", "left_ear", "right_ear"),
    *("left_shoulder", "right_shoulder", "left_elbow", "right_elbow", "left_wrist", "right_wrist"),
    *("left_hip", "right_hip", "left_knee", "right_knee", "left_ankle", "right_ankle"),
)
_MAX_FOUND = 20  # objects an image: COCO looks at no more


class KeypointParams(NetworkParams):
    """``small``: a light Keypoint R-CNN that keeps the image's own size, unless ``scale`` is set.
    The other resizes as torchvision does, the shorter side to 800 pixels."""

    published: ClassVar[Mapping[str, WeightNames]] = {
        "keypointrcnn_resnet50_fpn": WeightNames(
            "KeypointRCNN_ResNet50_FPN_Weights", "ResNet50_Weights"
        ),
    }
    model: Literal["small", "keypointrcnn_resnet50_fpn"] = "small"
    weights: str | None = Field(
        default=None,
        description="initial weights: KeypointRCNN_ResNet50_FPN_Weights.COCO_V1 (its layer of "
        "keypoints is made anew, unless they are COCO's 17), ResNet50_Weights.IMAGENET1K_V2 of the "
        "backbone, or the path of a state dict of the whole network (.safetensors or .pt); none: "
        "random weights, and nothing is downloaded",
    )
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
        "0.5 suits photographs of 500 pixels",
    )
    sigma: PositiveFloat = Field(
        default=0.05,
        description="of keypoints that are not COCO's 17: the tolerance of each in the metric, as "
        "a share of the square root of the object's area (COCO's go from 0.025, eyes, to 0.107)",
    )


class Keypoints(Task):
    """See the module."""

    Params = KeypointParams
    label = "keypoints"
    tiny = {"width": 8, "anchor_sizes": (16,)}
    metrics = tuple(MetricInfo(name=name, unit="", higher_is_better=True) for name in METRIC_NAMES)

    def build(self, params: KeypointParams, classes: tuple[str, ...]) -> RcnnModel:
        from tcc.tasks._rcnn import RcnnModel

        if params.model == "small":
            detector = _small(params, len(classes))
            initialise(detector, params)
        else:
            detector = _published(params, classes)
            backbone: Any = detector.backbone
            initialise(detector, params, backbone.body)
        return RcnnModel(detector, self.label, _person)

    def accumulator(self, params: KeypointParams, classes: tuple[str, ...]) -> KeypointAccumulator:
        return KeypointAccumulator(None if classes == COCO_KEYPOINTS else params.sigma)

    def write(self, prediction: Mapping[str, Tensor], stem: Path, classes: tuple[str, ...]) -> Path:
        """The objects as JSON: boxes as (x1, y1, x2, y2) and keypoints as (x, y) by name, in
        pixels of the image."""
        from tcc.formats import atomic

        boxes, scores = (prediction[name].tolist() for name in ("boxes", "scores"))
        points = prediction["keypoints"][..., :2].tolist()
        objects = [
            {"score": score, "box_xyxy": box, "keypoints_xy": dict(zip(classes, xy, strict=True))}
            for box, score, xy in zip(boxes, scores, points, strict=True)
        ]
        return atomic.write_json(stem, {"objects": objects})


def _person(target: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """What is learnt of a labelled object besides its box, whichever its class is."""
    return {"labels": target["labels"].clamp(max=1), "keypoints": target["keypoints"].float()}


def _published(params: KeypointParams, classes: tuple[str, ...]) -> KeypointRCNN:
    from torchvision.models.detection import keypointrcnn_resnet50_fpn
    from torchvision.models.detection.keypoint_rcnn import KeypointRCNNPredictor

    arguments = builder_arguments(params, num_outputs=2)
    if params.origin != "model":
        arguments["num_keypoints"] = len(classes)
    detector = keypointrcnn_resnet50_fpn(**arguments, box_detections_per_img=_MAX_FOUND)
    if params.origin == "model" and classes != COCO_KEYPOINTS:
        heads: Any = detector.roi_heads
        channels = heads.keypoint_predictor.kps_score_lowres.in_channels
        heads.keypoint_predictor = KeypointRCNNPredictor(channels, len(classes))
    return detector


def _small(params: KeypointParams, num_keypoints: int) -> KeypointRCNN:
    """Maps of 28×28 cells a box, after two convolutions."""
    from torchvision.models.detection.keypoint_rcnn import (
        KeypointRCNN,
        KeypointRCNNHeads,
        KeypointRCNNPredictor,
    )
    from torchvision.ops import MultiScaleRoIAlign

    from tcc.tasks._rcnn import light_rcnn

    return light_rcnn(
        KeypointRCNN,
        width=params.width,
        anchor_sizes=params.anchor_sizes,
        scale=params.scale,
        num_outputs=2,
        box_detections_per_img=_MAX_FOUND,
        keypoint_roi_pool=MultiScaleRoIAlign(["0"], output_size=7, sampling_ratio=2),
        keypoint_head=KeypointRCNNHeads(params.width, (2 * params.width, 2 * params.width)),
        keypoint_predictor=KeypointRCNNPredictor(2 * params.width, num_keypoints),
    )


class KeypointAccumulator:
    """Keeps labels and predictions as tables of numbers until `compute` matches them. ``sigma``: of
    every keypoint; none: COCO's own."""

    def __init__(self, sigma: float | None):
        self._sigma = sigma
        # a table an image, whose columns are x1, y1, x2, y2 and …
        self._truth: list[NDArray[np.float64]] = []  # … crowd, area, x, y, v of each keypoint
        self._found: list[NDArray[np.float64]] = []  # … score, x, y, v of each keypoint

    def update(
        self, predictions: Sequence[Mapping[str, Tensor]], batch: Batch
    ) -> list[dict[str, float]]:
        """``predictions``: boxes (N, 4) xyxy in pixels, scores (N,) and keypoints (N, K, 3), x and
        y in pixels, of each image."""
        from tcc.tasks._rcnn import table

        for prediction, target in zip(predictions, batch.labels["keypoints"], strict=True):
            self._truth.append(table(target, "crowd", "area", "keypoints"))
            self._found.append(table(prediction, "scores", "keypoints"))
        return [{} for _ in predictions]

    def compute(self) -> dict[str, float]:
        """The numbers from 0 to 1; those of sizes that no labelled object has are left out."""
        import numpy as np

        from tcc.tasks._rcnn import coco_matched, coco_numbers, coco_rows, one_table

        if not any(len(rows) for rows in self._truth):
            return {}
        labelled = [
            {
                **row,
                "iscrowd": int(rest[0]),
                "area": rest[1],
                "keypoints": rest[2:],
                "num_keypoints": np.count_nonzero(rest[4::3] > 0),
            }
            for row, rest in coco_rows(one_table(self._truth))
        ]
        detected = [
            {
                **row,
                "iscrowd": 0,
                "area": np.ptp(rest[1::3]) * np.ptp(rest[2::3]),
                "score": rest[0],
                "keypoints": rest[1:],
            }
            for row, rest in coco_rows(one_table(self._found))
        ]
        num_keypoints = (self._truth[0].shape[1] - 6) // 3
        sigmas = None if self._sigma is None else np.full(num_keypoints, self._sigma)
        matched = coco_matched("keypoints", labelled, detected, len(self._truth), sigmas)
        return coco_numbers("keypoints", METRIC_NAMES, [matched])


PLUGIN = Keypoints()
