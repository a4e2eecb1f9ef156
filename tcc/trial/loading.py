"""Batches of a data set, loaded by worker processes where a place has some.

What a batch holds follows from its list of images alone: a crop depends on (seed, epoch, index),
never on the worker that makes it.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from copy import copy
from dataclasses import replace
from itertools import islice, tee
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, get_worker_info

from tcc.codec.seeding import derive_seed
from tcc.datasets import Split
from tcc.errors import LostProcessError, TccError, TrialError
from tcc.formats.sample import Batch, Sample, collate
from tcc.records import TrainRecipe
from tcc.trial.augment import augment
from tcc.trial.interrupt import heed_parent_alone
from tcc.trial.order import Element, aspect, neighbours, parts
from tcc.trial.place import Place
from tcc.trial.stack import each, num_bytes, owned, stacked, taken


class TrainingBatches:
    """An endless, seeded stream of the batches that one rank computes in: parts of a step's batch.

    A step's parts are dealt to the ranks in turn, so that N devices see what one sees that
    accumulates N times as often. Without a crop, images of like shape share a part, but for what
    an epoch leaves over (`order.parts`).

    Raises:
        TrialError: the batch cannot be divided among devices and accumulated parts.
    """

    def __init__(
        self, samples: Split, recipe: TrainRecipe, *, seed: int, key: tuple[str, ...], place: Place
    ):
        self.samples, self.recipe, self.place = samples, recipe, place
        self.seed, self.key = seed, key
        if recipe.batch % self.step_parts:
            raise TrialError(
                f"train.batch {recipe.batch} cannot be divided by train.accumulate "
                f"{recipe.accumulate} × train.devices {recipe.devices}"
            )
        self.frozen: Mapping[str, Tensor] = {}  # (N, …) of all images, where they are kept
        self._stack = self._stacked() if self.fixed else None
        self._sizes: dict[int, tuple[int, int]] = {}

    @property
    def step_parts(self) -> int:
        """Into how many parts a step's batch is divided, over all ranks."""
        return self.recipe.accumulate * self.recipe.devices

    @property
    def part(self) -> int:
        """How many images a part has."""
        return self.recipe.batch // self.step_parts

    def divided(self, accumulate: int) -> TrainingBatches:
        """The same images in parts of another size; what is held of them is shared."""
        other = copy(self)
        other.recipe = replace(self.recipe, accumulate=accumulate)
        return other

    @property
    def fixed(self) -> bool:
        """Whether an image looks the same in every epoch."""
        return self.recipe.crop == 0 and not self.recipe.flip

    def stream(self, done: int = 0) -> Generator[Batch, None, None]:
        """This rank's batches after ``done`` steps. Close it to end its workers."""
        order = parts(
            len(self.samples), self.part, seed=self.seed, key=self.key, group=self._group()
        )
        mine = islice(order, done * self.step_parts + self.place.rank, None, self.place.ranks)
        if self._stack is not None:
            for part in mine:
                indices = _indices(part)
                yield self._with_frozen(taken(self._stack, indices), indices)
        else:
            mine, same = tee(mine)
            batches = load(_Augmented(self.samples, self.recipe, self.seed), mine, self.place)
            for part, batch in zip(same, batches, strict=False):
                yield self._with_frozen(batch, _indices(part))

    def _stacked(self) -> Batch | None:
        return stacked(WholeImages(self.samples, self.place.alone()))

    def _with_frozen(self, batch: Batch, indices: Tensor) -> Batch:
        if not self.frozen:
            return batch
        return replace(batch, frozen={name: x[indices] for name, x in self.frozen.items()})

    def _group(self) -> Callable[[int], int]:
        if self.recipe.crop or self.part == 1 or self._stack is not None:
            return lambda index: 0

        def shape(index: int) -> int:
            if index not in self._sizes:
                self._sizes[index] = self.samples.size(index)
            return aspect(self._sizes[index])

        return shape


