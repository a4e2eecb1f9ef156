"""Reads Pascal VOC: boxes of Annotations/*.xml and image lists of ImageSets/. Free of torch.

VOC counts pixels from 1 and names the first and the last pixel inside a box. Here a box is
continuous and from 0, so xmin and ymin lose 1 while xmax and ymax stay: the box 1 1 1 1 of a single
pixel becomes (0, 0, 1, 1).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

from tcc.errors import DataError
from tcc.formats.boxes import Boxes
from tcc.formats.image import list_images

# fmt: off
CLASSES = (
    "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow",
    "diningtable", "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train",
    "tvmonitor",
)
# fmt: on


def read_annotation(path: Path, classes: tuple[str, ...] = CLASSES) -> Boxes:
    """The boxes of one image; objects marked difficult are ``crowd``, which neither training nor
    evaluation counts. Boxes of an object's parts (a person's head) are left out.

    Raises:
        DataError: the file is missing or malformed, a class is unknown or a box has no extent.
    """
    label_of = {name: label for label, name in enumerate(classes, start=1)}
    rows: list[tuple[float, float, float, float]] = []
    labels: list[int] = []
    crowd: list[bool] = []
    for item in _parse(path).iter("object"):
        name = (item.findtext("name") or "").strip()
        if name not in label_of:
            raise DataError(f"{path}: unknown class {name!r}: there is {', '.join(classes)}")
        xmin, ymin, xmax, ymax = (
            _number(path, item, f"bndbox/{edge}") for edge in ("xmin", "ymin", "xmax", "ymax")
        )
        if xmax < xmin or ymax < ymin:
            raise DataError(f"{path}: the box of a {name}, {xmin} {ymin} {xmax} {ymax}, is empty")
        rows.append((xmin - 1, ymin - 1, xmax, ymax))
        labels.append(label_of[name])
        crowd.append((item.findtext("difficult") or "0").strip() == "1")
    area = [(x2 - x1) * (y2 - y1) for x1, y1, x2, y2 in rows]
    return Boxes.of(rows, labels, crowd, area)


@dataclass(frozen=True, kw_only=True)
class VocFile:
    """Where one image and its annotation lie."""

    key: str
    image: Path
    annotation: Path


def list_split(root: Path, split: str, image_list: str | None = None) -> list[VocFile] | None:
    """The images of ``train`` or ``val``, in the list's order: of ``image_list`` (relative to the
    root), else of ImageSets/Main, else of ImageSets/Segmentation. None where there is no list.

    Raises:
        DataError: the list is missing or empty, or names an image that is not there.
    """
    if image_list is not None:
        return _read_list(root, root / image_list)
    for kind in ("Main", "Segmentation"):
        path = root / "ImageSets" / kind / f"{split}.txt"
        if path.is_file():
            return _read_list(root, path)
    return None


def list_all(root: Path) -> list[VocFile]:
    """Every image of JPEGImages, by name.

    Raises:
        DataError: a folder is missing or empty, or an image has no annotation.
    """
    return _files(root, sorted(_images(root)), str(root / "JPEGImages"))


def _read_list(root: Path, path: Path) -> list[VocFile]:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: the image list cannot be read ({error})") from error
    # a class's own list has a second column, 1, 0 or -1
    keys = list(dict.fromkeys(line.split()[0] for line in lines if line.strip()))
    if not keys:
        raise DataError(f"{path}: the image list is empty")
    return _files(root, keys, str(path))


def _files(root: Path, keys: list[str], source: str) -> list[VocFile]:
    images = _images(root)
    folder = root / "Annotations"
    if not folder.is_dir():
        raise DataError(f"{folder}: there is no such folder; Pascal VOC keeps its boxes there")
    annotated = {path.stem for path in folder.iterdir() if path.suffix == ".xml"}
    for key in keys:
        if key not in images:
            raise DataError(f"{root / 'JPEGImages' / key}.jpg: there is no such file ({source})")
        if key not in annotated:
            raise DataError(f"{folder / key}.xml: there is no such file ({source})")
    return [VocFile(key=key, image=images[key], annotation=folder / f"{key}.xml") for key in keys]


def _images(root: Path) -> dict[str, Path]:
    return {path.stem: path for path in list_images(root / "JPEGImages")}


def _parse(path: Path) -> ElementTree.Element:
    try:
        return ElementTree.parse(path).getroot()
    except FileNotFoundError:
        raise DataError(f"{path}: there is no such file") from None
    except (OSError, ElementTree.ParseError) as error:
        raise DataError(f"{path}: cannot be read as XML ({error})") from error


def _number(path: Path, item: ElementTree.Element, tag: str) -> float:
    text = (item.findtext(tag) or "").strip()
    try:
        value = float(text)  # some of VOC 2011 and 2012 are fractions
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise DataError(f"{path}: {tag} is {text!r}, a number is needed")
    return value
