"""The parts that trial models are made of, and what all of them share.

    x ─ g_a ─ y ─ round ─ ŷ ─ g_s ─ task model ─ ẑ          a Codec, then a Branch
                          │
                     entropy model ── side tower ── ŷ_b      conditional: the enhancement

Shape legend: B batch, C latent channels, H W pixels, h w latent cells.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import Parameter

from tcc.codec.coding import LatentCoder
from tcc.codec.entropy import EntropyModel
from tcc.codec.geometry import Size, crop_to, pad_to, rescale, resize_to, scaled_size
from tcc.codec.transforms import STRIDE, AnalysisTransform, SynthesisTransform
from tcc.errors import CheckpointError
from tcc.formats.sample import Batch


class Codec(nn.Module):
    """An analysis transform and the entropy model of its latent, at one codec scale."""

    def __init__(self, analysis: AnalysisTransform, entropy: EntropyModel, scale: float):
        super().__init__()
        self.analysis, self.entropy, self.scale = analysis, entropy, scale

    def forward(self, batch: Batch) -> Tensor:
        """The latent y (B, C, h, w) of images of any size; zero in the cells that hold padding of
        the batch alone."""
        coded = pad_to(rescale(batch.image_B3HW, self.scale), STRIDE)
        y = self.analysis(coded)
        if not batch.padded:
            return y
        own = torch.zeros_like(y[:, :1])
        for index, (height, width) in enumerate(self._cells(batch) or ()):
            own[index, :, :height, :width] = 1
        return y * own

    def training_bits(
        self, batch: Batch, y: Tensor, y_hat: Tensor, side: Tensor | None = None
    ) -> dict[str, Tensor]:
        """Stream → bits of each image, (B,), differentiable."""
        return self.entropy(y, y_hat, side, self._cells(batch))

    def bits(
        self, batch: Batch, y: Tensor, y_hat: Tensor, side: Tensor | None = None
    ) -> dict[str, Tensor]:
        """Stream → bits of each image as evaluated, (B,)."""
        return self.entropy.measure(y, y_hat, side, self._cells(batch))

    def _cells(self, batch: Batch) -> list[Size] | None:
        """Height and width of each image's own part of the latent, in cells; None where each has
        all of it."""
        if not batch.padded:
            return None
        return [self.cells(size) for size in batch.sizes]

    def cells(self, size: Size) -> Size:
        """(h, w) of the latent of an image of ``size``."""
        height, width = scaled_size(size, self.scale)
        return -(-height // STRIDE), -(-width // STRIDE)


class Branch(nn.Module):
    """A synthesis transform and the task model behind it."""

    def __init__(self, synthesis: SynthesisTransform, task_model: Any, scale: float):
        super().__init__()
        self.synthesis, self.task_model, self.scale = synthesis, task_model, scale

    def forward(self, y_hat_BChw: Tensor, size: tuple[int, int]) -> Tensor:
        """The image-like tensor (B, 3, H, W) that the task model reads."""
        return resize_to(self.coded(y_hat_BChw, size), size)

    def coded(self, y_hat_BChw: Tensor, size: tuple[int, int]) -> Tensor:
        """The same at the codec's scale: (B, 3, ⌈sH⌉, ⌈sW⌉)."""
        return crop_to(self.synthesis(y_hat_BChw), scaled_size(size, self.scale))

    def distortion(self, y_hat_BChw: Tensor, batch: Batch) -> Tensor:
        """d(Ẑ, Z), a scalar."""
        return self.task_model.distortion(self(y_hat_BChw, batch.size), batch)


