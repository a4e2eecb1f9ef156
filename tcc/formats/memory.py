"""Keeps the decoded samples of a split in memory, as far as a limit allows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from tcc.formats.sample import Sample

LIMIT_BYTES = 256 * 2**20


class _Samples(Protocol):
    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> Sample: ...

    def size(self, index: int) -> tuple[int, int]: ...


class MemorySplit:
    """A split that decodes a sample once. Samples are shared by all who read them: crop, flip and
    scale into new tensors, never in place. Samples past the limit are decoded each time."""

    def __init__(self, split: _Samples, limit_bytes: int = LIMIT_BYTES):
        self._split = split
        self._limit_bytes = limit_bytes
        self._held_bytes = 0
        self._held: dict[int, Sample] = {}

    def __len__(self) -> int:
        return len(self._split)

    def __getitem__(self, index: int) -> Sample:
        held = self._held.get(index)
        if held is not None:
            return held
        sample = self._split[index]
        num_bytes = sample.image.nbytes + _num_bytes(sample.labels)
        if self._held_bytes + num_bytes <= self._limit_bytes:
            self._held_bytes += num_bytes
            self._held[index] = sample
        return sample

    def size(self, index: int) -> tuple[int, int]:
        """Height and width in pixels of a sample's image, told without decoding it."""
        return self._split.size(index)

    def __reduce__(self) -> tuple[type[MemorySplit], tuple[_Samples, int]]:
        """What a loader's worker process gets: the split, without what was decoded so far."""
        return MemorySplit, (self._split, self._limit_bytes)


def _num_bytes(value: Any) -> int:
    if isinstance(value, dict):
        return sum(_num_bytes(item) for item in value.values())
    return value.nbytes
