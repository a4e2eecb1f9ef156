"""The training loop: its schedules, its picking rule, its parts, its failures and its interrupt."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
import torch
from torch import nn

from tcc.errors import NonFiniteError, TrialError
from tcc.stores import open_store
from tcc.trial.loading import TrainingBatches, WholeImages
from tcc.trial.loop import learning_rate, rate_weight, train
from tcc.trial.state import Keeper


def test_learning_rate_is_constant_then_falls_to_nearly_zero(make_recipe):
    rates = [learning_rate(make_recipe(), step) for step in range(1, 101)]
    assert rates[:70] == [0.1] * 70
    assert all(later < earlier for earlier, later in pairwise(rates[69:]))
    assert 0 < rates[-1] < 0.001
    assert learning_rate(make_recipe(decay=0.0), 100) == 0.1


def test_learning_rate_rises_first_where_asked(make_recipe):
    rates = [learning_rate(make_recipe(warmup=0.1), step) for step in range(1, 101)]
    assert rates[:10] == pytest.approx([0.01 * step for step in range(1, 11)])
    assert rates[10:] == [learning_rate(make_recipe(), step) for step in range(11, 101)]
    both = [learning_rate(make_recipe(warmup=0.6, decay=0.6), step) for step in range(1, 101)]
    assert 0.05 < max(both) < 0.1
    assert both[0] < 0.01 > both[-1] > 0


def test_rate_weight_ramps_to_one(make_recipe):
    recipe = make_recipe()
    assert rate_weight(recipe, 1) == pytest.approx(0.05 + 0.95 / 50)
    assert rate_weight(recipe, 25) == pytest.approx(0.525)
    assert [rate_weight(recipe, step) for step in (50, 51, 100)] == [1.0, 1.0, 1.0]
    assert rate_weight(make_recipe(rate_ramp=0.0), 1) == 1.0


class Line(nn.Module):
    """(x · brightness − 1)² and a term of noise; its rd_cost follows a script, if there is one."""

    def __init__(self, costs=None, breaks_at=None):
        super().__init__()
        self.x = nn.Parameter(torch.zeros(3))
        self.costs, self.breaks_at, self.calls = costs and iter(costs), breaks_at, 0

    def loss(self, batch, rate_weight):
        self.calls += 1
        pixels = batch.image_B3HW.mean(dim=(0, 2, 3)) * 20
        value = ((self.x * (pixels + 0.1 * torch.rand(3)) - 1) ** 2).sum()
        poison = math.nan if self.calls == self.breaks_at else 0.0
        return {"total": value, "distortion": value + poison, "calls": torch.tensor(self.calls)}

    def rd_cost(self, batch):
        if self.costs is not None:
            return torch.tensor(next(self.costs))
        return ((self.x * batch.image_B3HW.mean() * 20 - 1) ** 2).sum()

    def parameter_groups(self):
        return [[self.x]]

    def trained_state(self):
        return self.state_dict()

    def load_trained(self, state):
        self.load_state_dict(state)


class Heard:
    """What a training says."""

    def __init__(self, at=None, then=None):
        self.rows, self.at, self.then = [], at, then

    def began(self, step, seconds):
        self.first = step

    def values(self, step, values):
        self.rows.append((step, dict(values)))
        if step == self.at and self.then:
            self.then()


@pytest.fixture
def run(tmp_path, make_recipe, make_place, make_images):
    """Trains a model on 12 images of 8×8, in a store of its own unless one is given."""

    def go(model, heard=None, stop=lambda: False, store="runs", **changes):
        recipe, place = make_recipe(**changes), make_place()
        images = make_images([(8, 8)] * 12)
        batches = TrainingBatches(images, recipe, seed=0, key=("a",), place=place)
        select = WholeImages(make_images([(8, 8)]), place)
        keeper = Keeper(open_store(tmp_path / store), "aa11", {}, place)
        return train(model, recipe, batches, select, place, keeper, heard or Heard(), stop)

    return go


def test_the_weights_of_least_rd_cost_are_kept(run):
    model = Line([5.0, 2.0, 3.0, 2.0])
    found = run(model, steps=40)
    assert (found.best_step, found.best_rd_cost) == (20, 2.0)
    assert found.history == [(10, 5.0), (20, 2.0), (30, 3.0), (40, 2.0)]
    assert not torch.equal(found.best["x"], model.x)
    same = run(Line([5.0, 2.0]), steps=20, decay=0.0, store="b")
    assert torch.equal(found.best["x"], same.best["x"])


def test_patience_ends_training(run):
    found = run(Line([1.0, 2.0, 3.0, 0.5]), steps=100, patience=2)
    assert found.step == 30
    assert found.best_step == 10


def test_accumulated_parts_train_as_one_batch(run):
    """Without noise, whose seed is the part's, the mean of the parts is that of the batch."""

    class Still(Line):
        def loss(self, batch, rate_weight):
            pixels_B3 = batch.image_B3HW.mean(dim=(2, 3)) * 20
            value = ((self.x * pixels_B3 - 1) ** 2).sum(1).mean()
            return {"total": value}

    whole, parts = Still(), Still()
    heard = [Heard(), Heard()]
    run(whole, heard[0], steps=30)
    run(parts, heard[1], steps=30, accumulate=4, store="b")
    assert torch.allclose(whole.x, parts.x, atol=1e-6)
    for (step, one), (other_step, other) in zip(heard[0].rows, heard[1].rows, strict=True):
        assert step == other_step
        assert one == pytest.approx(other, rel=1e-4)


