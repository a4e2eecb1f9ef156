"""Batches of a data set, loaded by worker processes where a place has some.

What a batch holds follows from its list of images alone: a crop depends on (seed, epoch, index),
never on the worker that makes it.
"""

from __future__ import annotations

import signal
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
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
from tcc.trial.order import Element, aspect, neighbours, parts
from tcc.trial.place import Place

STACKED_BYTES = 1 << 30  # of samples that are held in memory as one batch


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
        self.step_parts = recipe.accumulate * recipe.devices
        if recipe.batch % self.step_parts:
            raise TrialError(
                f"train.batch {recipe.batch} cannot be divided by train.accumulate "
                f"{recipe.accumulate} × train.devices {recipe.devices}"
            )
        self.part = recipe.batch // self.step_parts
        self.frozen: Mapping[str, Tensor] = {}  # (N, …) of all images, where they are kept
        self._stack = _stacked(samples, place) if self.fixed else None
        self._sizes: dict[int, tuple[int, int]] = {}

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
                yield self._with_frozen(_taken(self._stack, indices), indices)
        else:
            mine, same = tee(mine)
            batches = load(_Augmented(self.samples, self.recipe, self.seed), mine, self.place)
            for part, batch in zip(same, batches, strict=False):
                yield self._with_frozen(batch, _indices(part))

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
        kept, num_bytes = [], 0
        for batch in self._load():
            yield batch
            num_bytes += _num_bytes(batch)
            if num_bytes <= self.keep_bytes:
                kept.append(_owned(batch))
            else:
                kept.clear()
        if num_bytes <= self.keep_bytes:
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
        worker_init_fn=_ignore_interrupts,
        pin_memory=place.on_gpu,
        generator=torch.Generator(),  # torch's own gives the training its noise
    )
    batches = iter(loader)
    try:
        while (batch := _next(batches, place.workers)) is not None:
            if isinstance(batch, TccError):
                raise batch
            yield replace(batch, labels=_each(batch.labels, torch.as_tensor))
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
    arrays = _each(lists, lambda tensor: tensor.as_subclass(Tensor).numpy())
    return replace(batch, labels={**batch.labels, **arrays})


def _ignore_interrupts(_worker: int) -> None:
    """Ctrl-C reaches every process of a terminal; the trial's own says when workers end."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _stacked(samples: Split, place: Place) -> Batch | None:
    """All samples as one batch, since stacking small images anew costs a sixth of a small step;
    None where their sizes differ or they are too large. Its images lie as (N, H, W, 3)."""
    batches: list[Batch] = []
    for batch in WholeImages(samples, place.alone()):
        if _num_bytes(batch) / len(batch) * len(samples) > STACKED_BYTES:
            return None
        if batches and batch.size != batches[0].size:
            return None
        batches.append(_owned(batch))
    labels = {
        kind: torch.cat([batch.labels[kind] for batch in batches])
        if isinstance(value, Tensor)
        else [item for batch in batches for item in batch.labels[kind]]
        for kind, value in batches[0].labels.items()
    }
    rows = torch.cat([batch.image_B3HW.permute(0, 2, 3, 1) for batch in batches])
    return Batch(
        keys=tuple(key for batch in batches for key in batch.keys),
        image_B3HW=rows.contiguous(),
        labels=labels,
    )


def _taken(stack: Batch, indices: Tensor) -> Batch:
    """Some images of a stack, in the order of ``indices``."""
    listed = indices.tolist()

    def taken(value: Any) -> Any:
        if isinstance(value, Tensor):
            return value.index_select(0, indices)
        return [value[index] for index in listed]

    return Batch(
        keys=tuple(taken(stack.keys)),
        image_B3HW=taken(stack.image_B3HW).permute(0, 3, 1, 2),
        labels={kind: taken(value) for kind, value in stack.labels.items()},
    )


def _indices(part: Sequence[Element]) -> Tensor:
    return torch.tensor([index for _, index in part])


def _num_bytes(batch: Batch) -> int:
    sizes = [batch.image_B3HW.nbytes]
    _each(batch.labels, lambda tensor: sizes.append(tensor.nbytes))
    return sum(sizes)


def _owned(batch: Batch) -> Batch:
    """The batch in this process's memory, not in the little that it shares with workers."""
    if not batch.image_B3HW.is_shared():
        return batch
    labels = _each(batch.labels, torch.clone)
    return replace(batch, image_B3HW=batch.image_B3HW.clone(), labels=labels)


def _each(value: Any, change: Callable[[Any], Any]) -> Any:
    """Nested mappings and lists with every tensor or array changed."""
    if isinstance(value, Mapping):
        return {key: _each(item, change) for key, item in value.items()}
    if isinstance(value, list):
        return [_each(item, change) for item in value]
    return change(value)
