"""The training loop: plain, readable from end to end, the same for every kind of trial.

It runs in one process, or in each of several that share its steps; then every rank does the same
and takes the same decisions.
"""

from __future__ import annotations

import math
from contextlib import closing

import torch
from torch import nn

from tcc.errors import NonFiniteError, TrialError
from tcc.methods import TrialModel
from tcc.records import TrainRecipe
from tcc.trial import memory
from tcc.trial.course import Course
from tcc.trial.interrupt import Stop
from tcc.trial.loading import TrainingBatches, WholeImages
from tcc.trial.numerics import tuned
from tcc.trial.place import Place
from tcc.trial.state import Keeper
from tcc.trial.step import Stepper
from tcc.trial.watch import Listener

READ_EVERY = 20  # steps between reads of the loss terms, each a wait for the device


def train(
    model: TrialModel,
    recipe: TrainRecipe,
    batches: TrainingBatches,
    select: WholeImages,
    place: Place,
    keeper: Keeper,
    listener: Listener,
    stop: Stop = lambda: False,
) -> Course:
    """Trains ``model`` and picks the weights of least val/rd_cost on the ``select`` images.

    Goes on where ``keeper`` has a state, with the same bits (on the CPU) as if it had never ended.
    ``stop``: asked after every step; where it says so, the state is saved first.

    Raises:
        NonFiniteError: a loss term or val/rd_cost is NaN or infinite; names step and term.
        MemoryExceededError: memory does not suffice for a step or for val/rd_cost.
        KeyboardInterrupt: ``stop`` said so.
        Exception: of any kind, with the ``step`` that it came in.
    """
    assert isinstance(model, nn.Module)
    groups = [list(group) for group in model.parameter_groups()]
    parameters = [parameter for group in groups for parameter in group]
    if not parameters:
        raise TrialError("nothing to train: no task model has parameters in this kind of trial")
    optimizer = torch.optim.Adam(parameters, lr=recipe.lr, fused=True)
    course = keeper.restore(model, optimizer)
    listener.began(course.step, course.seconds)
    shared = place.share(model)
    stepper = Stepper(
        shared=shared, optimizer=optimizer, groups=groups, batches=batches, place=place
    )
    model.train()
    with (
        course.naming_its_step(),
        closing(batches.stream(course.step)) as stream,
        tuned(_tries_algorithms(recipe)),
    ):
        while course.step < recipe.steps:
            course.step += 1
            for group in optimizer.param_groups:
                group["lr"] = learning_rate(recipe, course.step)
            course.add(stepper.take(course.step, rate_weight(recipe, course.step), stream))
            last = course.step == recipe.steps
            selecting = course.step % recipe.select_every == 0 or last
            if selecting or len(course.rows) == READ_EVERY:
                found = course.read(place)
                listener.values(course.step, {f"train/{name}": x for name, x in found.items()})
            if selecting:
                cost = rd_cost(model, select, place, course.step)
                listener.values(course.step, {"val/rd_cost": cost})
                course.offer(cost, model.trained_state() if place.first else {})
                last = last or 0 < recipe.patience <= course.stale
            if last:
                break
            if stop():
                keeper.save(course, model, optimizer)
                raise KeyboardInterrupt
            keeper.offer(course, model, optimizer, selecting=selecting)
    return course


def learning_rate(recipe: TrainRecipe, step: int) -> float:
    """Rises linearly over the first ``warmup`` of the steps, falls by a cosine to zero over the
    last ``decay`` of them, and is constant between."""
    rising, falling = recipe.steps * recipe.warmup, recipe.steps * recipe.decay
    begin = recipe.steps - falling
    up = step / rising if step < rising else 1.0
    down = 0.5 * (1 + math.cos(math.pi * (step - begin) / (falling + 1))) if step > begin else 1.0
    return recipe.lr * min(up, down)


def rate_weight(recipe: TrainRecipe, step: int) -> float:
    """Rises linearly from ``rate_start`` to 1 over the first ``rate_ramp`` of the steps."""
    ramp = recipe.steps * recipe.rate_ramp
    if step >= ramp:
        return 1.0
    return recipe.rate_start + (1 - recipe.rate_start) * step / ramp


@torch.no_grad()
def rd_cost(model: TrialModel, select: WholeImages, place: Place, step: int) -> float:
    """val/rd_cost: λ·d + R over the select split, in full precision, mean over images."""
    assert isinstance(model, nn.Module)
    place.agree(model)
    model.eval()
    sums = torch.zeros(2, dtype=torch.float64, device=place.device)  # of costs, of images
    with tuned(False):  # whole images come in many shapes
        for loaded in select:
            with memory.explained_whole(loaded, place.device):
                batch = loaded.to(place.device)
                sums[0] += model.rd_cost(batch).double() * len(batch)
            sums[1] += len(batch)
    model.train()
    total, count = place.total(sums).tolist()
    cost = total / count
    if not math.isfinite(cost):
        raise NonFiniteError(f"val/rd_cost is {cost} at step {step}", step=step, term="val/rd_cost")
    return cost


def _tries_algorithms(recipe: TrainRecipe) -> bool:
    """Whether inputs have one shape, for which cuDNN may find its fastest algorithms."""
    return recipe.crop > 0 and not recipe.deterministic