class TrialParts(nn.Module):
    """What the trial models share: which parts are trained, and their checkpoint.

    ``trained`` names the submodules that this trial trains and saves; the rest is frozen.
    ``origins``: kind of parent → {own submodule: submodule in the parent's checkpoint}.
    """

    trained: tuple[str, ...]
    origins: Mapping[str, Mapping[str, str]]

    def freeze(self) -> None:
        """Takes the gradients of all but the trained parts."""
        for name, parameter in self.named_parameters():
            if not any(name.startswith(f"{part}.") for part in self.trained):
                parameter.requires_grad_(False)

    def train(self, mode: bool = True) -> TrialParts:
        super().train(False)
        for name in self.trained:
            self.get_submodule(name).train(mode)
        self.training = mode
        return self

    def parameter_groups(self) -> Sequence[Sequence[Parameter]]:
        return [[parameter for parameter in self.parameters() if parameter.requires_grad]]

    def trained_state(self) -> Mapping[str, Tensor]:
        return {
            f"{name}.{key}": value
            for name in self.trained
            for key, value in self.get_submodule(name).state_dict().items()
        }

    def load_trained(self, state: Mapping[str, Tensor]) -> None:
        known = {f"{name}." for name in self.trained}
        strange = [key for key in state if not any(key.startswith(prefix) for prefix in known)]
        if strange:
            raise CheckpointError(f"checkpoint has unexpected tensors: {', '.join(strange[:5])}")
        for name in self.trained:
            load_part(self.get_submodule(name), state, name)

    def load_parents(self, states: Mapping[str, Mapping[str, Tensor]]) -> None:
        for kind, parts in self.origins.items():
            for own, theirs in parts.items():
                if kind in states:
                    load_part(self.get_submodule(own), states[kind], theirs)

    def precompute(self, batch: Batch) -> Mapping[str, Tensor]:
        """Nothing is frozen unless a subclass says so."""
        return {}

    def coders(self) -> Mapping[str, LatentCoder]:
        """Nothing is coded unless a subclass says so."""
        return {}

    def refuse_short(
        self, payloads: Sequence[Sequence[bytes]], size: Size, coders: Mapping[str, LatentCoder]
    ) -> None:
        codecs = [module for module in self.children() if isinstance(module, Codec)]
        for layers in payloads:
            for stream, coder, codec in zip(layers, coders.values(), codecs, strict=True):
                coder.refuse_short(stream, codec.cells(size))

    def frozen(self, batch: Batch) -> Mapping[str, Tensor]:
        """What `precompute` gave for this batch, kept or made now; always in full precision."""
        if batch.frozen:
            return batch.frozen
        with torch.no_grad(), torch.autocast(batch.image_B3HW.device.type, enabled=False):
            return self.precompute(batch)


def bpp(bits: Mapping[str, Tensor], batch: Batch) -> Tensor:
    """Mean over images of each one's bits per pixel of the original."""
    bits_B = torch.stack(list(bits.values())).sum(0)
    return (bits_B / bits_B.new_tensor([h * w for h, w in batch.sizes])).mean()


def streams(layer: str, bits: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """An entropy model's bits under the names of a layer's streams: ``base.y`` …"""
    return {f"{layer}.{name}": value.double() for name, value in bits.items()}


def through(
    coders: Mapping[str, LatentCoder] | None, layer: str, y: Tensor, side: Tensor | None = None
) -> tuple[Tensor, list[bytes]]:
    """ŷ (B, C, h, w) and the stream of each image, of which it was decoded; without coders, ŷ as
    it would be, and no stream."""
    y_hat = torch.round(y)
    if coders is None:
        return y_hat, []
    each = [
        coders[layer].through(
            y[index : index + 1],
            y_hat[index : index + 1],
            None if side is None else side[index : index + 1],
        )
        for index in range(len(y))
    ]
    return torch.cat([decoded for _, decoded in each]), [stream for stream, _ in each]


def latents(
    coder: LatentCoder, streams: Sequence[bytes], cells: Size, side: Tensor | None = None
) -> Tensor:
    """ŷ (B, C, h, w) of one stream an image."""
    each = [
        coder.decode(stream, cells, None if side is None else side[index : index + 1])
        for index, stream in enumerate(streams)
    ]
    return torch.cat(each)


def load_part(module: nn.Module, state: Mapping[str, Tensor], prefix: str) -> None:
    """Loads ``state``'s tensors under ``prefix``, all of them and only them."""
    own = {
        key.removeprefix(f"{prefix}."): value
        for key, value in state.items()
        if key.startswith(f"{prefix}.")
    }
    try:
        module.load_state_dict(own)
    except RuntimeError as error:
        raise CheckpointError(f"weights of {prefix!r} do not fit the model: {error}") from None
