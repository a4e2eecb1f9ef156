"""Reconstruction: the image itself is the target, so there is no network.

Distortion: root mean square error on the 0..255 scale of each image over its own pixels, then the
mean over images. Metrics, of each image and then the mean: PSNR of the image clamped to 0..255 and
rounded to 8 bit, MS-SSIM of the same where both sides exceed 160 pixels, and, where the codec works
at a scale below 1, PSNR at that scale: of what was decoded against the original that was coded, so
without what the resizing loses.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from tcc.records import MetricInfo
from tcc.tasks import Task, TaskParams

if TYPE_CHECKING:
    from torch import Tensor

    from tcc.tasks.reconstruction.metric import ReconstructionAccumulator
    from tcc.tasks.reconstruction.model import ReconstructionModel


class ReconstructionParams(TaskParams):
    """Nothing to set."""


class Reconstruction(Task):
    """See the module."""

    version = 2
    Params = ReconstructionParams
    label = "image"
    metrics = (
        MetricInfo(name="psnr", unit="dB", higher_is_better=True, per_image=True),
        MetricInfo(name="ms-ssim", unit="", higher_is_better=True, per_image=True),
        MetricInfo(name="psnr_coded", unit="dB", higher_is_better=True, per_image=True),
    )

    def build(self, params: Any, classes: tuple[str, ...]) -> ReconstructionModel:
        from tcc.tasks.reconstruction.model import ReconstructionModel

        return ReconstructionModel()

    def accumulator(self, params: Any, classes: tuple[str, ...]) -> ReconstructionAccumulator:
        from tcc.tasks.reconstruction.metric import ReconstructionAccumulator

        return ReconstructionAccumulator()

    def write(self, prediction: Tensor, stem: Path, classes: tuple[str, ...]) -> Path:
        """The image, as a PNG of 8 bit."""
        from tcc.formats import image
        from tcc.formats.sample import pixels

        path = stem.with_name(f"{stem.name}.png")
        image.write_png(path, pixels(prediction))
        return path


PLUGIN = Reconstruction()
