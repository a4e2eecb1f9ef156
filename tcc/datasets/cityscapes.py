"""Cityscapes: street scenes with 19 classes of label ids and with disparity.

Reads the packages leftImg8bit, gtFine and disparity as they are unpacked, or laid together. A label
kind is offered if every image has it; gtFine's ids become the 19 official train ids.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import numpy as np
from pydantic import Field

from tcc.datasets import Dataset, DatasetParams, cut_select, find_root, take_kinds
from tcc.errors import DataError
from tcc.formats import cityscapes, image
from tcc.formats.cityscapes import SUFFIXES, Found, SplitFiles
from tcc.formats.fingerprint import content_sha256
from tcc.records import DatasetInfo, FrozenMap

if TYPE_CHECKING:
    from tcc.formats.sample import Sample

PACKAGES = {
    "image": "leftImg8bit_trainvaltest.zip",
    "label_ids": "gtFine_trainvaltest.zip",
    "disparity": "disparity_trainvaltest.zip",
}
_READ = {"label_ids": cityscapes.read_label_ids, "disparity": cityscapes.read_disparity}
_NOT_LABEL_IDS = " (_gtFine_color.png, _gtFine_labelTrainIds.png … are not label ids)"


class Params(DatasetParams):
    """Where Cityscapes lies."""

    root: str | None = Field(
        default=None,
        description="folder below which the packages are unpacked; by default $TCC_CITYSCAPES_ROOT",
    )


@dataclass(frozen=True)
class CityscapesSplit:
    """Frames with the labels that all of them have. ``labels``: kind → a file for each image."""

    keys: tuple[str, ...]
    images: tuple[str, ...]
    labels: Mapping[str, tuple[str, ...]]

    def __len__(self) -> int:
        return len(self.keys)

    def __getitem__(self, index: int) -> Sample:
        from tcc.formats.sample import Sample, image_tensor, mask_label

        file = Path(self.images[index])
        pixels = image.read_rgb(file)
        labels = {}
        for kind, files in self.labels.items():
            values = _read(kind, Path(files[index]))
            if values.shape != pixels.shape[:2]:
                raise DataError(
                    f"{files[index]} has {values.shape[1]} x {values.shape[0]} pixels, but {file} "
                    f"has {pixels.shape[1]} x {pixels.shape[0]}; unpack both packages anew"
                )
            labels[kind] = mask_label(values)
        return Sample(key=self.keys[index], image=image_tensor(pixels), labels=labels)

    def size(self, index: int) -> tuple[int, int]:
        return image.image_size(Path(self.images[index]))


class Cityscapes(Dataset):
    """The official splits train and val."""

    version: ClassVar[int] = 1
    Params: ClassVar[type[DatasetParams]] = Params

    def tiny(self, folder: Path) -> dict[str, Any]:
        from tcc.datasets._tiny import draw

        # road, car and person, whose train ids are the scene's label ids in this order
        written = np.array([cityscapes.LABEL_IDS[k] for k in (0, 13, 11)], np.uint8)
        for index in range(12):
            scene = draw(index)
            key = f"{('aachen', 'bochum')[index % 2]}_{index:06d}_000019"
            files = cityscapes.frame(folder, "train" if index < 8 else "val", key)
            label_ids = written[scene.label_ids]
            label_ids[-4:] = 1  # ego vehicle: ignored
            for path, pixels in (
                (files.image, scene.image),
                (files.label_ids, label_ids),
                (files.disparity, scene.disparity),
            ):
                path.parent.mkdir(parents=True, exist_ok=True)
                image.write_png(path, pixels)
        return {"root": str(folder)}

    def describe(self, params: Params) -> DatasetInfo:
        survey = _survey(params)
        return DatasetInfo(
            labels=survey.kinds,
            splits=FrozenMap({split: len(keys) for split, keys in survey.keys.items()}),
            fingerprints=FrozenMap({split: _fingerprint(survey, split) for split in survey.keys}),
            classes=FrozenMap(
                {"label_ids": cityscapes.CLASSES} if "label_ids" in survey.kinds else {}
            ),
            absent=FrozenMap(survey.absent),
        )

    def open(
        self, params: Params, split: str, labels: Collection[str] | None = None
    ) -> CityscapesSplit:
        survey = _survey(params)
        kinds = take_kinds("cityscapes", survey.kinds, labels)
        images, *read = (
            tuple(file.path for file in survey.found(split, kind)) for kind in ("image", *kinds)
        )
        return CityscapesSplit(
            keys=tuple(survey.keys[split]),
            images=images,
            labels=dict(zip(kinds, read, strict=True)),
        )

    def sources(self, params: Params) -> Iterable[Path]:
        return (find_root("cityscapes", params.root),)


class _Survey(NamedTuple):
    """What is there and can be used."""

    files: Mapping[str, SplitFiles]  # as they lie on disk: train and val
    keys: Mapping[str, list[str]]  # train, select and val
    kinds: tuple[str, ...]
    absent: Mapping[str, str]

    def found(self, split: str, kind: str) -> list[Found]:
        files = getattr(self.files["val" if split == "val" else "train"], kind)
        return [files[key] for key in self.keys[split]]


def _survey(params: Params) -> _Survey:
    root = find_root("cityscapes", params.root)
    files = cityscapes.find_files(root)
    for split, part in files.items():
        if not part.image:
            raise DataError(
                f"{root}: no image of split {split}: no *{SUFFIXES['image']} below a folder named "
                f"{split}; unpack {PACKAGES['image']} of Cityscapes there"
            )
    _require_images(root, files)
    kinds, absent = [], {}
    for kind in _READ:
        if any(getattr(part, kind) for part in files.values()):
            _require_all(root, files, kind)
            kinds.append(kind)
        else:
            absent[kind] = (
                f"{root}: no *{SUFFIXES[kind]} below a folder named train or val; unpack "
                f"{PACKAGES[kind]} of Cityscapes there"
                + (_NOT_LABEL_IDS if kind == "label_ids" else "")
            )
    train, selected = cut_select(sorted(files["train"].image), params.select)
    keys = {"train": train, "select": selected, "val": sorted(files["val"].image)}
    return _Survey(files, keys, tuple(kinds), absent)


def _require_images(root: Path, files: Mapping[str, SplitFiles]) -> None:
    """Refuses labels without their image, which an unpacking that was interrupted leaves."""
    missing = [
        key
        for part in files.values()
        for key in sorted({*part.label_ids, *part.disparity} - set(part.image))
    ]
    if missing:
        raise DataError(
            f"{missing[0]}{SUFFIXES['image']}: there is no such file below {root}, but there are "
            f"labels for it ({len(missing)} images are missing); unpack the whole of "
            f"{PACKAGES['image']} of Cityscapes there"
        )


def _require_all(root: Path, files: Mapping[str, SplitFiles], kind: str) -> None:
    images = [(part, key) for part in files.values() for key in sorted(part.image)]
    missing = [(part, key) for part, key in images if key not in getattr(part, kind)]
    if missing:
        part, key = missing[0]
        raise DataError(
            f"{key}{SUFFIXES[kind]}: there is no such file below {root} for {part.image[key].path} "
            f"({len(missing)} of {len(images)} images lack theirs); unpack the whole of "
            f"{PACKAGES[kind]} of Cityscapes there"
        )


def _read(kind: str, path: Path) -> np.ndarray:
    try:
        return _READ[kind](path)
    except DataError as error:
        raise DataError(
            f"{error}; take it from {PACKAGES[kind]} of Cityscapes"
            + (_NOT_LABEL_IDS if kind == "label_ids" else "")
        ) from error


def _fingerprint(survey: _Survey, split: str) -> str:
    """Of names and sizes in bytes, of label ids (of which many are of one size) the contents: to
    read them all would take minutes."""
    digest = hashlib.sha256()
    for kind in ("image", *survey.kinds):
        for key, file in zip(survey.keys[split], survey.found(split, kind), strict=True):
            what = content_sha256(file.path) if kind == "label_ids" else file.num_bytes
            digest.update(f"{key}{SUFFIXES[kind]}\0{what}\n".encode(errors="surrogateescape"))
    return digest.hexdigest()[:32]


PLUGIN = Cityscapes()
