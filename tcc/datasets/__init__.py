"""Data set plug-ins: one file or folder a data set, reading its official layout.

This page is the contract. A plug-in ends with ``PLUGIN = MyDataset()``; importing it and calling
`describe` must not import torch.
"""

from __future__ import annotations

import hashlib
import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from pydantic import BaseModel, ConfigDict, Field

from tcc.datasets._describe import describe, reading
from tcc.errors import DataError
from tcc.records import DatasetInfo

if TYPE_CHECKING:
    from tcc.formats.sample import Sample

__all__ = [
    "TRAINING",
    "Dataset",
    "DatasetParams",
    "Split",
    "cut_select",
    "describe",
    "expanded",
    "find_root",
    "reading",
    "take_kinds",
]

TRAINING = ("train", "select")  # the splits that shape trained weights


class DatasetParams(BaseModel):
    """What the spec may set of a data set. ``paths``: fields that say where its files lie."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    paths: ClassVar[tuple[str, ...]] = ("root",)
    select: int = Field(
        default=0,
        ge=0,
        description="images cut from the end of the training set, in a seeded order, on which "
        "checkpoints are picked; 0: a tenth of the training set",
    )


class Split(Protocol):
    """A map-style sequence of samples; safe to read from several worker processes."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> Sample:
        """Raises:
        DataError: a file of the sample is missing, corrupt or contradicts another; names it.
        """
        ...

    def size(self, index: int) -> tuple[int, int]:
        """Height and width in pixels of a sample's image, told without decoding it."""
        ...


class Dataset(ABC):
    """A data set in its official layout."""

    version: ClassVar[int] = 1  # raised when its samples change
    Params: ClassVar[type[DatasetParams]]

    @abstractmethod
    def tiny(self, folder: Path) -> Mapping[str, Any]:
        """Parameters of a tiny instance in the official layout, with every label that the data
        set can have; made under ``folder`` where it is not generated. Tests train on it."""

    @abstractmethod
    def describe(self, params: Any) -> DatasetInfo:
        """Labels, classes, and each split's size and fingerprint (train and select apart). A
        fingerprint covers all that shapes a sample: files, parameters, not places. Callers use
        `tcc.datasets.describe`, which keeps the answer while `sources` do not change.

        Raises:
            DataError: the root or a needed part of it is missing or malformed.
        """

    @abstractmethod
    def open(self, params: Any, split: str, labels: Collection[str] | None = None) -> Split:
        """The samples of ``train``, ``select`` or ``val``. ``labels``: the kinds that are read, by
        default all that the data set has; which they are changes no image and no other label.

        Raises:
            DataError: the data set lacks one of ``labels``, or a needed part of it is missing.
        """

    def sources(self, params: Any) -> Iterable[Path]:
        """The files and folders (with all below them) whose change may change the description;
        none where `describe` reads no files."""
        return ()

    def prepare(self, params: Any, report: Callable[[int, int], None] | None = None) -> Path | None:
        """Makes on disk what must be made once (a generated data set); tells ``report(done,
        total)``. Safe to call from several processes at once; nothing to do by default."""
        return None


def cut_select(keys: Sequence[str], select: int) -> tuple[list[str], list[str]]:
    """Cuts a training set into what is trained on and what checkpoints are picked on.

    Which keys are cut follows from the keys alone: the same on every machine, whatever their
    order. ``select``: how many, 0 for a tenth. At least one is cut; of a single image both parts
    hold it. The order of ``keys`` is kept.

    Raises:
        DataError: ``select`` leaves nothing to train on.
    """
    if len(keys) == 1:
        return list(keys), list(keys)
    if select >= len(keys):
        raise DataError(f"select: {select} of {len(keys)} training images; some must be left")
    seeded = sorted(keys, key=lambda key: hashlib.sha256(_bytes(key)).digest())
    cut = set(seeded[-(select or max(1, len(keys) // 10)) :])
    return [key for key in keys if key not in cut], [key for key in keys if key in cut]


def root_variable(plugin: str) -> str:
    """The environment variable that says where a data set lies."""
    return f"TCC_{plugin.upper()}_ROOT"


def find_root(plugin: str, root: str | None) -> Path:
    """The folder of a data set: the spec's ``root``, else the environment's TCC_<PLUGIN>_ROOT.

    Raises:
        DataError: neither is set, or the folder is not there or cannot be reached.
    """
    variable = root_variable(plugin)
    given = root or os.environ.get(variable)
    ways = f"set `root` of data set {plugin} in the spec, or the environment variable {variable}"
    if not given:
        raise DataError(f"data set {plugin} has no root: {ways}")
    folder = expanded(given)
    with reading():
        there = folder.is_dir()
    if not there:
        raise DataError(f"{folder}: there is no such folder; {ways}")
    return folder


def expanded(path: str) -> Path:
    """A path with its leading ``~`` replaced by the home folder.

    Raises:
        DataError: there is no such home folder.
    """
    try:
        return Path(path).expanduser()
    except RuntimeError as error:
        raise DataError(f"{path}: {error}; write the whole path") from error


def take_kinds(
    plugin: str, kinds: Sequence[str], labels: Collection[str] | None
) -> tuple[str, ...]:
    """Those of a data set's label kinds that are read: all, or the asked ones, in its order.

    Raises:
        DataError: it has not all of them.
    """
    lacking = sorted(set(labels or ()) - set(kinds))
    if lacking:
        raise DataError(
            f"data set {plugin} has no {', '.join(lacking)} here: it has "
            f"{', '.join(kinds) or 'no labels'}"
        )
    return tuple(kind for kind in kinds if labels is None or kind in labels)


def _bytes(key: str) -> bytes:
    """As the file name is on disk, where it is not UTF-8 as well."""
    return key.encode(errors="surrogateescape")
