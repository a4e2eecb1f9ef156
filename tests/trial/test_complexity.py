"""Multiply-accumulates: against hand counts, and to the right part."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from tcc import registry
from tcc.formats.sample import Batch
from tcc.methods import Measured
from tcc.records import Plan, TrialSpec
from tcc.trial.complexity import kmac_per_pixel

METHOD = registry.load("methods", "ttcc")
CONV = 5 * 5 * 3 * 8  # weights of each of Toy's convolutions
Build = Callable[..., Any]


class Coder(nn.Module):
    """Two children, one of which is used by a method."""

    def __init__(self) -> None:
        super().__init__()
        self.down = nn.Conv2d(3, 8, 5, stride=2, padding=2)
        self.side = nn.Module()
        self.side.net = nn.Sequential(nn.Conv2d(8, 4, 1), nn.ReLU())

    def forward(self, x: Tensor) -> Tensor:
        return self.down(x)

    def bits(self, y: Tensor) -> Tensor:
        return self.side.net(y).flatten(1).sum(1).double()


class Head(nn.Module):
    """A task model that predicts without a forward pass of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(3, 5))
        self.drop = nn.Dropout(0.5)

    def predict(self, image: Tensor) -> list[Tensor]:
        assert not self.training
        assert not torch.is_grad_enabled()
        assert not torch.is_autocast_enabled("cpu")
        torch.rand(3)
        return list(self.drop(image).flatten(2).transpose(1, 2) @ self.weight)


class Toy(nn.Module):
    """A trial model whose counts are known: coder (two children), up (one), head."""

    def __init__(self) -> None:
        super().__init__()
        self.coder, self.head = Coder(), Head()
        self.up = nn.Sequential(nn.ConvTranspose2d(8, 3, 5, 2, padding=2, output_padding=1))

    def measure(self, batch: Batch) -> Measured:
        y = self.coder(batch.image_B3HW)
        return Measured(bits_by_stream={"y": self.coder.bits(y)}, outputs={"toy": self.up(y)})

    def task_model(self, task: str) -> Head:
        return self.head


def batch(
    height: int = 64, width: int = 64, sizes: tuple[tuple[int, int], ...] = (), images: int = 1
) -> Batch:
    generator = torch.Generator().manual_seed(0)
    image = torch.rand(images, 3, height, width, generator=generator)
    return Batch(keys=("a",) * images, image_B3HW=image, labels={}, sizes=sizes)


def count(model: Any, measured: Batch) -> dict[str, float]:
    return kmac_per_pixel(model, measured)


def test_each_part_by_hand():
    per_pixel = {
        "coder.down": CONV / 4,  # at half the resolution
        "coder.side": 8 * 4 / 4,
        "up": CONV / 4,  # once for each cell that it reads
        "head": 3 * 5,
    }
    total = sum(per_pixel.values())
    expected = {name: value / 1000 for name, value in {**per_pixel, "total": total}.items()}
    assert count(Toy(), batch()) == expected
    assert count(Toy(), batch(images=3)) == pytest.approx(expected, rel=1e-12)


def test_pixels_are_those_of_the_original_images():
    whole = count(Toy(), batch(64, 64, images=2))
    padded = count(Toy(), batch(64, 64, sizes=((64, 64), (32, 16)), images=2))
    share = 2 * 64 * 64 / (64 * 64 + 32 * 16)
    assert padded == pytest.approx({name: value * share for name, value in whole.items()})


def test_everything_is_as_before_afterwards():
    model = Toy().train()
    model.coder.eval()
    modes = [module.training for module in model.modules()]
    state, weights = torch.get_rng_state(), [p.clone() for p in model.parameters()]
    with torch.autocast("cpu", torch.bfloat16):
        first = count(model, batch())
        assert torch.is_autocast_enabled("cpu")
    assert torch.is_grad_enabled()
    assert torch.equal(torch.get_rng_state(), state)
    assert [module.training for module in model.modules()] == modes
    assert all(not m._forward_hooks and not m._forward_pre_hooks for m in model.modules())
    assert all(torch.equal(a, b) for a, b in zip(weights, model.parameters(), strict=True))
    assert count(model, batch()) == first


def test_everything_is_as_before_after_a_failure():
    model = Toy()
    model.head.weight = nn.Parameter(torch.ones(4, 5))
    with pytest.raises(RuntimeError):
        count(model, batch())
    assert model.head.training
    assert all(not m._forward_hooks and not m._forward_pre_hooks for m in model.modules())
    model.head.weight = nn.Parameter(torch.ones(3, 5))
    assert count(model, batch()) == count(Toy(), batch())


