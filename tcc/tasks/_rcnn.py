"""What the tasks share that find objects: R-CNNs that give losses in evaluation mode too, a light
one for small images, and COCO's way of counting. Imported by their methods only: it needs torch.

Shape legend: B batch, H W pixels, N objects of an image, C columns of a table.
"""

from __future__ import annotations

import contextlib
import io
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Literal, TypeVar

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
from torch import Tensor, nn
from torchvision.models.detection import FasterRCNN
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.faster_rcnn import FastRCNNPredictor, TwoMLPHead
from torchvision.models.detection.transform import (
    GeneralizedRCNNTransform,
    resize_boxes,
    resize_keypoints,
)
from torchvision.ops import MultiScaleRoIAlign

from tcc.formats.sample import Batch, Size
from tcc.tasks._layers import Features

Rcnn = TypeVar("Rcnn", bound=FasterRCNN)
IouType = Literal["bbox", "keypoints"]  # what COCO compares objects by

_MIN_SIDE = 0.01  # pixels: the logarithm of a smaller box's side is no target
_EVALUATION_SEED = 0  # of the samplers that pick anchors and regions for the losses


class RcnnModel(nn.Module):
    """Boxes, labels and scores from an image-like tensor, and what further heads find.

    ``kind``: of the labels to learn from. ``learnt``: picks from such a label what is learnt of
    each object besides its box, one row an object, under torchvision's names.
    """

    def __init__(
        self,
        detector: FasterRCNN,
        kind: str,
        learnt: Callable[[Mapping[str, Tensor]], dict[str, Tensor]],
    ):
        super().__init__()
        self.detector, self.kind, self.learnt = detector, kind, learnt
        # Under autocast only the layers run in low precision: boxes need float32 (a bfloat16 has
        # 8 bits, so 300 pixels would be known to ±1), and so do the losses.
        heads: Any = detector.roi_heads
        parts = [detector.backbone, detector.rpn.head, heads.box_predictor]
        if heads.has_keypoint():
            parts.append(heads.keypoint_predictor.kps_score_lowres)  # its maps are then enlarged
            # the loss views them as rows, which channels_last would not allow
            heads.keypoint_predictor.register_forward_hook(_contiguous_output)
        for part in parts:
            part.register_forward_hook(_float32_output)

    def distortion(self, image_B3HW: Tensor, batch: Batch) -> Tensor:
        """Sum of the losses, over the objects that are no crowd.

        A padded batch enters without its padding: the detector resizes each image and pads anew,
        by itself. In evaluation mode the samplers of the losses draw from a stream of their own:
        the value is reproducible and the global generators stay as they are.
        """
        images = batch.unpadded(image_B3HW.float())
        targets = [
            self._training_target(target, size)
            for target, size in zip(batch.labels[self.kind], batch.sizes, strict=True)
        ]
        if self.training:
            losses = self._losses(images, targets)
        else:
            with _seeded(image_B3HW.device), _giving_losses(self.detector):
                losses = self._losses(images, targets)
        return torch.stack(list(losses.values())).sum()

    @torch.no_grad()
    def predict(self, image_B3HW: Tensor) -> list[dict[str, Tensor]]:
        """``boxes`` (N, 4) xyxy in pixels of the given image, ``labels`` (N,) from 1, ``scores``
        (N,) of each image, and ``keypoints`` (N, K, 3) of a detector that finds them: x and y in
        pixels, and 1. In evaluation mode only."""
        return self.detector(list(image_B3HW.float()))

    def _training_target(self, target: Mapping[str, Tensor], size: Size) -> dict[str, Tensor]:
        """The objects to train on: no crowd regions, their boxes float32 and clipped to the image
        of that size, and none that is left without a width and a height."""
        height, width = size
        boxes_N4 = target["boxes"].as_subclass(Tensor).reshape(-1, 4).clone()
        boxes_N4[:, 0::2].clamp_(0, width)
        boxes_N4[:, 1::2].clamp_(0, height)
        sides_N2 = boxes_N4[:, 2:] - boxes_N4[:, :2]
        kept = ~target["crowd"] & (sides_N2 > _MIN_SIDE).all(dim=1)
        rest = {name: rows[kept] for name, rows in self.learnt(target).items()}
        return {"boxes": boxes_N4[kept].float(), **rest}

    def _losses(self, images: list[Tensor], targets: list[dict[str, Tensor]]) -> dict[str, Tensor]:
        """``FasterRCNN.forward`` up to its losses, which it withholds in evaluation mode."""
        detector = self.detector
        batched, targets = detector.transform(images, targets)
        features = detector.backbone(batched.tensors)
        proposals, proposal_losses = detector.rpn(batched, features, targets)
        _, region_losses = detector.roi_heads(features, proposals, batched.image_sizes, targets)
        return {**proposal_losses, **region_losses}


