"""Reads and writes Pascal VOC: where files lie, image lists, boxes, masks. Free of torch.

    JPEGImages/KEY.jpg   Annotations/KEY.xml   SegmentationClass/KEY.png
    ImageSets/Main/SPLIT.txt   ImageSets/Segmentation/SPLIT.txt

VOC counts pixels from 1 and names the first and the last pixel inside a box. Here a box is
continuous and from 0, so xmin and ymin lose 1 while xmax and ymax stay: the box 1 1 1 1 of a single
pixel becomes (0, 0, 1, 1).
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
from numpy.typing import NDArray

from tcc.errors import DataError
from tcc.formats import atomic, image
from tcc.formats.boxes import Boxes

# fmt: off
CLASSES = (
    "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow",
    "diningtable", "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train",
    "tvmonitor",
)
# fmt: on
BORDER = 255  # of a mask: the rim of objects, which is ignored
IMAGE_SETS = ("Main", "Segmentation")
_YEAR = re.compile(r"VOC20\d\d")
LABEL_FILES = {"boxes": ("Annotations", ".xml"), "label_ids": ("SegmentationClass", ".png")}


@dataclass(frozen=True, kw_only=True)
class Annotation:
    """What one XML file says. ``size``: the image's height and width in pixels, if it is told."""

    boxes: Boxes
    size: tuple[int, int] | None


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


def read_annotation(path: Path, classes: tuple[str, ...] = CLASSES) -> Annotation:
    """The boxes of one image; objects marked difficult are ``crowd``, which neither training nor
    evaluation counts. Boxes of an object's parts (a person's head) are left out.

    Raises:
        DataError: the file is missing or malformed, a class is unknown, or a box has no extent or
            lies outside of the image.
    """
    label_of = {name: label for label, name in enumerate(classes, start=1)}
    root = _parse(path)
    rows: list[tuple[float, float, float, float]] = []
    labels: list[int] = []
    crowd: list[bool] = []
    for item in root.findall("object"):
        name = (item.findtext("name") or "").strip()
        if name not in label_of:
            raise DataError(
                f"{path}: unknown class {name!r}; data set voc has VOC's {len(classes)} classes: "
                f"{', '.join(classes)}; rename it, or bring other classes as data set coco"
            )
        box = item.find("bndbox")
        if box is None:
            raise DataError(f"{path}: a {name} has no bndbox; add it, or delete the object")
        xmin, ymin, xmax, ymax = (
            _number(path, box, edge) for edge in ("xmin", "ymin", "xmax", "ymax")
        )
        if xmax < xmin or ymax < ymin:
            raise DataError(
                f"{path}: the box of a {name}, {xmin:g} {ymin:g} {xmax:g} {ymax:g}, is empty; "
                "correct it, or delete the object"
            )
        rows.append((xmin - 1, ymin - 1, xmax, ymax))
        labels.append(label_of[name])
        crowd.append((item.findtext("difficult") or "0").strip() == "1")
    area = [(x2 - x1) * (y2 - y1) for x1, y1, x2, y2 in rows]
    annotation = Annotation(boxes=Boxes.of(rows, labels, crowd, area), size=_size(path, root))
    if annotation.size is not None:
        refuse_outside(path, annotation.boxes, annotation.size)
    return annotation


def refuse_outside(path: Path, boxes: Boxes, size: tuple[int, int]) -> None:
    """Checks that each box of an annotation has a part in its image of that height and width.

    Raises:
        DataError: one has not.
    """
    height, width = size
    outside = boxes.clipped(height, width).empty
    if outside.any():
        x1, y1, x2, y2 = boxes.xyxy[outside][0]
        raise DataError(
            f"{path}: the box {x1 + 1:g} {y1 + 1:g} {x2:g} {y2:g} lies outside of its image, which "
            f"has {width} x {height} pixels; correct it, or delete the object"
        )


def read_label_ids(path: Path) -> NDArray[np.uint8]:
    """The indices of a palette mask, (H, W): 0 background, class k of CLASSES k + 1, 255 ignored.

    Raises:
        DataError: the file is missing or corrupt, not 8-bit with one channel, or holds an index
            without a class.
    """
    indices = image.read_indices(path)
    unknown = indices[(indices > len(CLASSES)) & (indices != BORDER)]
    if unknown.size:
        raise DataError(
            f"{path}: label id {unknown[0]} has no class: 0 is background, 1 to {len(CLASSES)} are "
            f"VOC's classes, {BORDER} is ignored; correct the mask"
        )
    return indices


def colours() -> NDArray[np.uint8]:
    """The palette of VOC's masks, (256, 3): three bits of an index at a time go to red, green and
    blue, the lowest becoming the highest."""
    index = np.arange(256)[:, None] >> np.arange(3)
    bits = [(index >> 3 * place & 1) << 7 - place for place in range(3)]
    return np.sum(bits, axis=0).astype(np.uint8)


def write_annotation(path: Path, boxes: Boxes, size: tuple[int, int]) -> None:
    """Writes the boxes of an image of that height and width; ``crowd`` becomes difficult."""
    height, width = size
    lines = [f"<size><width>{width}</width><height>{height}</height><depth>3</depth></size>"]
    for (x1, y1, x2, y2), label, crowd in zip(boxes.xyxy, boxes.labels, boxes.crowd, strict=True):
        edges = {"xmin": x1 + 1, "ymin": y1 + 1, "xmax": x2, "ymax": y2}
        lines.append(
            f"<object><name>{CLASSES[label - 1]}</name><difficult>{int(crowd)}</difficult>"
            f"<bndbox>{''.join(f'<{k}>{v:g}</{k}>' for k, v in edges.items())}</bndbox></object>"
        )
    text = "\n".join(["<annotation>", *lines, "</annotation>", ""])
    atomic.write_bytes(path, text.encode())


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


def _parse(path: Path) -> ElementTree.Element:
    try:
        root = ElementTree.parse(path).getroot()
    except FileNotFoundError:
        raise DataError(f"{path}: there is no such file") from None
    except (OSError, ElementTree.ParseError) as error:
        raise DataError(f"{path}: cannot be read as XML ({error})") from error
    if root.tag != "annotation":
        raise DataError(f"{path}: not a VOC annotation: it holds <{root.tag}>, not <annotation>")
    return root


def _size(path: Path, root: ElementTree.Element) -> tuple[int, int] | None:
    """Height and width, if they are told; some tools write 0 for what they do not know."""
    told = root.find("size")
    if told is None:
        return None
    height, width = (int(_number(path, told, side)) for side in ("height", "width"))
    return (height, width) if height > 0 and width > 0 else None


def _number(path: Path, parent: ElementTree.Element, tag: str) -> float:
    text = (parent.findtext(tag) or "").strip()
    try:
        value = float(text)  # some of VOC 2011 and 2012 are fractions
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise DataError(f"{path}: {parent.tag}/{tag} is {text!r}, a number is needed")
    return value
