"""Scalable files to pictures and predictions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from itertools import chain
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
from tcc.trial.files.headroom import Headroom
from tcc.trial.files.inputs import Coded, Input, Outcome, list_files, listed, make_folder, work_all
from tcc.trial.files.stored import Stored
from tcc.trial.finite import predicted

LAYERS = {"base": 1, "enhancement": 2, "all": None}  # → how many are read; None: all there are


@torch.inference_mode()
def decode(
    files: Sequence[Path],
    out: Path,
    *,
    layer: str,
    store: str,
    checkpoint: str | None = None,
    max_pixels: int = container.MAX_PIXELS,
) -> Outcome:
    """Writes ``out``/STEM.LAYER.TASK.png or .json of each file, and of all files in each folder.
    All that is written of a file is, or none.

    ``layer``: of `LAYERS`; of ``base``, nothing behind it is read. ``checkpoint``: the trial that
    the files must be of, see `stored.find`; by default it is looked for in the store.
    ``max_pixels``: a file of more is refused. A well-formed file takes the time and memory of an
    image of its size; what takes more memory than there is, is refused before it is decoded.

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
        found = container.read(path, layers=LAYERS[layer], max_pixels=max_pixels)
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
        loaded = decoders.load(items[0].parts)
        for decoder in loaded.values():
            decoder.refuse_short(items)
        for decoder in loaded.values():
            decoder.refuse_large(items)
        base = _Once(loaded["base"].coders["base"]) if len(loaded) > 1 else None
        # from the top, so that all streams are decoded before the first picture is made
        made = {name: loaded[name].predict(items, base) for name in reversed(loaded)}
        outputs: list[list[Path]] = [[] for _ in items]
        with _all_or_none(outputs):
            for name, decoder in loaded.items():
                decoder.write(made[name], [_prefix(item, name, out) for item in items], outputs)
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
        self._headroom = Headroom(using, self._model, self.coders)

    def refuse_short(self, items: Sequence[_File]) -> None:
        """Raises `BitstreamError` where files of one size have too few bytes for it."""
        self._model.refuse_short(self._payloads(items), items[0].size, self.coders)

    def refuse_large(self, items: Sequence[_File]) -> None:
        """Raises `MemoryExceededError` where files of one size would take more than there is."""
        self._headroom.refuse_decoding(items[0].size, len(items))

    def predict(
        self, items: Sequence[_File], base: LatentCoder | None
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
        prefixes: Sequence[str],
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

    def _payloads(self, items: Sequence[_File]) -> list[tuple[bytes, ...]]:
        return [item.container.layers[: self._num_layers] for item in items]


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


@contextmanager
def _all_or_none(outputs: Sequence[list[Path]]) -> Iterator[None]:
    """Takes back what was written, where not all could be."""
    try:
        yield
    except BaseException:
        for path in chain(*outputs):
            path.unlink(missing_ok=True)
        raise


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


def _prefix(item: _File, layer: str, out: Path) -> str:
    return str(out / f"{_stem(item.path)}.{layer}")


def _stem(path: Path) -> str:
    return path.name.removesuffix(SUFFIX)
