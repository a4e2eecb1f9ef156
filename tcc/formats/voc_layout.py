"""Reads the layout of Pascal VOC: where files lie, and image lists. Free of torch.

    JPEGImages/KEY.jpg   Annotations/KEY.xml   SegmentationClass/KEY.png
    ImageSets/Main/SPLIT.txt   ImageSets/Segmentation/SPLIT.txt

What the labels say is `voc`'s to read.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tcc.errors import DataError
from tcc.formats import image

IMAGE_SETS = ("Main", "Segmentation")
_YEAR = re.compile(r"VOC20\d\d")
LABEL_FILES = {"boxes": ("Annotations", ".xml"), "label_ids": ("SegmentationClass", ".png")}


@dataclass(frozen=True, kw_only=True)
class Layout:
    """A folder in VOC's layout. ``images``: key → file name in JPEGImages."""

    root: Path
    images: Mapping[str, str]

    def image(self, key: str) -> Path:
        """The file of an image."""
        return self.root.joinpath("JPEGImages", self.images[key])

    def label(self, kind: str, key: str) -> Path:
        """The file of a label of an image; it need not exist."""
        folder, suffix = LABEL_FILES[kind]
        return self.root.joinpath(folder, key + suffix)

    def unlabelled(self, kind: str, keys: Sequence[str]) -> list[str]:
        """The keys that have no label file of a kind."""
        folder, suffix = LABEL_FILES[kind]
        if not (self.root / folder).is_dir():
            return list(keys)
        with os.scandir(self.root / folder) as entries:
            there = {entry.name for entry in entries}
        return [key for key in keys if key + suffix not in there]


def find_root(given: Path) -> Path:
    """The folder that holds JPEGImages: the given one, or the one VOC20xx below it or below its
    VOCdevkit.

    Raises:
        DataError: there is none or more than one.
    """
    if (given / "JPEGImages").is_dir():
        return given
    above = [folder for folder in (given, given / "VOCdevkit") if folder.is_dir()]
    years = [year for folder in above for year in folder.iterdir() if _YEAR.fullmatch(year.name)]
    found = sorted(year for year in years if (year / "JPEGImages").is_dir())
    if not found:
        raise DataError(
            f"{given / 'JPEGImages'}: there is no such folder; set `root` of data set voc to the "
            "folder that holds it, or to a VOCdevkit with one VOC20xx in it"
        )
    if len(found) > 1:
        raise DataError(
            f"{given}: holds {' and '.join(map(str, found))}; set `root` of data set voc to one"
        )
    return found[0]


def read_layout(root: Path) -> Layout:
    """The layout in a folder that holds JPEGImages.

    Raises:
        DataError: it holds no image, or two of the same key.
    """
    images: dict[str, str] = {}
    for file in image.list_images(root / "JPEGImages"):
        twin = images.setdefault(file.stem, file.name)
        if twin != file.name:
            raise DataError(f"{file} and {twin}: two images of one name; delete or rename one")
    return Layout(root=root, images=images)


def read_lists(
    layout: Layout, image_set: str | None, own: Mapping[str, str | None]
) -> dict[str, list[str]]:
    """The keys of ``train`` and ``val``, in their lists' order: of the lists in ``own`` (relative
    to the root), else of ImageSets/<image_set>, by default Main where it has a list, else
    Segmentation. Without any list in ImageSets each split is all images by name.

    Raises:
        DataError: a list is missing or empty, or names an image that is not there.
    """
    image_set = image_set or _first_image_set(layout, tuple(own))
    if image_set is None and not any(own.values()):
        _refuse_other_lists(layout)
        return {split: sorted(layout.images) for split in own}
    splits = {}
    for split, chosen in own.items():
        path = layout.root / (chosen or f"ImageSets/{image_set or IMAGE_SETS[0]}/{split}.txt")
        if not path.is_file():
            raise DataError(
                f"{path}: there is no such file; set `{split}_list` of data set voc to a list of "
                f"images, or `image_set` to that of {', '.join(IMAGE_SETS)} which has both lists"
            )
        splits[split] = _read_list(layout, path)
    return splits


def _first_image_set(layout: Layout, splits: tuple[str, ...]) -> str | None:
    for name in IMAGE_SETS:
        if any((layout.root / "ImageSets" / name / f"{split}.txt").is_file() for split in splits):
            return name
    return None


def _refuse_other_lists(layout: Layout) -> None:
    """Lists of which none is read must not make all images one split."""
    folders = [layout.root / "ImageSets" / name for name in IMAGE_SETS]
    files = [file for folder in folders if folder.is_dir() for file in sorted(folder.iterdir())]
    if lists := [file.name for file in files if file.suffix == ".txt"]:
        raise DataError(
            f"{layout.root / 'ImageSets'}: holds {', '.join(lists[:8])}{' …' * (len(lists) > 8)}, "
            "but neither train.txt nor val.txt; set `train_list` and `val_list` of data set voc, "
            f"relative to {layout.root}"
        )


def _read_list(layout: Layout, path: Path) -> list[str]:
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: the image list cannot be read ({error})") from error
    keys = list(dict.fromkeys(key for line in lines if (key := _listed(layout, line))))
    if not keys:
        raise DataError(f"{path}: the image list is empty")
    for key in keys:
        if key not in layout.images:
            file = layout.root / "JPEGImages" / f"{key}.jpg"
            raise DataError(f"{file}: there is no such file, but {path} names it")
    return keys


def _listed(layout: Layout, line: str) -> str:
    """The image that a line names, which may hold spaces. A class's own list has a second column:
    1, 0 where all its objects are difficult, -1 where it has none, which leaves the image out."""
    whole = line.strip()
    key, mark = (whole.rsplit(maxsplit=1) + [""] * 2)[:2]
    listed = whole in layout.images or mark not in ("1", "0", "-1")
    return whole if listed else key * (mark != "-1")
