"""The training loop: plain, readable from end to end, the same for every kind of trial."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from tcc.errors import NonFiniteError, TrialError
from tcc.formats.sample import Batch
from tcc.methods import TrialModel
from tcc.records import TrainRecipe
from tcc.trial.data import TrainingBatches

FLUSH_EVERY = 20  # steps between reads of the loss terms, each a wait for the device

Report = Callable[[int, Mapping[str, float]], None]  # step, train/… or val/… values


@dataclass(frozen=True, kw_only=True)
class Trained:
    """What the loop found. ``state``: the weights at ``best_step``, on the CPU."""

    state: Mapping[str, Tensor]
    steps: int
    best_step: int
    best_rd_cost: float
    rd_cost: tuple[tuple[int, float], ...]
    last_terms: Mapping[str, float]


def train(
    model: TrialModel,
    recipe: TrainRecipe,
    batches: TrainingBatches,
    select: list[Batch],
    device: torch.device,
    report: Report,
) -> Trained:
    """Trains ``model`` and picks the weights of least val/rd_cost on the ``select`` batches.

    Raises:
        NonFiniteError: a loss term or val/rd_cost is NaN or infinite; names step and term.
    """
    assert isinstance(model, nn.Module)
    groups = [list(group) for group in model.parameter_groups()]
    parameters = [parameter for group in groups for parameter in group]
    if not parameters:
        raise TrialError("nothing to train: no task model has parameters in this kind of trial")
    optimizer = torch.optim.Adam(parameters, lr=recipe.lr, fused=True)
    picked = _Picked(model)
    pending: list[tuple[int, Mapping[str, Tensor]]] = []
    terms: Mapping[str, float] = {}
    stream = iter(batches)
    model.train()
    step = 0
    for step in range(1, recipe.steps + 1):
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(recipe, step)
        batch = next(stream).to(device)
        with torch.autocast(device.type, torch.bfloat16, enabled=recipe.precision == "bf16"):
            losses = model.loss(batch, rate_weight(recipe, step))
        optimizer.zero_grad(set_to_none=True)
        losses["total"].backward()
        norms = [nn.utils.clip_grad_norm_(group, recipe.clip) for group in groups]
        optimizer.step()
        watched = {**losses, "gradient_norm": torch.stack(norms).amax()}
        pending.append((step, {name: value.detach() for name, value in watched.items()}))
        selecting = step % recipe.select_every == 0 or step == recipe.steps
        if selecting or len(pending) == FLUSH_EVERY:
            terms = _flush(pending)
            report(step, {f"train/{name}": value for name, value in terms.items()})
        if selecting:
            cost = rd_cost(model, select, device, step)
            report(step, {"val/rd_cost": cost})
            picked.offer(step, cost)
            if recipe.patience and picked.stale >= recipe.patience:
                break
    return Trained(
        state=picked.state,
        steps=step,
        best_step=picked.step,
        best_rd_cost=picked.cost,
        rd_cost=tuple(picked.history),
        last_terms=terms,
    )


def learning_rate(recipe: TrainRecipe, step: int) -> float:
    """Constant, then a cosine to zero over the last ``decay`` of the steps."""
    begin = recipe.steps * (1 - recipe.decay)
    if step <= begin or recipe.decay == 0:
        return recipe.lr
    return recipe.lr * 0.5 * (1 + math.cos(math.pi * (step - begin) / (recipe.steps - begin + 1)))


def rate_weight(recipe: TrainRecipe, step: int) -> float:
    """Rises linearly from ``rate_start`` to 1 over the first ``rate_ramp`` of the steps."""
    ramp = recipe.steps * recipe.rate_ramp
    if step >= ramp:
        return 1.0
    return recipe.rate_start + (1 - recipe.rate_start) * step / ramp


@torch.no_grad()
def rd_cost(model: TrialModel, select: list[Batch], device: torch.device, step: int) -> float:
    """val/rd_cost: λ·d + R over the select split, in full precision, mean over images."""
    assert isinstance(model, nn.Module)
    model.eval()
    total, count = 0.0, 0
    for batch in select:
        total += float(model.rd_cost(batch.to(device))) * len(batch)
        count += len(batch)
    model.train()
    cost = total / count
    if not math.isfinite(cost):
        raise NonFiniteError(f"val/rd_cost is {cost} at step {step}", step=step, term="val/rd_cost")
    return cost


class _Picked:
    """The best weights so far by the one picking rule."""

    def __init__(self, model: TrialModel):
        self.model, self.cost, self.step, self.stale = model, math.inf, 0, 0
        self.state: Mapping[str, Tensor] = {}
        self.history: list[tuple[int, float]] = []

    def offer(self, step: int, cost: float) -> None:
        self.history.append((step, cost))
        self.stale += 1
        if cost < self.cost:
            self.cost, self.step, self.stale = cost, step, 0
            state = self.model.trained_state()
            self.state = {name: value.detach().cpu().clone() for name, value in state.items()}


def _flush(pending: list[tuple[int, Mapping[str, Tensor]]]) -> dict[str, float]:
    """Reads the pending loss terms in one wait; gives their means."""
    names = list(pending[0][1])
    table = torch.stack(
        [torch.stack([terms[name].float() for name in names]) for _, terms in pending]
    )
    for (step, _), row in zip(pending, table.tolist(), strict=True):
        for name, value in zip(names, row, strict=True):
            if not math.isfinite(value):
                raise NonFiniteError(
                    f"loss term {name!r} is {value} at step {step}", step=step, term=name
                )
    means = table.mean(0).tolist()
    pending.clear()
    return dict(zip(names, means, strict=True))
