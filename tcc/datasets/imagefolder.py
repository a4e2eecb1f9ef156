"""Classification folders: train/CLASS/… and val/CLASS/…, as ImageNet and many others have them.

The classes are the names of the folders in train, in order; images may lie in folders of a class.
ImageNet's own ILSVRC/Data/CLS-LOC is found below the root.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field

from tcc.datasets import Dataset, DatasetParams, cut_select, find_root, take_kinds
from tcc.errors import DataError
from tcc.formats import image
from tcc.formats.fingerprint import fingerprint_files
from tcc.records import DatasetInfo, FrozenMap

if TYPE_CHECKING:
    from tcc.formats.sample import Sample

VALIDATION = ("val", "valid", "validation")  # where there is none of them: test
_NO_CLASS = ("@eaDir", "__MACOSX")  # what file servers and archives leave beside the images
_BELOW_ROOT = ("", "ILSVRC/Data/CLS-LOC", "Data/CLS-LOC")


class Params(DatasetParams):
    """Where the folders lie."""

    root: str | None = Field(
        default=None,
        description="folder that holds train and val; by default $TCC_IMAGEFOLDER_ROOT",
    )


@dataclass(frozen=True)
class ImageFolderSplit:
    """Image files with their class. ``keys``: paths within ``folder``, CLASS/…/NAME; ``kinds``: the
    label kinds that are read."""

    folder: Path
    keys: tuple[str, ...]
    classes: tuple[str, ...]
    kinds: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.keys)

    def __getitem__(self, index: int) -> Sample:
        import torch

        from tcc.formats.sample import Sample, image_tensor

        key = self.keys[index]
        labels = {"class": torch.tensor(self.classes.index(_class_of(key)))}
        return Sample(
            key=key,
            image=image_tensor(image.read_rgb(self.folder / key)),
            labels={kind: labels[kind] for kind in self.kinds},
        )

    def size(self, index: int) -> tuple[int, int]:
        return image.image_size(self.folder / self.keys[index])


class ImageFolder(Dataset):
    """Images sorted into a folder for each class."""

    version: ClassVar[int] = 1
    Params: ClassVar[type[DatasetParams]] = Params

    def tiny(self, folder: Path) -> dict[str, Any]:
        from PIL import Image

        from tcc.datasets._tiny import CLASSES, SIZES, draw

        for index in range(12):
            scene = draw(index, *SIZES[index % len(SIZES)])
            split = "train" if index < 8 else "val"
            path = folder / split / CLASSES[scene.label] / f"{index}.JPEG"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(scene.image).save(path, quality=95)
        return {"root": str(folder)}

    def describe(self, params: Params) -> DatasetInfo:
        splits, classes = _survey(params)
        return DatasetInfo(
            labels=("class",),
            splits=FrozenMap({split: len(keys) for split, (_, keys) in splits.items()}),
            fingerprints=FrozenMap(
                {split: _fingerprint(*part, classes) for split, part in splits.items()}
            ),
            classes=FrozenMap({"class": classes}),
        )

    def open(
        self, params: Params, split: str, labels: Collection[str] | None = None
    ) -> ImageFolderSplit:
        splits, classes = _survey(params)
        folder, keys = splits[split]
        return ImageFolderSplit(
            folder, tuple(keys), classes, take_kinds("imagefolder", ("class",), labels)
        )

    def sources(self, params: Params) -> Iterable[Path]:
        return _folders(find_root("imagefolder", params.root))


def _survey(params: Params) -> tuple[dict[str, tuple[Path, list[str]]], tuple[str, ...]]:
    """The folder and the keys of each split; the classes."""
    train, val = _folders(find_root("imagefolder", params.root))
    keys = _list_keys(train)
    classes = tuple(sorted({_class_of(key) for key in keys}))
    val_keys = _list_keys(val)
    foreign = sorted({_class_of(key) for key in val_keys} - set(classes))
    if foreign:
        raise DataError(
            f"{val / foreign[0]}: a class that {train} has no folder of ({len(foreign)} such); "
            "add it there, or delete it here"
        )
    kept, selected = cut_select(keys, params.select)
    return {"train": (train, kept), "select": (train, selected), "val": (val, val_keys)}, classes


def _folders(root: Path) -> tuple[Path, Path]:
    """The folders of the training and the validation images."""
    parents = [root / below for below in _BELOW_ROOT]
    parent = next((folder for folder in parents if (folder / "train").is_dir()), None)
    if parent is None:
        raise DataError(
            f"{root / 'train'}: there is no such folder; data set imagefolder reads train/CLASS/… "
            f"and val/CLASS/… below `root`"
        )
    there = [name for name in VALIDATION if (parent / name).is_dir()]
    if not there and (parent / "test").is_dir():
        there = ["test"]
    if len(there) != 1:
        raise DataError(
            f"{parent}: the validation images lie in one folder {', '.join(VALIDATION)} or test; "
            + (f"here are {' and '.join(there)}, rename all but one" if there else "there is none")
        )
    return parent / "train", parent / there[0]


def _list_keys(folder: Path) -> list[str]:
    """The images of every class by name, as paths within the folder."""
    try:
        with os.scandir(folder) as entries:
            children = sorted(
                (entry for entry in entries if not _is_hidden(entry.name)),
                key=lambda entry: entry.name,
            )
        flat = [entry.name for entry in children if _is_image(entry.name) and entry.is_file()]
        if flat:
            raise DataError(
                f"{folder / flat[0]}: an image in no class folder ({len(flat)} such in {folder}); "
                f"move each into the folder of its class, {folder.name}/CLASS/… (ImageNet's val "
                "comes without: sort it by the ground truth of its development kit)"
            )
        keys = []
        for entry in children:
            if entry.is_dir():
                found = list(_images(entry.path, f"{entry.name}/"))
                if not found:
                    raise DataError(
                        f"{entry.path}: no image in this class folder; fill or delete it (images "
                        f"end in {', '.join(image.SUFFIXES)})"
                    )
                keys += found
    except OSError as error:
        raise DataError(f"{error.filename}: cannot be read ({error.strerror})") from error
    if not keys:
        raise DataError(f"{folder}: no class folder; images lie in {folder.name}/CLASS/…")
    return keys


def _images(folder: str, prefix: str) -> Iterator[str]:
    """The images in and below a folder; links are followed, those that go round are refused."""
    with os.scandir(folder) as entries:
        for entry in sorted(entries, key=lambda entry: entry.name):
            if _is_hidden(entry.name):
                continue
            if entry.is_dir():
                yield from _images(entry.path, f"{prefix}{entry.name}/")
            elif _is_image(entry.name):
                yield prefix + entry.name


def _is_hidden(name: str) -> bool:
    return name.startswith(".") or name in _NO_CLASS


def _is_image(name: str) -> bool:
    return name.lower().endswith(image.SUFFIXES)


def _class_of(key: str) -> str:
    return key.partition("/")[0]


def _fingerprint(folder: Path, keys: list[str], classes: tuple[str, ...]) -> str:
    """Of the files, and of the classes, by whose order a label has its number."""
    files = fingerprint_files(folder, images=(f"{folder}/{key}" for key in keys))
    return hashlib.sha256(
        "\0".join((files, *classes)).encode(errors="surrogateescape")
    ).hexdigest()[:32]


PLUGIN = ImageFolder()
