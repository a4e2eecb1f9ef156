"""Trials' models, loaded, to decode the streams of files of one size together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from tcc import registry
from tcc.codec.coding import LatentCoder
from tcc.codec.container import Container, overhead
from tcc.codec.geometry import Size
from tcc.errors import TccError, TrialError
from tcc.methods import TrialModel
from tcc.trial import memory
from tcc.trial.files import stored
from tcc.trial.files.headroom import Headroom
from tcc.trial.files.inputs import Coded, Input
from tcc.trial.files.stored import Stored
from tcc.trial.finite import predicted


@dataclass(frozen=True, kw_only=True)
class File(Input):
    """``parts``: layer that is wanted → the trial that decodes it, the base first."""

    container: Container
    parts: Mapping[str, Stored]

    def coded(self, outputs: tuple[Path, ...]) -> Coded:
        """What came of it."""
        *_, top = self.parts.values()
        layer_bytes = tuple(len(payload) for payload in self.container.layers)
        return Coded(
            source=self.path,
            outputs=outputs,
            trial=top.id,
            size=self.size,
            layer_bytes=layer_bytes,
            num_bytes=sum(layer_bytes) + sum(overhead(self.container)),
        )


class Decoder:
    """A trial's model, loaded."""

    def __init__(self, using: Stored):
        self._record, self._num_layers = using.record, using.num_layers
        self._model: TrialModel = stored.load(using)
        self.coders = self._model.coders()
        self._headroom = Headroom(using, self._model, self.coders)

    def refuse_short(self, items: Sequence[File]) -> None:
        """Raises `BitstreamError` where files of one size have too few bytes for it."""
        self._model.refuse_short(self._payloads(items), items[0].size, self.coders)

    def refuse_large(self, items: Sequence[File]) -> None:
        """Raises `MemoryExceededError` where files of one size would take more than there is."""
        self._headroom.refuse_decoding(items[0].size, len(items))

    def predict(
        self, items: Sequence[File], base: LatentCoder | None
    ) -> Mapping[str, Sequence[Any]]:
        """Task → the prediction of each of some files of one size. ``base``: decodes the base."""
        coders = self.coders if base is None else {**self.coders, "base": base}
        keys = [str(item.path) for item in items]
        decoded = self._model.decode(self._payloads(items), items[0].size, coders)
        return {
            name: _predicted(name, self._model.task_model(name), image.float(), keys)
            for name, image in decoded.items()
        }

    def write(
        self,
        made: Mapping[str, Sequence[Any]],
        prefixes: Sequence[Path],
        outputs: Sequence[list[Path]],
    ) -> None:
        """Writes what `predict` gave to PREFIX.TASK and a suffix, and adds the paths to the
        outputs of each file."""
        uses = {use.name: use for use in self._record.trial.recipe.tasks}
        for name, predictions in made.items():
            task = registry.load("tasks", uses[name].plugin)
            classes = stored.classes_of(self._record, uses[name])
            for prediction, prefix, paths in zip(predictions, prefixes, outputs, strict=True):
                paths.append(task.write(prediction, Path(f"{prefix}.{name}"), classes))

    def _payloads(self, items: Sequence[File]) -> list[tuple[bytes, ...]]:
        return [item.container.layers[: self._num_layers] for item in items]


class Decoders:
    """The decoders of the files at hand; what could not be loaded is not tried again."""

    def __init__(self) -> None:
        self._loaded: dict[str, Decoder | TccError] = {}

    def load(self, parts: Mapping[str, Stored]) -> dict[str, Decoder]:
        """The decoder of each layer; those of others are forgotten, but for errors.

        Raises:
            TccError: one cannot be loaded.
        """
        ids = {layer: using.id for layer, using in parts.items()}
        self._loaded = {
            id: known
            for id, known in self._loaded.items()
            if id in ids.values() or isinstance(known, TccError)
        }
        return {layer: self._one(ids[layer], using) for layer, using in parts.items()}

    def _one(self, id: str, using: Stored) -> Decoder:
        if id not in self._loaded:
            try:
                self._loaded[id] = Decoder(using)
            except TccError as error:
                self._loaded[id] = error
        found = self._loaded[id]
        if isinstance(found, TccError):
            raise found
        return found


class Once(LatentCoder):
    """A coder that decodes each stream once: the base is decoded for what stands on it, too."""

    def __init__(self, coder: LatentCoder):
        self._coder = coder
        self._known: dict[tuple[bytes, Size], Tensor] = {}

    def decode(self, stream: bytes, size: Size, side: Tensor | None = None) -> Tensor:
        assert side is None
        if (stream, size) not in self._known:
            self._known[stream, size] = self._coder.decode(stream, size)
        return self._known[stream, size]


def _predicted(
    task: str, task_model: Any, decoded_B3HW: Tensor, keys: Sequence[str]
) -> Sequence[Any]:
    """As `predicted`, but of an image that is too small or narrow for a task model, it says so."""
    try:
        return predicted(task, task_model, decoded_B3HW, keys)
    except (RuntimeError, ValueError) as error:
        if memory.exceeded(error):
            raise
        height, width = decoded_B3HW.shape[-2:]
        raise TrialError(
            f"the {task} model cannot read an image of {height}×{width} pixels "
            f"({memory.said(error)})"
        ) from error
