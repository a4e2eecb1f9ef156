"""Depth: disparity of every pixel, in Cityscapes' raw 16-bit form; raw 0 is invalid.

The network gives ẑ for z = (raw − 1) / 32768, so disparity in pixels is 128·z. Distortion: root
mean square error of the disparity in pixels, pooled over the valid pixels of the batch.

Metrics, pooled over the valid pixels of the whole set: the same RMSE and the mean absolute error,
of disparity in pixels; and of DEPTH the absolute relative error, the RMSE of its natural logarithm
and the shares of pixels within factors 1.25, 1.25² and 1.25³. Depth is focal length × baseline /
disparity, so that ratios of depths need no camera: D̂/D = d/d̂, |D̂ − D|/D = |d/d̂ − 1|. They are over
the pixels of true disparity above 0, a predicted disparity being no less than one step of the
format, 1/256 pixel.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from tcc.records import MetricInfo
from tcc.tasks import Task
from tcc.tasks._weights import NetworkParams, WeightNames

if TYPE_CHECKING:
    from torch import Tensor

    from tcc.tasks.depth.metric import DepthAccumulator
    from tcc.tasks.depth.model import DepthModel


class DepthParams(NetworkParams):
    """``small``: a light convolutional network for images of any size.

    On uncompressed scenes of 64×64 (standard deviation 37 px) it reaches an RMSE of 6.3 px in 500
    steps of batch 8 (5 CPU-seconds) and 4.5 px in 1500.
    """

    published: ClassVar[Mapping[str, WeightNames]] = {
        "lraspp_mobilenet_v3_large": WeightNames(
            "LRASPP_MobileNet_V3_Large_Weights", "MobileNet_V3_Large_Weights"
        )
    }
    model: Literal["small", "lraspp_mobilenet_v3_large"] = "small"


class Depth(Task):
    """See the module."""

    version = 2
    Params = DepthParams
    label = "disparity"
    tiny = {"width": 8}
    metrics = tuple(
        MetricInfo(name=name, unit=unit, higher_is_better=higher_is_better, per_image=True)
        for name, unit, higher_is_better in (
            ("rmse", "px", False),
            ("mae", "px", False),
            ("abs_rel", "", False),
            ("rmse_log", "", False),
            ("delta1", "", True),
            ("delta2", "", True),
            ("delta3", "", True),
        )
    )

    def build(self, params: DepthParams, classes: tuple[str, ...]) -> DepthModel:
        from tcc.tasks.depth.model import DepthModel, build_network

        return DepthModel(build_network(params))

    def accumulator(self, params: Any, classes: tuple[str, ...]) -> DepthAccumulator:
        from tcc.tasks.depth.metric import DepthAccumulator

        return DepthAccumulator()

    def write(self, prediction: Tensor, stem: Path, classes: tuple[str, ...]) -> Path:
        """A 16-bit PNG as Cityscapes has it: 256 · disparity in pixels + 1."""
        from tcc.formats import image
        from tcc.formats.cityscapes import MOST_DISPARITY, encode_disparity

        path = stem.with_name(f"{stem.name}.png")
        disparity_px = prediction.detach().cpu().numpy().clip(0, MOST_DISPARITY)
        image.write_png(path, encode_disparity(disparity_px))
        return path


PLUGIN = Depth()
