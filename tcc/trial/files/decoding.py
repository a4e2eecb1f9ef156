"""Scalable files to pictures and predictions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path

import torch

from tcc.codec import container
from tcc.codec.container import ModelId
from tcc.errors import BitstreamError, TccError
from tcc.formats import atomic
from tcc.stores import open_store
from tcc.trial.files import stored
from tcc.trial.files.decoders import Decoders, File, Once
from tcc.trial.files.encoding import SUFFIX
from tcc.trial.files.inputs import Coded, Outcome, list_files, listed, make_folder, work_all
from tcc.trial.files.stored import Stored

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
    All that is written of a file is, or none: then what was there before stays.

    ``layer``: of `LAYERS`; of ``base``, nothing behind it is read. ``checkpoint``: the trial that
    is to decode them or, of the base alone, one that stands on it, see `stored.find`; by default
    the trial is looked for in the store.
    ``max_pixels``: a file of more is refused. A well-formed file takes the time and memory of an
    image of its size; what takes more memory than there is, is refused before it is decoded.

    Raises:
        TccError: of what concerns all: the trial, the folders, two files of one stem.
    """
    given = None if checkpoint is None else stored.find(checkpoint, store)
    paths = listed(files, lambda folder: list_files(folder, SUFFIX), _stem)
    opened = open_store(store, write=False) if given is None else given.store
    decoders = Decoders()
    make_folder(out)

    @cache
    def look(models: tuple[ModelId, ...]) -> Mapping[str, Stored]:
        wanted = models[: LAYERS[layer]]
        if given is None:
            return _parts(stored.of_file(wanted, opened), layer)
        if not (given.fits(wanted) or given.fits(models)):
            raise BitstreamError(
                f"needs {wanted[-1]}, not {given.name} of weights {given.sha256[:4]}…: leave "
                f"--checkpoint out, or give that one{stored.base_alone(wanted)}"
            )
        return _parts(given, layer)

    def read(path: Path) -> File:
        found = container.read(path, layers=LAYERS[layer], max_pixels=max_pixels)
        try:
            parts = look(found.models)
        except TccError as error:
            raise BitstreamError(f"{path}: {error}") from error
        return File(path=path, size=found.size, kin=found.models, container=found, parts=parts)

    def work(items: Sequence[File]) -> list[Coded]:
        loaded = decoders.load(items[0].parts)
        for decoder in loaded.values():
            decoder.refuse_short(items)
        for decoder in loaded.values():
            decoder.refuse_large(items)
        base = Once(loaded["base"].coders["base"]) if len(loaded) > 1 else None
        # from the top, so that all streams are decoded before the first picture is made
        made = {name: loaded[name].predict(items, base) for name in reversed(loaded)}
        outputs: list[list[Path]] = [[] for _ in items]
        with atomic.all_or_none(out) as folder:
            for name, decoder in loaded.items():
                prefixes = [folder / f"{_stem(item.path)}.{name}" for item in items]
                decoder.write(made[name], prefixes, outputs)
        return [
            item.coded(tuple(out / path.name for path in paths))
            for item, paths in zip(items, outputs, strict=True)
        ]

    return work_all(Outcome(verb="decoded"), paths, read, work)


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


def _stem(path: Path) -> str:
    return path.name.removesuffix(SUFFIX)
