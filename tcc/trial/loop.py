"""The training loop: plain, readable from end to end, the same for every kind of trial.

It runs in one process, or in each of several that share its steps; then every rank does the same
and takes the same decisions.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, nullcontext

import torch
from torch import Tensor, nn

from tcc.codec.seeding import derive_seed
from tcc.errors import NonFiniteError, TrialError
from tcc.formats.sample import Batch
from tcc.methods import TrialModel
from tcc.records import TrainRecipe
from tcc.trial.course import Course
from tcc.trial.loading import TrainingBatches, WholeImages
from tcc.trial.numerics import tuned
from tcc.trial.place import Place, Shared
from tcc.trial.state import Keeper
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
    stop: Callable[[], bool] = lambda: False,
) -> Course:
    """Trains ``model`` and picks the weights of least val/rd_cost on the ``select`` images.

    Goes on where ``keeper`` has a state, with the same bits (on the CPU) as if it had never ended.
    ``stop``: asked after every step; where it says so, the state is saved first.

    Raises:
        NonFiniteError: a loss term or val/rd_cost is NaN or infinite; names step and term.
        KeyboardInterrupt: ``stop`` said so.
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
    model.train()
    with closing(batches.stream(course.step)) as stream, tuned(_tries_algorithms(recipe)):
        while course.step < recipe.steps:
            course.step += 1
            for group in optimizer.param_groups:
                group["lr"] = learning_rate(recipe, course.step)
            optimizer.zero_grad(set_to_none=True)
            terms = _gradients(shared, recipe, batches, stream, place, course.step)
            norms = [nn.utils.clip_grad_norm_(group, recipe.clip) for group in groups]
            optimizer.step()
            course.add({**terms, "gradient_norm": torch.stack(norms).amax()})
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
            batch = loaded.to(place.device)
            sums[0] += model.rd_cost(batch).double() * len(batch)
            sums[1] += len(batch)
    model.train()
    total, count = place.total(sums).tolist()
    cost = total / count
    if not math.isfinite(cost):
        raise NonFiniteError(f"val/rd_cost is {cost} at step {step}", step=step, term="val/rd_cost")
    return cost


def _gradients(
    shared: Shared,
    recipe: TrainRecipe,
    batches: TrainingBatches,
    stream: Iterator[Batch],
    place: Place,
    step: int,
) -> Mapping[str, Tensor]:
    """Adds the gradients of one step's parts; gives the means of their loss terms.

    Noise follows from seed, step and part, whatever ran before and wherever the part is computed.
    """
    sums: dict[str, Tensor] = {}
    for index in range(recipe.accumulate):
        part = index * place.ranks + place.rank
        _seed(derive_seed(batches.seed, *batches.key, "training", step, part), place)
        batch = next(stream).to(place.device)
        alone = shared.keeping_gradients() if index + 1 < recipe.accumulate else nullcontext()
        with alone:
            with torch.autocast(place.device.type, torch.bfloat16, recipe.precision == "bf16"):
                losses = shared.loss(batch, rate_weight(recipe, step))
            (losses["total"] / recipe.accumulate).backward()
        for name, value in losses.items():
            value = value.detach() / recipe.accumulate
            sums[name] = sums[name] + value if name in sums else value
    return sums


def _seed(seed: int, place: Place) -> None:
    """What `torch.manual_seed` does, for the devices that the trial uses: that costs 0.1 ms."""
    torch.default_generator.manual_seed(seed)
    if place.on_gpu:
        torch.cuda.manual_seed(seed)


def _tries_algorithms(recipe: TrainRecipe) -> bool:
    """Whether inputs have one shape, for which cuDNN may find its fastest algorithms."""
    return recipe.crop > 0 and not recipe.deterministic
