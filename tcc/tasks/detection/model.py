"""A Faster R-CNN whose losses exist in evaluation mode too.

Shape legend: B batch, H W pixels.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torchvision.models.detection import FasterRCNN

from tcc.formats.sample import Batch

_MIN_SIDE = 0.01  # pixels: the logarithm of a smaller box's side is no target
_EVALUATION_SEED = 0  # of the samplers that pick anchors and regions for the losses


class DetectionModel(nn.Module):
    """Boxes, labels and scores from an image-like tensor."""

    def __init__(self, detector: FasterRCNN):
        super().__init__()
        self.detector = detector
        # Under autocast only the layers run in low precision: boxes need float32 (a bfloat16 has
        # 8 bits, so 300 pixels would be known to ±1), and so do the losses.
        parts: Any = (detector.backbone, detector.rpn.head, detector.roi_heads.box_predictor)
        for part in parts:
            part.register_forward_hook(_float32_output)

    def distortion(self, image_B3HW: Tensor, batch: Batch) -> Tensor:
        """Sum of the four losses, over the boxes that are no crowd.

        In evaluation mode the samplers of the losses draw from a stream of their own: the value is
        reproducible and the global generators stay as they are.
        """
        targets = [_training_target(target) for target in batch.labels["boxes"]]
        if self.training:
            losses = self._losses(image_B3HW, targets)
        else:
            with _seeded(image_B3HW.device), _giving_losses(self.detector):
                losses = self._losses(image_B3HW, targets)
        return torch.stack(list(losses.values())).sum()

    @torch.no_grad()
    def predict(self, image_B3HW: Tensor) -> list[dict[str, Tensor]]:
        """``boxes`` (N, 4) xyxy in pixels of the given image, ``labels`` (N,) from 1, ``scores``
        (N,) of each image. In evaluation mode only."""
        return self.detector(list(image_B3HW.float()))

    def _losses(self, image_B3HW: Tensor, targets: list[dict[str, Tensor]]) -> dict[str, Tensor]:
        """``FasterRCNN.forward`` up to its losses, which it withholds in evaluation mode."""
        detector = self.detector
        images, targets = detector.transform(list(image_B3HW.float()), targets)
        features = detector.backbone(images.tensors)
        proposals, proposal_losses = detector.rpn(images, features, targets)
        _, region_losses = detector.roi_heads(features, proposals, images.image_sizes, targets)
        return {**proposal_losses, **region_losses}


def _training_target(target: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The boxes to train on: no crowd regions, and none without a width and a height."""
    boxes_N4 = torch.as_tensor(target["boxes"], dtype=torch.float32).reshape(-1, 4)
    sides_N2 = boxes_N4[:, 2:] - boxes_N4[:, :2]
    kept = ~target["crowd"] & (sides_N2 > _MIN_SIDE).all(dim=1)
    return {"boxes": boxes_N4[kept], "labels": target["labels"][kept]}


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
