"""base, uncompressed: the codec of the first task, with a reconstruction decoder beside it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import Parameter

from tcc.codec.coding import LatentCoder
from tcc.codec.entropy import round_ste
from tcc.codec.geometry import Size, resize_to
from tcc.formats.sample import Batch
from tcc.methods import Measured
from tcc.methods.ttcc.kinds import RECONSTRUCTION
from tcc.methods.ttcc.parts import Branch, Codec, TrialParts, bpp, latents, streams, through


class BaseModel(TrialParts):
    """base, uncompressed: a codec, its task model, and a reconstruction decoder beside it.

    The decoder's loss enters with weight 1 whatever β; β scales the gradient that it sends into
    the latent, so that the decoder trains alike for every β and, at β = 0, the codec's gradients
    are those of a base without decoder, bit for bit.
    """

    def __init__(
        self, task: str, codec: Codec, branch: Branch, auxiliary: Branch | None,
        *, lmbda: float, auxiliary_weight: float,
    ):  # fmt: skip
        super().__init__()
        self.task, self.lmbda, self.auxiliary_weight = task, lmbda, auxiliary_weight
        self.codec, self.branch, self.auxiliary = codec, branch, auxiliary
        self.trained = ("codec", "branch") + (("auxiliary",) if auxiliary is not None else ())
        self.origins = {}

    def loss(self, batch: Batch, rate_weight: float) -> Mapping[str, Tensor]:
        y = self.codec(batch)
        y_hat = round_ste(y)
        rate = bpp(self.codec.training_bits(batch, y, y_hat), batch)
        distortion = self.branch.distortion(y_hat, batch)
        terms = {"distortion": distortion, "bpp": rate}
        total = self.lmbda * distortion + rate_weight * rate
        if self.auxiliary is not None:
            seen = _ScaleGradient.apply(y_hat, self.auxiliary_weight)
            if self.auxiliary_weight == 0:
                seen = y_hat.detach()
            terms["auxiliary"] = self.auxiliary.distortion(seen, batch)
            total = total + terms["auxiliary"]
        return {"total": total, **terms}

    def rd_cost(self, batch: Batch) -> Tensor:
        y = self.codec(batch)
        y_hat = torch.round(y)
        rate = bpp(self.codec.bits(batch, y, y_hat), batch)
        return self.lmbda * self.branch.distortion(y_hat, batch) + rate

    def coders(self) -> Mapping[str, LatentCoder]:
        return {"base": LatentCoder(self.codec.entropy)}

    def measure(self, batch: Batch, coders: Mapping[str, LatentCoder] | None = None) -> Measured:
        y = self.codec(batch)
        y_hat, payloads = through(coders, "base", y)
        coded = self._coded(y_hat, batch.size)
        return Measured(
            bits_by_stream=streams("base", self.codec.bits(batch, y, y_hat)),
            outputs={task: resize_to(image, batch.size) for task, image in coded.items()},
            coded=coded,
            payloads={"base": payloads} if coders else {},
        )

    def decode(
        self, payloads: Sequence[Sequence[bytes]], size: Size, coders: Mapping[str, LatentCoder]
    ) -> Mapping[str, Tensor]:
        y_hat = latents(coders["base"], [base for (base,) in payloads], self.codec.cells(size))
        return {task: resize_to(image, size) for task, image in self._coded(y_hat, size).items()}

    def _coded(self, y_hat: Tensor, size: Size) -> dict[str, Tensor]:
        """Task → the image-like tensor at the codec's scale."""
        coded = {self.task: self.branch.coded(y_hat, size)}
        if self.auxiliary is not None:
            coded[RECONSTRUCTION] = self.auxiliary.coded(y_hat, size)
        return coded

    def task_model(self, task: str) -> Any:
        branch = self.branch if task == self.task or self.auxiliary is None else self.auxiliary
        return branch.task_model

    def parameter_groups(self) -> Sequence[Sequence[Parameter]]:
        """The decoder's gradients are clipped apart, so that they never weaken the codec's."""
        parts = [[self.codec, self.branch], [self.auxiliary] if self.auxiliary else []]
        groups = [[p for part in group for p in part.parameters()] for group in parts]
        return [[p for p in group if p.requires_grad] for group in groups if group]


class _ScaleGradient(torch.autograd.Function):
    """The identity, whose gradient is multiplied by a constant."""

    @staticmethod
    def forward(ctx: Any, value: Tensor, factor: float) -> Tensor:
        ctx.factor = factor
        return value.view_as(value)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        return gradients[0] * ctx.factor, None
