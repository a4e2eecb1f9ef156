"""Segmentation networks and the cross-entropy they are trained on.

Shape legend: B batch, K classes, H W pixels.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.models.segmentation import deeplabv3_resnet50

from tcc.errors import TrialError
from tcc.formats.sample import Batch
from tcc.tasks._layers import DenseNetwork, imagenet_normalised, learns_batch_norm
from tcc.tasks._weights import builder_arguments, initialise
from tcc.tasks.segmentation import SegmentationParams

IGNORED = 255


def build_network(params: SegmentationParams, num_classes: int) -> nn.Module:
    """A network (B, 3, H, W) → ``out`` and, where it has one, ``aux``, both (B, K, H, W)."""
    return Small(params, num_classes) if params.model == "small" else DeepLab(params, num_classes)


class Small(nn.Module):
    """`DenseNetwork` with one output a class."""

    def __init__(self, params: SegmentationParams, num_classes: int):
        super().__init__()
        self.dense = DenseNetwork(num_classes, params.width)
        initialise(self.dense, params)

    def forward(self, image_B3HW: Tensor) -> Mapping[str, Tensor]:
        return {"out": self.dense(image_B3HW)}


class DeepLab(nn.Module):
    """torchvision's DeepLabV3 on ResNet-50 with its auxiliary head."""

    def __init__(self, params: SegmentationParams, num_classes: int):
        super().__init__()
        self.deeplab = deeplabv3_resnet50(aux_loss=True, **builder_arguments(params, num_classes))
        heads: Any = (self.deeplab.classifier, self.deeplab.aux_classifier)
        if params.origin == "model":
            for head in heads:
                head[-1] = nn.Conv2d(head[-1].in_channels, num_classes, 1)
        initialise(self.deeplab, params, self.deeplab.backbone)

    def forward(self, image_B3HW: Tensor) -> Mapping[str, Tensor]:
        # its image pooling leaves one value a channel of each image
        if self.training and len(image_B3HW) == 1 and learns_batch_norm(self.deeplab.classifier):
            raise TrialError(
                "deeplabv3_resnet50 cannot train its batch normalisation on a batch, or part of "
                "one, of 1 image; raise train.batch to at least 2 × train.devices × "
                "train.accumulate, or set freeze_batch_norm to true or model to 'small'",
                term="segmentation",
            )
        return self.deeplab(imagenet_normalised(image_B3HW))


class SegmentationModel(nn.Module):
    """Class logits from an image-like tensor."""

    def __init__(self, network: nn.Module, num_classes: int):
        super().__init__()
        self.network = network
        self.num_classes = num_classes

    def distortion(self, image_B3HW: Tensor, batch: Batch) -> Tensor:
        """Cross-entropy in nats × K, summed over the heads; 0 where every pixel is ignored."""
        target_BHW = batch.labels["label_ids"]
        count = (target_BHW != IGNORED).sum().clamp(min=1)
        total = image_B3HW.new_zeros((), dtype=image_B3HW.float().dtype)
        for logits_BKHW in self.network(image_B3HW).values():
            loss_BHW = F.cross_entropy(
                logits_BKHW.float(), target_BHW, ignore_index=IGNORED, reduction="none"
            )
            total = total + loss_BHW.sum()  # a GPU's own reduction adds in no fixed order
        return self.num_classes * total / count

    def predict(self, image_B3HW: Tensor) -> list[Tensor]:
        """The most likely train id of each pixel, int64 (H, W), of each image."""
        return list(self.network(image_B3HW)["out"].argmax(dim=1))