def test_terms_are_told_as_means_since_the_last_telling(run):
    heard = Heard()
    run(Line([1.0]), heard, steps=50, select_every=50)
    calls = [(step, row["train/calls"]) for step, row in heard.rows if "train/calls" in row]
    assert calls == [(20, 10.5), (40, 30.5), (50, 45.5)]
    assert heard.rows[-1] == (50, {"val/rd_cost": 1.0})
    assert "train/gradient_norm" in heard.rows[0][1]


def test_a_non_finite_term_names_itself_and_its_step(run):
    with pytest.raises(NonFiniteError, match="'distortion' is nan at step 7") as caught:
        run(Line([1.0] * 10, breaks_at=7))
    assert (caught.value.step, caught.value.term) == (7, "distortion")


def test_a_non_finite_rd_cost_is_a_failure(run):
    with pytest.raises(NonFiniteError, match=r"val/rd_cost is inf at step 20") as caught:
        run(Line([1.0, math.inf]))
    assert caught.value.term == "val/rd_cost"


def test_nothing_to_train_is_said(run):
    model = Line([1.0])
    model.parameter_groups = lambda: [[]]
    with pytest.raises(TrialError, match="nothing to train"):
        run(model)


def test_noise_follows_from_the_step_and_not_from_what_ran_before(run):
    torch.manual_seed(1)
    first = run(Line(), steps=30)
    torch.manual_seed(2)
    assert torch.equal(run(Line(), steps=30, store="b").best["x"], first.best["x"])


@pytest.mark.parametrize("changes", [{}, {"accumulate": 2}, {"patience": 3, "warmup": 0.2}])
@pytest.mark.parametrize("asked_after", [1, 7, 20, 33])
def test_a_training_that_was_asked_to_stop_goes_on_with_the_same_bits(run, changes, asked_after):
    changes = {"steps": 60, "select_every": 15, **changes}
    whole, told = Line(), Heard()
    expected = run(whole, told, **changes)
    model, heard, asked = Line(), Heard(), []
    with pytest.raises(KeyboardInterrupt):
        run(model, heard, lambda: asked.append(1) or len(asked) == asked_after, "b", **changes)
    again, more = Line(), Heard()
    found = run(again, more, store="b", **changes)
    assert more.first == asked_after
    assert torch.equal(again.x, whole.x)
    assert torch.equal(found.best["x"], expected.best["x"])
    assert (found.step, found.history, found.terms) == (
        expected.step,
        expected.history,
        {**expected.terms, "calls": found.terms["calls"]},  # of the model that counts its own
    )
    steps = [step for step, _ in told.rows]
    assert [step for step, _ in [*heard.rows, *more.rows]] == steps
