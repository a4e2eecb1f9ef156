"""Times tcc's coder of latents against CompressAI's, and weighs their bytes: uv run python FILE.

    y, side ──┬─ LatentCoder ─────────────────────────────────────► stream ──► ŷ = round(y)
              └─ CheckerboardLatentCodec, RasterScanLatentCodec ──► streams ─► ŷ = round(y − μ) + μ

One latent, that of a 512×768 image at C = 192, and equal weights, so that both see the same μ and σ
(but for the other ŷ that their contexts look at); y is drawn from the model itself with round(y) as
context, which at small σ costs CompressAI bytes. The rounds of both alternate. The goal is that tcc
codes and decodes 1.5 times as fast, in at most 1 % more bytes. Seconds are of the wall clock; where
other work shares the cores, those of the CPU say more.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any

import torch
from compressai.entropy_models import GaussianConditional
from compressai.latent_codecs import (
    CheckerboardLatentCodec,
    GaussianConditionalLatentCodec,
    RasterScanLatentCodec,
)
from compressai.layers import CheckerboardMaskedConv2d, MaskedConv2d
from compressai.models.google import get_scale_table
from torch import Tensor, nn

from tcc.codec.coding import LatentCoder
from tcc.codec.context import KERNEL
from tcc.codec.entropy import EntropyModel
from tcc.codec.gaussian import scale_of
from tcc.codec.geometry import Size
from tcc.codec.transforms import LATENT_GAIN

STRIDE = 16  # pixels a latent cell, each way
MEAN_STD = 1.5  # of the μ that the drawn weights give
CONTEXT_GAIN = 3  # on initial weights, so that ŷ and the side information move μ alike
GOAL_RATIO, GOAL_BYTES = 1.5, 0.01


def main() -> None:
    """Each context in turn."""
    parser = argparse.ArgumentParser(description=__doc__.partition(":")[0])
    parser.add_argument("--context", choices=THEIRS, nargs="+", default=list(THEIRS))
    parser.add_argument("--latent", type=int, default=192, help="channels C")
    parser.add_argument("--size", type=int, nargs=2, default=(512, 768), help="pixels, H W")
    parser.add_argument("--scales", type=float, nargs=2, default=(0.3, 5.0), help="σ, least most")
    parser.add_argument("--repeats", type=int, default=7, help="rounds of the checkerboard")
    parser.add_argument("--masked-repeats", type=int, default=1, help="CompressAI's take 20 s each")
    parser.add_argument("--threads", type=int, default=1, help="of torch")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    if asked.size[1] % (2 * STRIDE):
        parser.error(f"--size: CompressAI's checkerboard needs a width of {2 * STRIDE} times n")
    torch.set_num_threads(asked.threads)

    size = asked.size[0] // STRIDE, asked.size[1] // STRIDE
    repeats = {"checkerboard": asked.repeats, "masked": asked.masked_repeats}
    found = []
    for context in asked.context:
        torch.manual_seed(asked.seed)
        case = drawn_case(context, asked.latent, size, *asked.scales)
        found.append(compared(case, repeats[context]))
        if not asked.json:
            print(table(found[-1]), flush=True)
    if asked.json:
        told = {"threads": asked.threads, "size": asked.size, "latent": asked.latent}
        print(json.dumps({**told, "contexts": [asdict(comparison) for comparison in found]}))


@dataclass(frozen=True)
class Case:
    """What is coded: y (1, C, h, w) given side (1, 2C, h, w), under the weights of ``entropy``."""

    context: str
    entropy: EntropyModel
    y: Tensor
    side: Tensor

    @property
    def size(self) -> Size:
        return self.y.shape[-2], self.y.shape[-1]


@dataclass(frozen=True)
class Timed:
    """One coder: medians over the rounds. ``mse``: of ŷ against y; ``exact``: the decoder gave the
    encoder's ŷ; ``estimate``: bytes by −log2 P of what it codes, without a coder."""

    coder: str
    encode_s: float
    decode_s: float
    sum_s: float
    cpu_s: float
    bytes: int
    estimate: float
    mse: float
    exact: bool


