"""Whether memory suffices for a large image, before anything is made of it.

What a model takes is found out on two small images, by what torch has allocated at most: of a line
through both, so that what does not grow with the image counts once. Before, all is done once: what
is made at the first time would hide what grows.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Mapping
from itertools import accumulate
from typing import Any, NamedTuple

import torch

from tcc.codec.coding import LatentCoder
from tcc.codec.geometry import Size
from tcc.codec.transforms import STRIDE
from tcc.errors import MemoryExceededError, TccError
from tcc.formats.sample import Sample, collate
from tcc.methods import TrialModel
from tcc.trial import memory
from tcc.trial.files.stored import Stored
from tcc.trial.finite import predicted

SIDES = (64, 128)  # pixels, of the small images
# No model takes more for a pixel; where so much is left, nothing needs to be found out.
GENEROUS = 2**14  # bytes
_MARGIN = 1.5  # for what torch does not tell: workspaces of its libraries, lists of symbols
_PICTURE = 16  # bytes of a pixel as it is read or written, at most


class Headroom:
    """What the model of a trial, loaded, takes to encode and to decode."""

    def __init__(self, using: Stored, model: TrialModel, coders: Mapping[str, LatentCoder]):
        self._name, self._model, self._coders = using.name, model, coders
        scale = using.record.trial.recipe.train.scale
        self._multiple = math.ceil(STRIDE / scale)  # pixels that a side is padded to
        self._known: tuple[_Line, _Line] | None = None

    def refuse_encoding(self, size: Size, count: int = 1) -> None:
        """Raises `MemoryExceededError` where ``count`` images of ``size`` are too large."""
        self._refuse(size, count, 0)

    def refuse_decoding(self, size: Size, count: int = 1) -> None:
        """Raises `MemoryExceededError` where so many files of ``size`` are too large."""
        self._refuse(size, count, 1)

    def _refuse(self, size: Size, count: int, which: int) -> None:
        left = memory.left()
        height, width = (-(-side // self._multiple) * self._multiple for side in size)
        pixels = count * height * width
        if left is None or pixels * GENEROUS <= left:
            return
        takes = self.look()[which].at(pixels) * _MARGIN + _PICTURE * pixels
        if takes > left:
            does, fix = (
                ("encoding", "scale it down or cut it into parts"),
                ("decoding", "--max-pixels refuses such files unread"),
            )[which]
            many = f"{count} images" if count > 1 else "an image"
            raise MemoryExceededError(
                f"{does} {many} of {size[0]}×{size[1]} pixels with trial {self._name} takes about "
                f"{takes / memory.GIB:.2f} GiB of memory, and {left / memory.GIB:.2f} GiB are "
                f"left: do it where there is more, or {fix}"
            )

    def look(self) -> tuple[_Line, _Line]:
        """What encoding takes, and what decoding takes; it is found out once."""
        if self._known is None:
            try:
                _, small, large = (self._peaks(side) for side in (SIDES[0], *SIDES))
            except TccError:  # weights that code nothing: who tries is told
                small = large = 0, 0
            encoding, decoding = (_Line.through(*ends) for ends in zip(small, large, strict=True))
            self._known = encoding, decoding
        return self._known

    def _peaks(self, side: int) -> tuple[int, int]:
        """Bytes that encoding and decoding a grey image of ``side`` pixels a side take."""
        image = torch.full((3, side, side), 128, dtype=torch.uint8)
        batch = collate([Sample(key="grey", image=image, labels={})]).to("cpu")
        payloads = []

        def encode() -> None:
            payloads.append(self._model.measure(batch, self._coders).payloads.values())

        def decode() -> None:
            (rows,) = payloads
            streams = [tuple(stream for (stream,) in rows)]
            made = self._model.decode(streams, (side, side), self._coders)
            for task, decoded in made.items():
                predicted(task, self._model.task_model(task), decoded.float(), ["grey"])

        return _peak(encode), _peak(decode)


class _Line(NamedTuple):
    """Bytes as they grow with the pixels."""

    fixed: float
    each: float

    def at(self, pixels: int) -> float:
        return self.fixed + self.each * pixels

    @classmethod
    def through(cls, small: float, large: float) -> _Line:
        """Through what was taken at `SIDES`; neither part is below 0."""
        fewer, more = (side * side for side in SIDES)
        each = max(0.0, (large - small) / (more - fewer))
        return cls(fixed=max(0.0, large - each * more), each=each)


def _peak(work: Callable[[], None]) -> int:
    """Bytes that torch has allocated on the CPU for ``work``, at the most at one time."""
    os.environ.setdefault("KINETO_LOG_LEVEL", "99")  # it would tell on stderr when it begins
    with torch.autograd.profiler.profile(profile_memory=True) as profile:
        work()
    results: Any = profile.kineto_results  # pyright: ignore[reportOptionalMemberAccess]
    changes = [event for event in results.events() if event.name() == "[memory]"]
    changes.sort(key=lambda event: event.start_ns())
    return max(accumulate((event.nbytes() for event in changes), initial=0))
