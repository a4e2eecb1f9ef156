"""A NaN in what a task model gives is told, not counted as a class or as no object."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from tcc import registry
from tcc.errors import NonFiniteError
from tcc.records import FailureRecord, TrialRecord
from tcc.stores import open_store
from tcc.trial import attempt
from tcc.trial.finite import predicted

KEYS = ("a", "b", "c")


class Classes(nn.Module):
    """The largest of a layer's outputs, whose bias for the brightest images is ``value``."""

    def __init__(self, value: float = 0.0):
        super().__init__()
        self.layer, self.value = nn.Conv2d(3, 2, 1), value

    def predict(self, image_B3HW):
        poison = torch.where(image_B3HW.amax((1, 2, 3)) > 0.9, self.value, 0.0)
        return list(self.layer(image_B3HW + poison[:, None, None, None]).argmax(1))


def images(brightest: int) -> torch.Tensor:
    found = torch.full((3, 3, 4, 4), 0.5)
    found[brightest] = 1.0
    return found


def test_what_is_finite_passes_and_leaves_no_hook():
    model = Classes()
    for _ in range(2):
        found = predicted("segmentation", model, images(1), KEYS)
        assert [x.shape for x in found] == [(4, 4)] * 3
    assert not model.layer._forward_hooks


def test_large_numbers_are_finite():
    model = Classes()
    nn.init.constant_(model.layer.weight, 5e37)  # their sum is not
    assert len(predicted("segmentation", model, images(1), KEYS)) == 3


@pytest.mark.parametrize("value", [math.nan, math.inf])
@pytest.mark.parametrize("brightest", [0, 2])
def test_a_layer_that_gives_nan_names_the_image(value, brightest):
    with pytest.raises(NonFiniteError, match=f"of image {KEYS[brightest]} is NaN") as caught:
        predicted("segmentation", Classes(value), images(brightest), KEYS)
    assert caught.value.term == "segmentation"


def test_a_decoded_image_with_a_nan_is_named():
    decoded = images(0)
    decoded[1, 2, 3, 3] = math.nan
    with pytest.raises(NonFiniteError, match="what was decoded for depth of image b is NaN"):
        predicted("depth", Classes(), decoded, KEYS)


@pytest.mark.parametrize(
    "odd", [torch.tensor([0.0, math.nan]), {"scores": torch.tensor(math.inf)}, (torch.ones(1) / 0,)]
)
def test_a_prediction_with_a_nan_is_named(odd):
    class Odd(nn.Module):
        def predict(self, image_B3HW):
            return [torch.ones(2), {"labels": torch.ones(1, dtype=torch.int64)}, odd]

    with pytest.raises(NonFiniteError, match="the prediction of detection of image c is NaN"):
        predicted("detection", Odd(), images(0), KEYS)


TASKS = ["classification", "depth", "detection", "keypoints", "segmentation"]


@pytest.mark.parametrize("name", TASKS)
def test_no_task_s_nan_vanishes(name):
    """Weights that are NaN in one layer, whichever it is, show."""
    task = registry.load("tasks", name)
    params = task.Params.model_validate({**task.tiny})
    torch.manual_seed(0)
    model = task.build(params, ("one", "two", "three")).eval()
    image = torch.rand(2, 3, 64, 64)
    with torch.no_grad():
        predicted(name, model, image, KEYS[:2])
        layers = [x for x in model.modules() if isinstance(x, nn.Conv2d | nn.Linear)]
        for layer in (layers[0], layers[len(layers) // 2]):
            before = layer.weight.clone()
            layer.weight[0] = math.nan
            with pytest.raises(NonFiniteError, match=f"{name}.* of image a is NaN"):
                predicted(name, model, image, KEYS[:2])
            layer.weight.copy_(before)


SEGMENTATION = """
study: tiny
data: {scenes: {train: 8, val: 6, select: 2, size: 32}}
pairs: [{base: segmentation, enhancement: reconstruction}]
grid: {lambda_b: [0.3], lambda_e: [0.3], beta: [0]}
model: {channels: [4, 6, 8], latent: 4, blocks: 1}
tasks: {segmentation: {width: 8}}
train: {batch: 4, steps: 4}
wandb: {mode: disabled}
"""


def test_an_evaluation_with_a_nan_fails_with_image_and_step(tiny_plan, tmp_path, monkeypatch):
    from tcc.tasks.segmentation import model

    plan, store = tiny_plan(text=SEGMENTATION), open_store(tmp_path)
    trial = next(trial for trial in plan if trial.kind == "base")
    real, seen = model.Small.forward, []

    def forward(network, image_B3HW):
        if not network.training and not torch.is_grad_enabled() and store.record(trial.id):
            seen.append(len(image_B3HW))
            return {"out": network.dense(image_B3HW * math.nan)}
        return real(network, image_B3HW)

    monkeypatch.setattr(model.Small, "forward", forward)
    outcome = attempt(trial, store)
    assert isinstance(outcome, FailureRecord)
    training = store.record(trial.id).training
    assert outcome.reason == (
        "a layer's output of the segmentation model of image scenes_000000_000000 is NaN or "
        f"infinite, of the weights after step {training.best_step}"
    )
    assert (outcome.step, outcome.term) == (training.best_step, "segmentation")
    monkeypatch.undo()
    again = attempt(trial, store)
    assert isinstance(again, TrialRecord)
    assert again.training == training
