"""The training loop's schedules, its picking rule and its failures."""

import math
from dataclasses import dataclass
from itertools import pairwise

import pytest
import torch
from torch import nn

from tcc.errors import NonFiniteError, TrialError
from tcc.formats.sample import Batch
from tcc.records import TrainRecipe
from tcc.trial.loop import learning_rate, rate_weight, train

torch.set_num_threads(1)


def recipe(**changes) -> TrainRecipe:
    fields = dict(
        steps=100, batch=1, lr=0.1, decay=0.3, clip=1.0, precision="fp32", threads=1, rate_ramp=0.5,
        rate_start=0.05, select_every=10, patience=0, crop=0, flip=False, scale=1.0,
    )  # fmt: skip
    return TrainRecipe(**(fields | changes))


def test_learning_rate_is_constant_then_falls_to_nearly_zero():
    rates = [learning_rate(recipe(), step) for step in range(1, 101)]
    assert rates[:70] == [0.1] * 70
    assert all(later < earlier for earlier, later in pairwise(rates[69:]))
    assert 0 < rates[-1] < 0.001
    assert learning_rate(recipe(decay=0.0), 100) == 0.1


def test_rate_weight_ramps_to_one():
    assert rate_weight(recipe(), 1) == pytest.approx(0.05 + 0.95 / 50)
    assert rate_weight(recipe(), 25) == pytest.approx(0.525)
    assert [rate_weight(recipe(), step) for step in (50, 51, 100)] == [1.0, 1.0, 1.0]
    assert rate_weight(recipe(rate_ramp=0.0), 1) == 1.0


@dataclass
class Stream:
    """Batches without end."""

    def __iter__(self):
        while True:
            yield Batch(keys=("a",), image_B3HW=torch.zeros(1, 3, 2, 2), labels={})


class Parabola(nn.Module):
    """(x − 1)², whose rd_cost follows a script."""

    def __init__(self, costs, breaks_at=None):
        super().__init__()
        self.x = nn.Parameter(torch.zeros(()))
        self.costs, self.breaks_at, self.calls = iter(costs), breaks_at, 0

    def loss(self, batch, rate_weight):
        self.calls += 1
        value = (self.x - 1) ** 2
        poison = math.nan if self.calls == self.breaks_at else 0.0
        return {"total": value, "distortion": value + poison}

    def rd_cost(self, batch):
        return torch.tensor(next(self.costs))

    def parameter_groups(self):
        return [[self.x]]

    def trained_state(self):
        return self.state_dict()


def run(model, **changes):
    select = [next(iter(Stream()))]
    return train(model, recipe(**changes), Stream(), select, torch.device("cpu"), lambda *_: None)


def test_the_weights_of_least_rd_cost_are_kept():
    model = Parabola([5.0, 2.0, 3.0, 4.0])
    found = run(model, steps=40)
    assert (found.best_step, found.best_rd_cost) == (20, 2.0)
    assert found.rd_cost == ((10, 5.0), (20, 2.0), (30, 3.0), (40, 4.0))
    assert found.state["x"] != model.x


def test_patience_ends_training():
    found = run(Parabola([1.0, 2.0, 3.0, 0.5]), steps=100, patience=2)
    assert found.steps == 30
    assert found.best_step == 10


def test_a_non_finite_term_names_itself_and_its_step():
    with pytest.raises(NonFiniteError, match="'distortion' is nan at step 7") as caught:
        run(Parabola([1.0] * 10, breaks_at=7))
    assert (caught.value.step, caught.value.term) == (7, "distortion")


def test_a_non_finite_rd_cost_is_a_failure():
    with pytest.raises(NonFiniteError, match=r"val/rd_cost is inf at step 20") as caught:
        run(Parabola([1.0, math.inf]))
    assert caught.value.term == "val/rd_cost"


def test_nothing_to_train_is_said():
    model = Parabola([1.0])
    model.parameter_groups = lambda: [[]]
    with pytest.raises(TrialError, match="nothing to train"):
        run(model)