@dataclass(frozen=True)
class Comparison:
    """Ratios are CompressAI's seconds over tcc's: of the medians, and of each round's sums."""

    context: str
    rounds: int
    ratio: float
    ratio_cpu: float
    ratio_by_round: list[float]
    bytes_more: float  # of tcc, relative to CompressAI's
    scale_quantiles: list[float]  # 0, 1, 50, 99 and 100 % of σ
    parameters_differ: float  # at most, between the two at equal ŷ
    tcc: Timed
    compressai: Timed

    @property
    def met(self) -> bool:
        return self.ratio >= GOAL_RATIO and self.bytes_more <= GOAL_BYTES


@torch.no_grad()
def drawn_case(context: str, latent: int, size: Size, least: float, most: float) -> Case:
    """Weights under which σ spreads from ``least`` to ``most``, and a y that follows them."""
    entropy = EntropyModel(latent, context=context, hyperprior=False, side_features=2 * latent)
    entropy.eval().context.conv.weight.mul_(CONTEXT_GAIN)
    side = torch.randn(1, 2 * latent, *size)
    conditioning = entropy.conditioning(size, side=side)
    spread_head(entropy, conditioning, least, most)
    noise = torch.randn(1, latent, *size)
    y_hat = torch.zeros_like(noise)
    while True:  # each turn settles the next pass, and most of those after it
        mean, scale = entropy.parameters_of(y_hat, conditioning)
        y = mean + scale * noise
        if torch.equal(y.round(), y_hat):
            return Case(context, entropy, y, side)
        y_hat = y.round()


def spread_head(entropy: EntropyModel, conditioning: Tensor, least: float, most: float) -> None:
    """Random weights of the head: each channel has its own middle of log σ."""
    head, latent = entropy.head, entropy.head.out_channels // 2
    low, high = math.log(least), math.log(most)
    std = torch.cat(
        (torch.full((latent,), MEAN_STD / LATENT_GAIN), torch.full((latent,), (high - low) / 20))
    )
    middle = torch.cat(
        (torch.zeros(latent), torch.linspace(low + 3 * std[-1], high - 3 * std[-1], latent))
    )
    y_hat = (2 * torch.randn(1, latent, *conditioning.shape[-2:])).round()
    hidden = entropy.hidden(conditioning + entropy.inputs["context"](entropy.context(y_hat)))
    head.weight.normal_()
    head.bias.zero_()
    out = head(hidden)[0].flatten(1)
    gain = std / out.std(1)
    head.weight.mul_(gain[:, None, None, None])
    head.bias.copy_(middle - gain * out.mean(1))


class Tcc:
    """Our coder."""

    def __init__(self, entropy: EntropyModel):
        self._entropy = entropy
        self._coder = LatentCoder(entropy)

    def encode(self, y: Tensor, side: Tensor) -> tuple[list[bytes], Tensor]:
        """Streams, and the ŷ that a decoder must give."""
        y_hat = y.round()
        return [self._coder.encode(y, y_hat, side)], y_hat

    def decode(self, streams: list[bytes], size: Size, side: Tensor) -> Tensor:
        """ŷ (1, C, h, w)."""
        return self._coder.decode(streams[0], size, side)

    def estimate(self, case: Case, y_hat: Tensor) -> float:
        """Bytes of ŷ by −log2 P."""
        bits = self._entropy.measure(case.y, y_hat, case.side)
        return float(bits["y"]) / 8


class CompressAI(ABC):
    """One of its latent codecs, with its default table of σ."""

    def __init__(self, entropy: EntropyModel):
        self._gaussian = GaussianConditional(None).eval()
        self._gaussian.update_scale_table(get_scale_table())
        self._codec = self._build(entropy, self._gaussian).eval()

    @abstractmethod
    def _build(self, entropy: EntropyModel, gaussian: GaussianConditional) -> Any: ...

    @abstractmethod
    def parameters(self, y_hat: Tensor, side: Tensor) -> tuple[Tensor, Tensor]:
        """μ and σ, (1, C, h, w), when the contexts look at that ŷ."""

    def encode(self, y: Tensor, side: Tensor) -> tuple[list[bytes], Tensor]:
        """Streams, and the ŷ that a decoder must give."""
        coded = self._codec.compress(y, side)
        return [stream for (stream,) in coded["strings"]], coded["y_hat"]

    def decode(self, streams: list[bytes], size: Size, side: Tensor) -> Tensor:
        """ŷ (1, C, h, w)."""
        strings = [[stream] for stream in streams]
        return self._codec.decompress(strings, self._shape(size), side)["y_hat"]

    def _shape(self, size: Size) -> tuple[int, ...]:
        return size

    def estimate(self, case: Case, y_hat: Tensor) -> float:
        """Bytes of round(y − μ) by −log2 P, under the μ and σ that its own ŷ gives."""
        mean, scale = self.parameters(y_hat, case.side)
        _, likelihood = self._gaussian(case.y, scale, mean)
        return float(-likelihood.double().log2().sum()) / 8


