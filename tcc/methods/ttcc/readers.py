"""direct, pixels: kinds that train no codec, only what reads a frozen latent or the image."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from tcc.codec.coding import LatentCoder
from tcc.codec.geometry import Size, resize_to
from tcc.errors import BitstreamError
from tcc.formats.sample import Batch
from tcc.methods import Measured
from tcc.methods.ttcc.parts import Branch, Codec, TrialParts, latents, streams, through


class DirectModel(TrialParts):
    """direct: a fresh decoder for the second task on the frozen Ŷ_b, at the base's rate."""

    def __init__(self, task: str, base: Codec, branch: Branch):
        super().__init__()
        self.task, self.base, self.branch = task, base, branch
        self.trained = ("branch",)
        self.origins = {"base": {"base": "codec"}}
        self.freeze()

    def precompute(self, batch: Batch) -> Mapping[str, Tensor]:
        return {"base_hat": torch.round(self.base(batch))}

    def _distortion(self, batch: Batch) -> Tensor:
        return self.branch.distortion(self.frozen(batch)["base_hat"], batch)

    def loss(self, batch: Batch, rate_weight: float) -> Mapping[str, Tensor]:
        distortion = self._distortion(batch)
        return {"total": distortion, "distortion": distortion}

    def rd_cost(self, batch: Batch) -> Tensor:
        return self._distortion(batch)

    def coders(self) -> Mapping[str, LatentCoder]:
        return {"base": LatentCoder(self.base.entropy)}

    def measure(self, batch: Batch, coders: Mapping[str, LatentCoder] | None = None) -> Measured:
        y = self.base(batch)
        y_hat, payloads = through(coders, "base", y)
        coded = self.branch.coded(y_hat, batch.size)
        return Measured(
            bits_by_stream=streams("base", self.base.bits(batch, y, y_hat)),
            outputs={self.task: resize_to(coded, batch.size)},
            coded={self.task: coded},
            payloads={"base": payloads} if coders else {},
        )

    def decode(
        self, payloads: Sequence[Sequence[bytes]], size: Size, coders: Mapping[str, LatentCoder]
    ) -> Mapping[str, Tensor]:
        y_hat = latents(coders["base"], [base for (base,) in payloads], self.base.cells(size))
        return {self.task: self.branch(y_hat, size)}

    def task_model(self, task: str) -> Any:
        return self.branch.task_model


class PixelsModel(TrialParts):
    """pixels: the task model on the original image, no codec and no rate."""

    def __init__(self, task: str, task_model: Any):
        super().__init__()
        self.task, self.own = task, task_model
        self.trained, self.origins = ("own",), {}

    def loss(self, batch: Batch, rate_weight: float) -> Mapping[str, Tensor]:
        distortion = self.own.distortion(batch.image_B3HW, batch)
        return {"total": distortion, "distortion": distortion}

    def rd_cost(self, batch: Batch) -> Tensor:
        return self.own.distortion(batch.image_B3HW, batch)

    def measure(self, batch: Batch, coders: Mapping[str, LatentCoder] | None = None) -> Measured:
        return Measured(bits_by_stream={}, outputs={self.task: batch.image_B3HW})

    def decode(
        self, payloads: Sequence[Sequence[bytes]], size: Size, coders: Mapping[str, LatentCoder]
    ) -> Mapping[str, Tensor]:
        raise BitstreamError("a `pixels` trial has no codec: nothing is coded with it")

    def task_model(self, task: str) -> Any:
        return self.own
