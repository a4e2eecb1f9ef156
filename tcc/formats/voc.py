"""Reads and writes the labels of Pascal VOC: boxes, masks and their palette. Free of torch.

VOC counts pixels from 1 and names the first and the last pixel inside a box. Here a box is
continuous and from 0, so xmin and ymin lose 1 while xmax and ymax stay: the box 1 1 1 1 of a single
pixel becomes (0, 0, 1, 1).
"""

from __future__ import annotations

import math
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


@dataclass(frozen=True, kw_only=True)
class Annotation:
    """What one XML file says. ``size``: the image's height and width in pixels, if it is told."""

    boxes: Boxes
    size: tuple[int, int] | None


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