class Checkerboard(CompressAI):
    """In two passes, each with a stream."""

    def _build(self, entropy: EntropyModel, gaussian: GaussianConditional) -> Any:
        self._latent = entropy.head.out_channels // 2
        return CheckerboardLatentCodec(
            latent_codec={"y": GaussianConditionalLatentCodec(gaussian_conditional=gaussian)},
            entropy_parameters=Parameters(entropy, ("context", "side")),
            context_prediction=context_conv(entropy, CheckerboardMaskedConv2d),
        )

    def _shape(self, size: Size) -> tuple[int, ...]:
        return self._latent, *size

    def parameters(self, y_hat: Tensor, side: Tensor) -> tuple[Tensor, Tensor]:
        codec = self._codec
        context = codec._keep_only(codec.context_prediction(y_hat), "non_anchor")
        scale, mean = codec.entropy_parameters(codec.merge(context, side)).chunk(2, dim=1)
        return mean, scale


class RasterScan(CompressAI):
    """Cell by cell, in one stream."""

    def _build(self, entropy: EntropyModel, gaussian: GaussianConditional) -> Any:
        return RasterScanLatentCodec(
            gaussian_conditional=gaussian,
            entropy_parameters=Parameters(entropy, ("side", "context")),
            context_prediction=context_conv(entropy, MaskedConv2d),
        )

    def parameters(self, y_hat: Tensor, side: Tensor) -> tuple[Tensor, Tensor]:
        codec = self._codec
        merged = codec.merge(side, codec.context_prediction(y_hat))
        scale, mean = codec.entropy_parameters(merged).chunk(2, dim=1)
        return mean, scale


THEIRS: dict[str, type[CompressAI]] = {"checkerboard": Checkerboard, "masked": RasterScan}