def light_rcnn(
    kind: type[Rcnn],
    *,
    width: int,
    anchor_sizes: Sequence[float],
    scale: float,
    num_outputs: int,
    **heads: Any,
) -> Rcnn:
    """A Faster R-CNN for small images: `Features`, square anchors on one map at a quarter of the
    image's size, few proposals. ``kind``: FasterRCNN, or one with further ``heads`` (on the map
    named "0", of ``width`` channels). ``scale``: by which it resizes the image before."""
    pooled, hidden = 7, 4 * width
    anchors: Any = (tuple(scale * size for size in anchor_sizes),)
    detector = kind(
        _Backbone(width),
        rpn_anchor_generator=AnchorGenerator(anchors, ((1.0,),)),  # type: ignore[arg-type]
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
        **heads,
    )
    detector.transform = _Scaled(scale)
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
        for name, resized in (("boxes", resize_boxes), ("keypoints", resize_keypoints)):
            if target is not None and name in target:
                target[name] = resized(target[name], [height, width], size)
        return image, target


@contextmanager
def _giving_losses(detector: FasterRCNN) -> Iterator[None]:
    """Losses from a detector in evaluation mode. Only the two modules that branch on ``training``
    are switched, not their layers: BatchNorm and dropout stay in evaluation mode."""
    parts = (detector.rpn, detector.roi_heads)
    for part in parts:
        part.training = True
    try:
        yield
    finally:
        for part in parts:
            part.training = False


@contextmanager
def _seeded(device: torch.device) -> Iterator[None]:
    """The generators that act on ``device`` start from a fixed seed, and are put back after."""
    on_gpu = device.type == "cuda"
    with torch.random.fork_rng([device] if on_gpu else []):
        torch.default_generator.manual_seed(_EVALUATION_SEED)
        if on_gpu:
            torch.cuda.default_generators[device.index].manual_seed(_EVALUATION_SEED)
        yield


def _float32_output(_module: nn.Module, _inputs: Any, output: Any) -> Any:
    if isinstance(output, Tensor):
        return output.float()
    if isinstance(output, Mapping):
        return OrderedDict((name, _float32_output(_module, None, x)) for name, x in output.items())
    return type(output)(_float32_output(_module, None, x) for x in output)


def _contiguous_output(_module: nn.Module, _inputs: Any, output: Tensor) -> Tensor:
    return output.contiguous()


def table(objects: Mapping[str, Tensor], *columns: str) -> NDArray[np.float64]:
    """The boxes of an image's objects, xyxy, and further entries side by side: (N, C)."""
    parts = [objects[name].detach().cpu() for name in ("boxes", *columns)]
    parts = [part.flatten(1) if part.ndim > 1 else part for part in parts]
    return np.column_stack([part.numpy() for part in parts]).astype(np.float64)


def one_table(tables: Sequence[NDArray[np.float64]]) -> NDArray[np.float64]:
    """The tables of all images under each other, behind a column of image ids from 1."""
    lengths = [len(rows) for rows in tables]
    image_ids = np.repeat(np.arange(1, len(tables) + 1), lengths)
    return np.column_stack([image_ids.astype(np.float64), np.concatenate(tables)])


def coco_rows(rows: NDArray[np.float64]) -> Iterator[tuple[dict[str, Any], NDArray[np.float64]]]:
    """One annotation a row of `one_table`, its box in COCO's (x, y, width, height), and the columns
    behind the box.

    x2 − x1 misses the width of a file by a rounding, which can carry an IoU over one of the ten
    thresholds. Six decimals are more than a file has and fewer than the rounding reaches, so they
    give the file's own number back.
    """
    sides_N2 = np.round(rows[:, 3:5] - rows[:, 1:3], 6)
    boxes_N4 = np.column_stack([rows[:, 1:3], sides_N2]).tolist()
    for number, (row, box) in enumerate(zip(rows, boxes_N4, strict=True), start=1):
        yield {"id": number, "image_id": int(row[0]), "category_id": 1, "bbox": box}, row[5:]


def coco_matched(
    iou_type: IouType,
    labelled: list[dict[str, Any]],
    detected: list[dict[str, Any]],
    num_images: int,
    sigmas: NDArray[np.float64] | None = None,
) -> dict[str, Any]:
    """pycocotools' precision and recall of one class, which has an axis of length 1. ``sigmas``:
    of the keypoints, where they are not COCO's."""
    with contextlib.redirect_stdout(io.StringIO()):
        truth, found = _coco(labelled, num_images), _coco(detected, num_images)
        evaluation: Any = COCOeval(truth, found, iou_type)
        if sigmas is not None:
            evaluation.params.kpt_oks_sigmas = sigmas
        evaluation.evaluate()
        evaluation.accumulate()
    return evaluation.eval


def coco_numbers(
    iou_type: IouType, names: Sequence[str], matched: Sequence[Mapping[str, Any]]
) -> dict[str, float]:
    """pycocotools' summary of all classes, from 0 to 1, under ``names`` in its order; the numbers
    of sizes that no labelled object has are left out. ``matched``: of each class."""
    summary: Any = COCOeval(iouType=iou_type)
    summary.eval = {
        "precision": np.concatenate([one["precision"] for one in matched], axis=2),
        "recall": np.concatenate([one["recall"] for one in matched], axis=1),
    }
    with contextlib.redirect_stdout(io.StringIO()):
        summary.summarize()
    values = zip(names, summary.stats, strict=True)
    return {name: float(value) for name, value in values if value >= 0}


def _coco(annotations: list[dict[str, Any]], num_images: int) -> COCO:
    coco: Any = COCO()
    coco.dataset = {
        "images": [{"id": i} for i in range(1, num_images + 1)],
        "categories": [{"id": 1}],
        "annotations": annotations,
    }
    coco.createIndex()
    return coco
