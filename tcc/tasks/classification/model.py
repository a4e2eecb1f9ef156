"""Classifiers and the cross-entropy they are trained on.

Shape legend: B batch, K classes, H W pixels.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.models import resnet18, resnet50

from tcc.errors import TrialError
from tcc.formats.sample import Batch, Size
from tcc.tasks._layers import Features, imagenet_normalised, learns_batch_norm
from tcc.tasks._weights import builder_arguments, initialise
from tcc.tasks.classification import ClassificationParams

_BUILDERS = {"resnet18": resnet18, "resnet50": resnet50}


def build_network(params: ClassificationParams, num_classes: int) -> nn.Module:
    """A network (B, 3, H, W) → logits (B, K)."""
    if params.model == "small":
        network = Small(params.width, num_classes)
        initialise(network, params)
        return network
    return ResNet(params, num_classes)


class Small(nn.Module):
    """`Features`, averaged over the image, and one linear layer."""

    def __init__(self, width: int, num_classes: int):
        super().__init__()
        self.features = Features(width)
        self.out = nn.Linear(width, num_classes)

    def forward(self, image_B3HW: Tensor) -> Tensor:
        return self.out(self.features(image_B3HW).mean(dim=(2, 3)))


class ResNet(nn.Module):
    """torchvision's ResNet with a last layer for the data set's classes."""

    def __init__(self, params: ClassificationParams, num_classes: int):
        super().__init__()
        self.resnet = _BUILDERS[params.model](**builder_arguments(params, num_classes))
        if params.origin == "model":
            self.resnet.fc = nn.Linear(self.resnet.fc.in_features, num_classes)
        initialise(self.resnet, params)

    def forward(self, image_B3HW: Tensor) -> Tensor:
        alone = len(image_B3HW) == 1 and max(image_B3HW.shape[-2:]) <= 32  # 32× down: one value
        if self.training and alone and learns_batch_norm(self.resnet):
            raise TrialError(
                "a ResNet cannot train its batch normalisation on 1 image of 32 pixels or less "
                "that is alone of its size in a batch, or part of one; train with a larger "
                "train.batch or on crops, or set freeze_batch_norm to true or model to 'small'",
                term="classification",
            )
        return self.resnet(imagenet_normalised(image_B3HW))


class ClassificationModel(nn.Module):
    """Class logits from an image-like tensor."""

    def __init__(self, network: nn.Module):
        super().__init__()
        self.network = network

    def distortion(self, image_B3HW: Tensor, batch: Batch) -> Tensor:
        """Cross-entropy in nats, mean over the images.

        A padded batch goes through the network size by size: a classifier averages over all that
        it sees, so that masking its last layer would still let the padding in, through the layers
        before. Where batch normalisation is trained, each size is a batch to it.
        """
        by_size: dict[Size, list[int]] = {}
        for index, size in enumerate(batch.sizes):
            by_size.setdefault(size, []).append(index)
        images = batch.unpadded(image_B3HW)
        logits_BK = torch.cat(
            [
                self.network(torch.stack([images[index] for index in indices]))
                for indices in by_size.values()
            ]
        )
        order = [index for indices in by_size.values() for index in indices]
        return F.cross_entropy(logits_BK.float(), batch.labels["class"][order])

    def predict(self, image_B3HW: Tensor) -> list[Tensor]:
        """The logits of each image, float32 (K,)."""
        return list(self.network(image_B3HW).float())
