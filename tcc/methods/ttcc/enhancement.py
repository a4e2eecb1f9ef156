"""enhancement, standalone, single_layer, pretrain: the codec of the second task."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from tcc.codec.coding import LatentCoder
from tcc.codec.entropy import round_ste
from tcc.codec.geometry import Size, resize_to
from tcc.formats.sample import Batch
from tcc.methods import Measured
from tcc.methods.ttcc.parts import Branch, Codec, TrialParts, bpp, latents, streams, through


class EnhancementModel(TrialParts):
    """enhancement, standalone, single_layer, pretrain: one codec for the second task.

    ``seen_of_base``: latent channels of Ŷ_b that the synthesis sees beside Ŷ_e, 0 for none.
    ``base``: the frozen base codec, whose rate counts and whose Ŷ_b is side information through
    ``tower``; both None where there is no base. Without tower the side information is zero.
    """

    def __init__(
        self, task: str, base: Codec | None, tower: nn.Module | None, codec: Codec, branch: Branch,
        *, lmbda: float, seen_of_base: int, entropy_only: bool,
    ):  # fmt: skip
        super().__init__()
        self.task, self.lmbda, self.entropy_only = task, lmbda, entropy_only
        self.seen_of_base = seen_of_base
        self.base, self.tower, self.codec, self.branch = base, tower, codec, branch
        self.origins = {"base": {"base": "codec"}} if base is not None else {}
        shared = {"codec": "codec", "branch": "branch"}
        if entropy_only:
            self.trained = ("codec.entropy",)
            self.origins["enhancement"] = shared
        else:
            self.trained = ("codec", "branch") + (("tower",) if tower is not None else ())
            self.origins["pretrain"] = shared
        self.freeze()

    def precompute(self, batch: Batch) -> Mapping[str, Tensor]:
        frozen = {}
        if self.base is not None and (self.tower is not None or self.seen_of_base):
            frozen["base_hat"] = torch.round(self.base(batch))
        if self.entropy_only:
            frozen["y"] = self.codec(batch)
        return frozen

    def _latents(self, batch: Batch) -> tuple[Tensor, Tensor | None]:
        """y with gradients where it is trained, and Ŷ_b without."""
        frozen = self.frozen(batch)
        y = frozen["y"] if self.entropy_only else self.codec(batch)
        return y, frozen.get("base_hat")

    def _side(self, base_hat: Tensor | None) -> Tensor | None:
        return None if self.tower is None or base_hat is None else self.tower(base_hat)

    def _seen(self, y_hat: Tensor, base_hat: Tensor | None) -> Tensor:
        """What the synthesis sees: Ŷ_e, or Ŷ_e and Ŷ_b (zeros without a base)."""
        if not self.seen_of_base:
            return y_hat
        if base_hat is None:
            batch, _, height, width = y_hat.shape
            base_hat = y_hat.new_zeros(batch, self.seen_of_base, height, width)
        return torch.cat([y_hat, base_hat], dim=1)

    def loss(self, batch: Batch, rate_weight: float) -> Mapping[str, Tensor]:
        y, base_hat = self._latents(batch)
        y_hat = round_ste(y)
        rate = bpp(self.codec.training_bits(batch, y, y_hat, self._side(base_hat)), batch)
        if self.entropy_only:
            return {"total": rate, "bpp": rate}
        distortion = self.branch.distortion(self._seen(y_hat, base_hat), batch)
        total = self.lmbda * distortion + rate_weight * rate
        return {"total": total, "distortion": distortion, "bpp": rate}

    def rd_cost(self, batch: Batch) -> Tensor:
        y, base_hat = self._latents(batch)
        y_hat = torch.round(y)
        rate = bpp(self.codec.bits(batch, y, y_hat, self._side(base_hat)), batch)
        if self.entropy_only:
            return rate
        return self.lmbda * self.branch.distortion(self._seen(y_hat, base_hat), batch) + rate

    @property
    def _layer(self) -> str:
        return "enhancement" if self.base is not None else "single_layer"

    def coders(self) -> Mapping[str, LatentCoder]:
        base = {} if self.base is None else {"base": LatentCoder(self.base.entropy)}
        return base | {self._layer: LatentCoder(self.codec.entropy, self.tower)}

    def measure(self, batch: Batch, coders: Mapping[str, LatentCoder] | None = None) -> Measured:
        base_hat, bits, payloads = None, {}, {}
        if self.base is not None:
            base_y = self.base(batch)
            base_hat, payloads["base"] = through(coders, "base", base_y)
            bits |= streams("base", self.base.bits(batch, base_y, base_hat))
        y = self.codec(batch)
        seen = None if self.tower is None else base_hat
        y_hat, payloads[self._layer] = through(coders, self._layer, y, seen)
        bits |= streams(self._layer, self.codec.bits(batch, y, y_hat, self._side(base_hat)))
        coded = self.branch.coded(self._seen(y_hat, base_hat), batch.size)
        return Measured(
            bits_by_stream=bits,
            outputs={self.task: resize_to(coded, batch.size)},
            coded={self.task: coded},
            payloads=payloads if coders else {},
        )

    def decode(
        self, payloads: Sequence[Sequence[bytes]], size: Size, coders: Mapping[str, LatentCoder]
    ) -> Mapping[str, Tensor]:
        base_hat = None
        if self.base is not None:
            below = [layers[0] for layers in payloads]
            base_hat = latents(coders["base"], below, self.base.cells(size))
        seen = None if self.tower is None else base_hat
        own = [layers[-1] for layers in payloads]
        y_hat = latents(coders[self._layer], own, self.codec.cells(size), seen)
        return {self.task: self.branch(self._seen(y_hat, base_hat), size)}

    def task_model(self, task: str) -> Any:
        return self.branch.task_model
