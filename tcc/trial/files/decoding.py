"""Scalable files to pictures and predictions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from tcc import registry
from tcc.codec import container
from tcc.codec.coding import LatentCoder
from tcc.codec.container import Container, ModelId
from tcc.codec.geometry import Size
from tcc.errors import BitstreamError, TccError, TrialError
from tcc.methods import TrialModel
from tcc.stores import open_store
from tcc.trial import memory
from tcc.trial.files import stored
from tcc.trial.files.encoding import SUFFIX
from tcc.trial.files.inputs import Coded, Input, Outcome, list_files, listed, make_folder, work_all
from tcc.trial.files.stored import Stored
from tcc.trial.finite import predicted

LAYERS = {"base": 1, "enhancement": 2, "all": None}  # → how many are read; None: all there are


@torch.inference_mode()
def decode(
    files: Sequence[Path], out: Path, *, layer: str, store: str, checkpoint: str | None = None
) -> Outcome:
    """Writes ``out``/STEM.LAYER.TASK.png or .json of each file, and of all files in each folder.

    ``layer``: of `LAYERS`; of ``base``, nothing behind it is read. ``checkpoint``: the trial that
    the files must be of, see `stored.find`; by default it is looked for in the store.

    Raises:
        TccError: of what concerns all: the trial, the folders, two files of one stem.
    """
    given = None if checkpoint is None else stored.find(checkpoint, store)
    paths = listed(files, lambda folder: list_files(folder, SUFFIX), _stem)
    opened = open_store(store, write=False) if given is None else given.store
    decoders = _Decoders()
    make_folder(out)

    @cache
    def look(model: ModelId) -> tuple[Stored, Mapping[str, Stored]]:
        top = stored.of_file(model, opened) if given is None else _same(model, given, layer)
        return top, _parts(top, layer)

    def read(path: Path) -> _File:
        found = container.read(path, layers=LAYERS[layer])
        try:
            top, parts = look(found.model)
            _refuse_other_layers(found, top, layer)
        except TccError as error:
            raise BitstreamError(f"{path}: {error}") from error
        return _File(
            path=path,
            size=found.size,
            kin=found.model,
            container=found,
            parts=parts,
            num_bytes=path.stat().st_size,
        )

    def work(items: Sequence[_File]) -> list[Coded]:
        outputs: list[list[Path]] = [[] for _ in items]
        base = None
        for name, decoder in decoders.load(items[0].parts).items():
            if len(items[0].parts) > 1:  # each of them decodes the base
                base = base or _Once(decoder.coders["base"])
            for paths, more in zip(outputs, decoder.write(items, name, out, base), strict=True):
                paths += more
        return [item.coded(tuple(paths)) for item, paths in zip(items, outputs, strict=True)]

    return work_all(Outcome(verb="decoded"), paths, read, work)


@dataclass(frozen=True, kw_only=True)
class _File(Input):
    """``parts``: layer that is wanted → the trial that decodes it, the base first."""

    container: Container
    parts: Mapping[str, Stored]
    num_bytes: int

    def coded(self, outputs: tuple[Path, ...]) -> Coded:
        *_, top = self.parts.values()
        return Coded(
            source=self.path,
            outputs=outputs,
            trial=top.record.trial.id,
            size=self.size,
            layer_bytes=tuple(len(payload) for payload in self.container.layers),
            num_bytes=self.num_bytes,
        )


class _Decoder:
    """A trial's model, loaded."""

    def __init__(self, using: Stored):
        self._record, self._num_layers = using.record, using.num_layers
        self._model: TrialModel = stored.load(using)
        self.coders = self._model.coders()

    def write(
        self, items: Sequence[_File], layer: str, out: Path, base: LatentCoder | None
    ) -> list[list[Path]]:
        """Decodes files of one size and writes each one's outputs. ``base``: decodes the base."""
        coders = self.coders if base is None else {**self.coders, "base": base}
        size, keys = items[0].size, [str(item.path) for item in items]
        payloads = [item.container.layers[: self._num_layers] for item in items]
        written: list[list[Path]] = [[] for _ in items]
        uses = {use.name: use for use in self._record.trial.recipe.tasks}
        for name, decoded in self._model.decode(payloads, size, coders).items():
            task = registry.load("tasks", uses[name].plugin)
            classes = stored.classes_of(self._record, uses[name])
            found = _predicted(name, self._model.task_model(name), decoded.float(), keys)
            for item, prediction, paths in zip(items, found, written, strict=True):
                stem = out / f"{_stem(item.path)}.{layer}.{name}"
                paths.append(task.write(prediction, stem, classes))
        return written


class _Decoders:
    """The decoders of the files at hand; what could not be loaded is not tried again."""

    def __init__(self) -> None:
        self._loaded: dict[str, _Decoder | TccError] = {}

    def load(self, parts: Mapping[str, Stored]) -> dict[str, _Decoder]:
        """The decoder of each layer; those of others are forgotten, but for errors.

        Raises:
            TccError: one cannot be loaded.
        """
        ids = {layer: using.record.trial.id for layer, using in parts.items()}
        self._loaded = {
            id: known
            for id, known in self._loaded.items()
            if id in ids.values() or isinstance(known, TccError)
        }
        return {layer: self._one(ids[layer], using) for layer, using in parts.items()}

    def _one(self, id: str, using: Stored) -> _Decoder:
        if id not in self._loaded:
            try:
                self._loaded[id] = _Decoder(using)
            except TccError as error:
                self._loaded[id] = error
        found = self._loaded[id]
        if isinstance(found, TccError):
            raise found
        return found


class _Once(LatentCoder):
    """A coder that decodes each stream once: the base is decoded for what stands on it, too."""

    def __init__(self, coder: LatentCoder):
        self._coder = coder
        self._known: dict[tuple[bytes, Size], Tensor] = {}

    def decode(self, stream: bytes, size: Size, side: Tensor | None = None) -> Tensor:
        assert side is None
        if (stream, size) not in self._known:
            self._known[stream, size] = self._coder.decode(stream, size)
        return self._known[stream, size]


def _same(model: ModelId, given: Stored, layer: str) -> Stored:
    """The trial of a file, which must be the one that was given; or, of whose base alone is wanted,
    one that stands on it.

    Raises:
        BitstreamError: it is not.
    """
    if given.model_id == model:
        return given
    if layer == "base":
        try:
            top = stored.of_file(model, given.store)
            if top.base().record.trial.id == given.record.trial.id:
                return top
        except TccError:  # then all that is known is that it is another
            pass
    raise BitstreamError(
        f"was written with trial {model.trial.hex()}… of weights {model.weights.hex()}…, not with "
        f"{given.name} of weights {given.model_id.weights.hex()}…: leave --checkpoint out, or "
        "give that one"
    )


def _parts(top: Stored, layer: str) -> Mapping[str, Stored]:
    """Layer that is wanted → the trial that decodes it, the base first.

    Raises:
        TccError: the base's trial is not to be had.
    """
    parts = {}
    if layer != "enhancement":
        parts["base"] = top.base()
    if top.num_layers > 1 and layer != "base":
        parts["enhancement"] = top
    return parts


def _refuse_other_layers(found: Container, top: Stored, layer: str) -> None:
    if len(found.layers) != min(top.num_layers, LAYERS[layer] or top.num_layers):
        raise BitstreamError(
            f"layers are {len(found.layers)}, files of trial {top.name} have {top.num_layers}: it "
            "was not written with it"
        )


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


def _stem(path: Path) -> str:
    return path.name.removesuffix(SUFFIX)
