"""One step of a training: the gradients of its parts, clipped, then the optimiser.

Where memory does not suffice for it, the same step is tried in ever smaller parts, to say what
would fit.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, nullcontext
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from tcc.codec.seeding import derive_seed
from tcc.errors import MemoryExceededError
from tcc.formats.sample import Batch
from tcc.records import TrainRecipe
from tcc.trial import memory
from tcc.trial.loading import TrainingBatches
from tcc.trial.place import Place, Shared

log = logging.getLogger("tcc.trial")


@dataclass(frozen=True, kw_only=True)
class Stepper:
    """Takes a training's steps. ``groups``: parameters whose gradients are clipped together."""

    shared: Shared
    optimizer: Optimizer
    groups: Sequence[Sequence[nn.Parameter]]
    batches: TrainingBatches
    place: Place

    def take(self, step: int, rate_weight: float, stream: Iterator[Batch]) -> dict[str, Tensor]:
        """Takes a step on the next parts of the stream; gives the means of their loss terms.

        Raises:
            MemoryExceededError: memory does not suffice; says what was tried and fits.
        """
        try:
            return self._take(step, rate_weight, stream)
        except Exception as error:
            if not memory.exceeded(error):
                raise
            device, said = memory.in_use(self.place.device), memory.said(error)
        # only here does nothing refer any more to what the step had allocated
        log.error("out of memory in step %d: %s", step, said)
        parts = _parts_of(self.batches)
        raise MemoryExceededError(
            f"the memory of {device}, does not suffice for step {step} in {parts}: "
            f"{self._advice(step, rate_weight)} ({said})",
            step=step,
        )

    def _take(self, step: int, rate_weight: float, stream: Iterator[Batch]) -> dict[str, Tensor]:
        self.optimizer.zero_grad(set_to_none=True)
        terms = self._gradients(step, rate_weight, stream)
        norms = [nn.utils.clip_grad_norm_(group, self.batches.recipe.clip) for group in self.groups]
        self.optimizer.step()
        return {**terms, "gradient_norm": torch.stack(norms).amax()}

    def _gradients(
        self, step: int, rate_weight: float, stream: Iterator[Batch]
    ) -> Mapping[str, Tensor]:
        """Adds the gradients of one step's parts; gives the means of their loss terms.

        Noise follows from seed, step and part, whatever ran before and wherever it is computed.
        """
        recipe, place, batches = self.batches.recipe, self.place, self.batches
        sums: dict[str, Tensor] = {}
        for index in range(recipe.accumulate):
            part = index * place.ranks + place.rank
            _seed(derive_seed(batches.seed, *batches.key, "training", step, part), place)
            batch = next(stream).to(place.device)
            more = index + 1 < recipe.accumulate
            with self.shared.keeping_gradients() if more else nullcontext():
                with torch.autocast(place.device.type, torch.bfloat16, recipe.precision == "bf16"):
                    losses = self.shared.loss(batch, rate_weight)
                (losses["total"] / recipe.accumulate).backward()
            for name, value in losses.items():
                value = value.detach() / recipe.accumulate
                sums[name] = sums[name] + value if name in sums else value
        return sums

    def _advice(self, step: int, rate_weight: float) -> str:
        """What would fit: tried, unless other ranks have a part in it."""
        smaller = smaller_parts(self.batches.recipe)
        if self.place.ranks > 1 and smaller:
            return f"`train.accumulate: {smaller[0]}` would make them smaller, which was not tried"
        for accumulate in smaller:
            parts = self.batches.divided(accumulate)
            said = f"`train.accumulate: {accumulate}` ({_parts_of(parts)})"
            try:
                if replace(self, batches=parts)._fits(step, rate_weight):
                    return f"{said} was tried and fits"
            except Exception as error:  # noqa: BLE001 - such as a batch of 1 that cannot be normalised
                return f"nor do {_parts_of(parts)} train: {error}"
        return (
            "not even one image at a time fits: lower `train.crop`, the model's sizes or "
            "`train.scale`, or give the kind more memory in `resources`"
        )

    def _fits(self, step: int, rate_weight: float) -> bool:
        """Whether memory suffices for a step. Weights and optimiser are not to be used after it."""
        self.optimizer.zero_grad(set_to_none=True)
        memory.freed()
        try:
            with closing(self.batches.stream(step - 1)) as stream:
                self._take(step, rate_weight, stream)
        except Exception as error:
            if not memory.exceeded(error):
                raise
            log.info("out of memory in %s too: %s", _parts_of(self.batches), error)
            return False
        return True


def smaller_parts(recipe: TrainRecipe) -> list[int]:
    """Larger values of ``train.accumulate``: each at least twice the one before, the last one for
    one image at a time."""
    found, images = [recipe.accumulate], recipe.batch // recipe.devices
    while found[-1] < images:
        divisors = (x for x in range(2 * found[-1], images + 1) if images % x == 0)
        found.append(next(divisors, images))
    return found[1:]


def _parts_of(batches: TrainingBatches) -> str:
    recipe = batches.recipe
    size = f"{recipe.crop}×{recipe.crop} pixels" if recipe.crop else "their whole size"
    images = "1 image" if batches.part == 1 else f"{batches.part} images"
    return f"parts of {images} of {size}"


def _seed(seed: int, place: Place) -> None:
    """What `torch.manual_seed` does, for the devices that the trial uses: that costs 0.1 ms."""
    torch.default_generator.manual_seed(seed)
    if place.on_gpu:
        torch.cuda.manual_seed(seed)