@pytest.fixture
def build(tiny_plan: Callable[..., Plan]) -> Build:
    """The model of the first trial of a kind in a tiny study."""

    def built(kind: str, *changes: str) -> Any:
        plan = tiny_plan(*changes)
        by_id = {trial.id: trial for trial in plan}
        trial = next(trial for trial in plan if trial.kind == kind)

        def above(trial: TrialSpec) -> Mapping[str, TrialSpec]:
            found: dict[str, TrialSpec] = {}
            for need in trial.needs:
                found |= {by_id[need].kind: by_id[need]} | above(by_id[need])
            return found

        def make_task(name: str) -> Any:
            task = registry.load("tasks", name)
            return task.build(task.Params(), ("one", "two"))

        return METHOD.build(trial, above(trial), make_task)

    return built


def conv(kernel: int, channels_in: int, channels_out: int, side: int) -> int:
    return kernel * kernel * channels_in * channels_out * side * side


def test_a_base_by_hand(build: Build):
    """Channels 4, 6, 8, latent 4, one block, 64×64 pixels: a latent of 4×4 cells."""

    def block(channels: int, side: int) -> int:
        half = channels // 2
        ends = conv(1, channels, half, side) + conv(1, half, channels, side)
        return ends + conv(3, half, half, side)

    blocks = block(4, 32) + block(6, 16) + block(8, 8)
    analysis = conv(5, 3, 4, 32) + conv(5, 4, 6, 16) + conv(5, 6, 8, 8) + conv(5, 8, 4, 4)
    synthesis = conv(5, 4, 8, 4) + conv(5, 8, 6, 8) + conv(5, 6, 4, 16) + conv(5, 4, 3, 32)
    found = count(build("base"), batch())
    by_hand = {
        "codec.analysis": analysis + blocks,
        "branch.synthesis": synthesis + blocks,
        "auxiliary.synthesis": synthesis + blocks,
    }
    for name, macs in by_hand.items():
        assert found[name] == macs / 64**2 / 1000
    assert set(found) == {*by_hand, "codec.entropy", "branch.task_model", "total"}
    assert found["total"] == pytest.approx(sum(found.values()) / 2, rel=1e-12)


def entropy_by_hand(model: Any, cells: int) -> int:
    """1×1 and context convolutions of an entropy model without hyperprior."""
    layers = [m for m in model.codec.entropy.modules() if isinstance(m, nn.Conv2d)]
    assert len(layers) >= 3
    return sum(layer.weight.numel() for layer in layers) * cells


def test_an_entropy_model_that_is_measured_and_not_called(build: Build):
    model = build("base")
    found = count(model, batch())["codec.entropy"]
    assert found == entropy_by_hand(model, 16) / 64**2 / 1000


PARTS = {
    "base": {"codec.analysis", "codec.entropy", "branch.synthesis", "branch.task_model",
             "auxiliary.synthesis"},
    "pretrain": {"codec.analysis", "codec.entropy", "branch.synthesis"},
    "enhancement": {"base.analysis", "base.entropy", "tower", "codec.analysis", "codec.entropy",
                    "branch.synthesis"},
    "standalone": {"base.analysis", "base.entropy", "codec.analysis", "codec.entropy",
                   "branch.synthesis"},
    "direct": {"base.analysis", "base.entropy", "branch.synthesis"},
    "single_layer": {"codec.analysis", "codec.entropy", "branch.synthesis"},
    "pixels": {"own"},
}  # fmt: skip


@pytest.mark.parametrize("kind", PARTS)
def test_the_parts_of_each_kind_add_up_to_what_torch_counts(kind: str, build: Build):
    model = build(kind, "model.hyperprior=true").eval()
    found = count(model, batch(37, 50))
    assert set(found) == {*PARTS[kind], "total"}
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        for task, output in model.measure(batch(37, 50)).outputs.items():
            model.task_model(task).predict(output)
    assert found["total"] == counter.get_total_flops() / (37 * 50) / 2000
    assert sum(found.values()) == pytest.approx(2 * found["total"], rel=1e-12)


def test_half_the_scale_is_a_quarter_of_the_codec(build: Build):
    whole = count(build("base"), batch(128, 128))
    half = count(build("base", "train.scale=1/2"), batch(128, 128))
    assert half["codec.analysis"] == pytest.approx(whole["codec.analysis"] / 4)
    assert half["branch.task_model"] == whole["branch.task_model"]


def test_a_detector_is_counted_with_its_heads():
    task = registry.load("tasks", "detection")
    model = Toy()
    model.head = task.build(task.Params(), ("one", "two"))  # type: ignore[assignment]
    found = count(model, batch())
    assert found["head"] > found["up"]
    assert "rest" not in found
