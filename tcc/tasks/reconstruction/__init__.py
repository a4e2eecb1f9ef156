"""Reconstruction: the image itself is the target, so there is no network.

Distortion: root mean square error on the 0..255 scale of each image, then the mean over images.
Metrics: PSNR of the image clamped to 0..255 and rounded to 8 bit, and MS-SSIM of the same where
both sides exceed 160 pixels; of each image, then the mean.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tcc.records import MetricInfo
from tcc.tasks import Task, TaskParams

if TYPE_CHECKING:
    from tcc.tasks.reconstruction.metric import ReconstructionAccumulator
    from tcc.tasks.reconstruction.model import ReconstructionModel


class ReconstructionParams(TaskParams):
    """Nothing to set."""


class Reconstruction(Task):
    """See the module."""

    Params = ReconstructionParams
    label = "image"
    metrics = (
        MetricInfo(name="psnr", unit="dB", higher_is_better=True, per_image=True),
        MetricInfo(name="ms-ssim", unit="", higher_is_better=True, per_image=True),
    )

    def build(self, params: Any, classes: tuple[str, ...]) -> ReconstructionModel:
        from tcc.tasks.reconstruction.model import ReconstructionModel

        return ReconstructionModel()

    def accumulator(self, params: Any, classes: tuple[str, ...]) -> ReconstructionAccumulator:
        from tcc.tasks.reconstruction.metric import ReconstructionAccumulator

        return ReconstructionAccumulator()


PLUGIN = Reconstruction()
