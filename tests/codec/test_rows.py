"""Rows of float32 with margins are those of float64, whatever the weights and the threads."""

from __future__ import annotations

import math
from dataclasses import dataclass

import pytest
import torch

from tcc.codec import rows as module
from tcc.codec.context import CONTEXTS
from tcc.codec.entropy import EntropyModel
from tcc.codec.rows import Cells, Known, Latent, Rows

C, SIZE = 48, (24, 32)


@dataclass
class Case:
    """All cells of a latent that is known, as one pass."""

    entropy: EntropyModel
    latent: Latent
    cells: Cells
    known: Known

    def fast(self) -> tuple[torch.Tensor, torch.Tensor]:
        return Rows(self.entropy).of(self.latent, self.cells, self.known)

    def exact(self) -> tuple[torch.Tensor, torch.Tensor]:
        """By float64 alone, and a few cells at a time."""
        rows = Rows(self.entropy)
        parts = [
            rows.of(self.latent, self.cells.at(torch.arange(begin, begin + 48)), self.known)
            for begin in range(0, len(self.cells), 48)
        ]
        nearest, numbers = zip(*parts, strict=True)
        return torch.cat(nearest), torch.cat(numbers)


def case(context: str = "masked", side: bool = True, spread: float = 2.0) -> Case:
    entropy = EntropyModel(C, context=context, hyperprior=False, side_features=20 if side else 0)
    with torch.no_grad():
        entropy.head.weight.normal_(std=0.5)
    latent = Latent(SIZE, C, torch.device("cpu"))
    latent.fill((spread * torch.randn(1, C, *SIZE)).round())
    rows, columns = torch.ones(SIZE).nonzero(as_tuple=True)
    features = {"side": torch.randn(1, 20, *SIZE)} if side else {}
    return Case(entropy.eval().double(), latent, Cells(rows, columns, False), Known(features))


def beside_edges() -> Case:
    """One cell of each output has a parameter next to the edge of a step, in float64."""
    drawn, outputs = case(), torch.arange(2 * C)
    head, at = drawn.entropy.head, 5 * outputs
    network = module._Network(drawn.entropy, torch.float64)
    found = network(drawn.latent, drawn.cells, drawn.known)[0][at, outputs]
    unit = torch.ones_like(found)
    unit[:C] *= module.MEAN_STEPS * module.LATENT_GAIN
    unit[C:] /= math.log(module.SCALE_RATIO)
    head.bias += (found.floor() + 0.5 + 1e-10 - found) / unit
    return drawn


def equal(one: tuple[torch.Tensor, ...], other: tuple[torch.Tensor, ...]) -> bool:
    return all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


@pytest.fixture(autouse=True)
def _no_grad():
    with torch.inference_mode():
        yield


@pytest.fixture
def exact_cells(monkeypatch):
    """How many cells float64 looked at."""
    seen = []
    run = module._Network.steps

    def spy(self, hidden, guess, latent, cells):
        if self._dtype == torch.float64:
            seen.append(len(cells))
        return run(self, hidden, guess, latent, cells)

    monkeypatch.setattr(module._Network, "steps", spy)
    return seen


@pytest.mark.parametrize("context", CONTEXTS)
@pytest.mark.parametrize("side", [False, True])
def test_rows_are_those_of_float64(context, side):
    for spread in (0.3, 2.0, 300.0):
        drawn = case(context, side, spread)
        assert equal(drawn.fast(), drawn.exact())


def test_most_cells_are_left_to_float32(exact_cells):
    drawn = case()
    drawn.fast()
    assert sum(exact_cells) < 0.2 * len(drawn.cells)


def times_100(entropy: EntropyModel) -> None:
    for parameter in entropy.parameters():
        parameter.mul_(100)


def all_positive(entropy: EntropyModel) -> None:
    for parameter in entropy.parameters():
        parameter.abs_()


def beyond_float32(entropy: EntropyModel) -> None:
    entropy.hidden[1].weight.mul_(1e30)
    entropy.head.weight.mul_(1e-30)
    entropy.inputs["side"].weight.mul_(1e15)


def of_one_direction(entropy: EntropyModel) -> None:
    for layer in (entropy.inputs["side"], entropy.hidden[1], entropy.head):
        left, right = torch.randn(len(layer.weight)), torch.randn(layer.weight.shape[1])
        layer.weight.copy_((left[:, None] * right)[:, :, None, None] / 10)


def one_huge_channel(entropy: EntropyModel) -> None:
    entropy.head.weight[3] *= 1e6
    entropy.hidden[1].weight[5] *= 1e4


def no_numbers(entropy: EntropyModel) -> None:
    entropy.head.weight[7] = float("nan")
    entropy.head.bias[9] = float("inf")


@pytest.mark.parametrize(
    "change",
    [
        times_100,
        all_positive,
        beyond_float32,
        of_one_direction,
        one_huge_channel,
        no_numbers,
    ],
)
def test_rows_are_those_of_float64_under_odd_weights(change):
    drawn = case()
    change(drawn.entropy)
    assert equal(drawn.fast(), drawn.exact())


def test_rows_are_the_same_on_any_number_of_threads():
    drawn = case()
    before, found = torch.get_num_threads(), []
    try:
        for count in (1, 4):
            torch.set_num_threads(count)
            found.append(drawn.fast())
    finally:
        torch.set_num_threads(before)
    assert equal(*found)


def test_too_narrow_a_margin_is_noticed(exact_cells, monkeypatch):
    drawn = case()
    monkeypatch.setattr(module, "_MARGIN", 0.01)
    assert equal(drawn.fast(), drawn.exact())
    assert exact_cells[1] == len(drawn.cells)


def test_next_to_edges_float32_alone_would_give_others():
    drawn = beside_edges()
    assert equal(drawn.fast(), drawn.exact())
    alone, exact = (
        module._Network(drawn.entropy, dtype)(drawn.latent, drawn.cells, drawn.known)[0].round()
        for dtype in (torch.float32, torch.float64)
    )
    assert (alone != exact).sum() > 10


def test_products_of_less_than_float32_are_noticed(exact_cells, monkeypatch):
    product = module._product

    def coarse(x, weight):
        if x.dtype == torch.float64:
            return product(x, weight)
        return product(x.bfloat16().float(), weight.bfloat16().float())

    monkeypatch.setattr(module, "_product", coarse)
    drawn = case()
    assert equal(drawn.fast(), drawn.exact())
    assert exact_cells[1] == len(drawn.cells)