class Parameters(nn.Module):
    """CompressAI's ``entropy_parameters`` with tcc's weights: features as CompressAI joins them,
    (B, 4C, h, w) → (σ, μ), (B, 2C, h, w). LATENT_GAIN is in the weights."""

    def __init__(self, entropy: EntropyModel, order: Sequence[str]):
        super().__init__()
        weights = [entropy.inputs[name].weight for name in order]
        bias = entropy.hidden_bias.flatten()
        first, conv, second = entropy.hidden
        gain = torch.ones_like(entropy.head.bias)
        gain[: len(gain) // 2] = LATENT_GAIN
        self.layers = nn.Sequential(
            conv1x1(torch.cat(weights, dim=1), bias),
            first,
            conv,
            second,
            conv1x1(gain[:, None, None, None] * entropy.head.weight, gain * entropy.head.bias),
        )

    def forward(self, features: Tensor) -> Tensor:
        mean, log_scale = self.layers(features).chunk(2, dim=1)
        return torch.cat((scale_of(log_scale), mean), dim=1)


@torch.no_grad()
def conv1x1(weight: Tensor, bias: Tensor) -> nn.Conv2d:
    """That has these weights."""
    conv = nn.Conv2d(weight.shape[1], weight.shape[0], 1)
    conv.weight.copy_(weight)
    conv.bias.copy_(bias)
    return conv


@torch.no_grad()
def context_conv(entropy: EntropyModel, kind: Callable[..., nn.Conv2d]) -> nn.Conv2d:
    """CompressAI's masked convolution with tcc's weights, of ŷ instead of ŷ / LATENT_GAIN."""
    ours = entropy.context.conv
    conv = kind(ours.in_channels, ours.out_channels, KERNEL, padding=KERNEL // 2)
    conv.weight.copy_(ours.weight * ours.mask / LATENT_GAIN)
    conv.bias.copy_(ours.bias)
    return conv


@torch.inference_mode()
def compared(case: Case, rounds: int) -> Comparison:
    """Both coders in turn, each of them first every other round."""
    ours, theirs = Tcc(case.entropy), THEIRS[case.context](case.entropy)
    coders = {"tcc": ours, "CompressAI": theirs}
    seconds: dict[str, list[tuple[float, float, float]]] = {name: [] for name in coders}
    results: dict[str, Timed] = {}
    for index in range(-1, rounds):
        order = list(coders)[:: 1 if index % 2 == 0 else -1]
        for name in order:
            if index < 0:  # warm, on a few cells
                y, side = case.y[..., :4, :4], case.side[..., :4, :4]
                coders[name].decode(coders[name].encode(y, side)[0], (4, 4), side)
                continue
            cpu, began = time.process_time(), time.perf_counter()
            streams, kept = coders[name].encode(case.y, case.side)
            between = time.perf_counter()
            y_hat = coders[name].decode(streams, case.size, case.side)
            ended = time.perf_counter()
            took = between - began, ended - between, time.process_time() - cpu
            seconds[name].append(took)
            results[name] = Timed(
                coder=name,
                encode_s=median(encode for encode, _, _ in seconds[name]),
                decode_s=median(decode for _, decode, _ in seconds[name]),
                sum_s=median(encode + decode for encode, decode, _ in seconds[name]),
                cpu_s=median(cpu for _, _, cpu in seconds[name]),
                bytes=sum(len(stream) for stream in streams),
                estimate=coders[name].estimate(case, y_hat),
                mse=float((case.y - y_hat).square().mean()),
                exact=torch.equal(y_hat, kept),
            )
    conditioning = case.entropy.conditioning(case.size, side=case.side)
    mean, scale = case.entropy.parameters_of(case.y.round(), conditioning)
    their_mean, their_scale = theirs.parameters(case.y.round(), case.side)
    sums = ([encode + decode for encode, decode, _ in seconds[name]] for name in coders)
    return Comparison(
        context=case.context,
        rounds=rounds,
        ratio=results["CompressAI"].sum_s / results["tcc"].sum_s,
        ratio_cpu=results["CompressAI"].cpu_s / results["tcc"].cpu_s,
        ratio_by_round=[their / our for our, their in zip(*sums, strict=True)],
        bytes_more=results["tcc"].bytes / results["CompressAI"].bytes - 1,
        scale_quantiles=[float(scale.quantile(share)) for share in (0, 0.01, 0.5, 0.99, 1)],
        parameters_differ=float(
            torch.maximum((mean - their_mean).abs(), (scale - their_scale).abs()).max()
        ),
        tcc=results["tcc"],
        compressai=results["CompressAI"],
    )


def table(found: Comparison) -> str:
    """Lines to read."""
    low, high = min(found.ratio_by_round), max(found.ratio_by_round)
    quantiles = " ".join(f"{value:.2f}" for value in found.scale_quantiles)
    lines = [
        f"{found.context}, {found.rounds} rounds; σ at 0 1 50 99 100 %: {quantiles}; "
        f"μ, σ of both agree to {found.parameters_differ:.1e}",
        f"{'':12}{'encode s':>9}{'decode s':>9}{'sum s':>8}{'CPU s':>8}"
        f"{'bytes':>9}{'estimate':>10}{'over':>8}{'MSE':>8}  decodes",
    ]
    for coder in (found.tcc, found.compressai):
        lines.append(
            f"{coder.coder:12}{coder.encode_s:9.3f}{coder.decode_s:9.3f}{coder.sum_s:8.3f}"
            f"{coder.cpu_s:8.3f}{coder.bytes:9}{coder.estimate:10.0f}"
            f"{coder.bytes / coder.estimate - 1:+8.2%}{coder.mse:8.4f}"
            f"  {'exactly' if coder.exact else 'NOT what was coded'}"
        )
    lines.append(
        f"tcc is {found.ratio:.2f} times as fast ({low:.2f} to {high:.2f}; on the CPU "
        f"{found.ratio_cpu:.2f}), {found.bytes_more:+.2%} bytes: the goal, {GOAL_RATIO} times and "
        f"at most {GOAL_BYTES:.0%} more, is {'met' if found.met else 'NOT met'}\n"
    )
    return "\n".join(lines)


if __name__ == "__main__":
    main()
