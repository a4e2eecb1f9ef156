"""The order in which training reads a data set, and evaluation another.

It follows from a seed and a key that the arms of a comparison share; images are not loaded for it.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterator
from itertools import count

import torch

from tcc.codec.seeding import derive_seed
from tcc.datasets import Split

Element = tuple[int, int]  # epoch, index
Size = tuple[int, int]  # height, width in pixels

BINS_PER_OCTAVE = 3  # of height over width
EVALUATION_PIXELS = 1 << 19  # of one evaluation batch, at the most (a single image may be larger)
EVALUATION_BATCH = 32


def parts(
    images: int, part: int, *, seed: int, key: tuple[str, ...], group: Callable[[int], int]
) -> Iterator[list[Element]]:
    """Parts of ``part`` images each, without end.

    Every epoch is a permutation that follows from (seed, key, epoch); the next begins where it
    ends, so no image is left out. ``group``: index → what it has in common with its part, which is
    given as soon as one group has enough. What an epoch leaves in groups is given with what is next
    to it in order of groups, and what is then left over waits for the next epoch.
    """
    waiting: dict[int, list[Element]] = defaultdict(list)
    for epoch in count():
        generator = torch.Generator().manual_seed(derive_seed(seed, *key, epoch))
        for index in torch.randperm(images, generator=generator).tolist():
            found = group(index)
            waiting[found].append((epoch, index))
            if len(waiting[found]) == part:
                yield waiting.pop(found)
        yield from _mixed(waiting, part)


def _mixed(waiting: dict[int, list[Element]], part: int) -> Iterator[list[Element]]:
    """Parts of what waits, neighbouring groups together; leaves less than a part."""
    left = [(group, element) for group in sorted(waiting) for element in waiting[group]]
    whole = len(left) // part * part
    waiting.clear()
    for group, element in left[whole:]:
        waiting[group].append(element)
    for start in range(0, whole, part):
        yield [element for _, element in left[start : start + part]]


def aspect(size: Size) -> int:
    """The bin of an image's shape, a third of an octave wide; landscapes are below 0."""
    height, width = size
    return math.floor(BINS_PER_OCTAVE * math.log2(height / width))


def neighbours(samples: Split) -> Iterator[list[int]]:
    """All images in order, those of equal size that follow each other together."""
    group: list[int] = []
    shared: Size | None = None
    for index in range(len(samples)):
        size = samples.size(index)
        limit = max(1, min(EVALUATION_BATCH, EVALUATION_PIXELS // (size[0] * size[1])))
        if group and (size != shared or len(group) >= limit):
            yield group
            group = []
        group.append(index)
        shared = size
    if group:
        yield group