class WholeImages:
    """All images of a split, whole and in order, in batches of one size; of several ranks, each
    has its share. Can be read again and again; ``keep_bytes``: what may stay in memory for it."""

    def __init__(self, samples: Split, place: Place, keep_bytes: int = 0):
        self.samples, self.place, self.keep_bytes = samples, place, keep_bytes
        self._kept: list[Batch] | None = None

    def __len__(self) -> int:
        return len(self.samples)

    def __iter__(self) -> Iterator[Batch]:
        if self._kept is not None:
            yield from self._kept
            return
        kept, size = [], 0
        for batch in self._load():
            yield batch
            size += num_bytes(batch)
            if size <= self.keep_bytes:
                kept.append(owned(batch))
            else:
                kept.clear()
        if size <= self.keep_bytes:
            self._kept = kept

    def _load(self) -> Iterator[Batch]:
        groups = islice(neighbours(self.samples), self.place.rank, None, self.place.ranks)
        return load(_Whole(self.samples), groups, self.place)


def load(samples: Dataset[Sample], order: Iterable[Sequence[Any]], place: Place) -> Iterator[Batch]:
    """The batches of the listed samples, in order. ``samples``: what the list's elements index.

    Raises:
        DataError: a sample cannot be read; as the data set says it, from a worker too.
        TrialError: a worker was killed.
    """
    loader = DataLoader(
        _Careful(samples),
        batch_sampler=order,  # type: ignore[arg-type]
        collate_fn=_collated,
        num_workers=place.workers,
        multiprocessing_context="fork" if place.workers else None,
        worker_init_fn=_heed_the_trial,
        pin_memory=place.on_gpu,
        generator=torch.Generator(),  # torch's own gives the training its noise
    )
    batches = iter(loader)
    try:
        while (batch := _next(batches, place.workers)) is not None:
            if isinstance(batch, TccError):
                raise batch
            yield replace(batch, labels=each(batch.labels, torch.as_tensor))
    finally:
        del batches  # ends the workers, which nobody else refers to


def worker_died(error: Exception) -> LostProcessError:
    """What to say when torch lost a worker, which it tells in many ways."""
    return LostProcessError(
        "a process that loads data died, of too little memory perhaps: give the kind fewer CPUs in "
        f"resources, each but train.threads of which loads data ({error})"
    )


def _next(batches: Iterator[Batch | TccError], workers: int) -> Batch | TccError | None:
    try:
        return next(batches, None)
    except (RuntimeError, OSError, EOFError) as error:
        if not workers or str(error).startswith("Caught"):  # in a worker that is alive
            raise
        raise worker_died(error) from error


class _Careful(Dataset[Any]):
    """Gives an error as a value: torch would raise it with a worker's traceback for a message."""

    def __init__(self, samples: Dataset[Sample]):
        self.samples = samples

    def __getitem__(self, element: Any) -> Sample | TccError:
        try:
            return self.samples[element]
        except TccError as error:
            return error


class _Whole(Dataset[Sample]):
    """Samples as they are, by index."""

    def __init__(self, samples: Split):
        self.samples = samples

    def __getitem__(self, index: int) -> Sample:
        return self.samples[index]


class _Augmented(Dataset[Sample]):
    """Crops and flips of samples, by (epoch, index)."""

    def __init__(self, samples: Split, recipe: TrainRecipe, seed: int):
        self.samples, self.recipe, self.seed = samples, recipe, seed

    def __getitem__(self, element: Element) -> Sample:
        epoch, index = element
        generator = torch.Generator().manual_seed(derive_seed(self.seed, epoch, index))
        recipe, sample = self.recipe, self.samples[index]
        return augment(sample, crop=recipe.crop, flip=recipe.flip, generator=generator)


def _collated(samples: list[Sample | TccError]) -> Batch | TccError:
    for sample in samples:
        if isinstance(sample, TccError):
            return sample
    batch = collate(samples)  # type: ignore[arg-type]
    if get_worker_info() is None:
        return batch
    # a tensor takes its way between processes in a file of its own, an array of boxes does not
    lists = {kind: x for kind, x in batch.labels.items() if not isinstance(x, Tensor)}
    arrays = each(lists, lambda tensor: tensor.as_subclass(Tensor).numpy())
    return replace(batch, labels={**batch.labels, **arrays})


def _heed_the_trial(_worker: int) -> None:
    heed_parent_alone()


def _indices(part: Sequence[Element]) -> Tensor:
    return torch.tensor([index for _, index in part])
