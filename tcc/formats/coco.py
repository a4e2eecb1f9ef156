"""Reads and writes COCO instances json. Free of torch.

A read file becomes flat arrays, about 50 bytes an annotation, whatever its size on disk; masks are
not kept. Boxes are xywh in the file and xyxy here. Category ids may have gaps: sorted, they become
the labels 1 … K.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco_mask

from tcc.errors import DataError
from tcc.formats import atomic
from tcc.formats.boxes import Boxes


@dataclass(frozen=True, kw_only=True)
class CocoInstances:
    """The index of one instances file; images by rising id, M of them."""

    names: tuple[str, ...]  # of label 1, 2 … K
    category_ids: tuple[int, ...]  # the file's own, in the same order
    image_ids: NDArray[np.int64]  # (M,)
    file_names: tuple[str, ...]
    sizes: NDArray[np.int64]  # (M, 2): height, width in pixels
    _boxes: Boxes  # of all images, those of one image in a row
    _starts: NDArray[np.int64]  # (M + 1,): where the boxes of each image start

    def __len__(self) -> int:
        return len(self.file_names)

    def boxes(self, index: int) -> Boxes:
        """The boxes of the image at a position, clipped to it; none is fine."""
        return self._boxes[self._starts[index] : self._starts[index + 1]]


@dataclass(frozen=True, kw_only=True)
class CocoObject:
    """One annotation to write. ``rle``: compressed run lengths of its mask."""

    label: int  # from 1
    xywh: tuple[float, float, float, float]
    area: float
    rle: str
    crowd: bool = False


@dataclass(frozen=True, kw_only=True)
class CocoImage:
    """One image to write with its objects."""

    file_name: str
    height: int
    width: int
    objects: tuple[CocoObject, ...]


def object_from_mask(mask_HW: NDArray[np.bool_], label: int, crowd: bool = False) -> CocoObject:
    """An annotation with the tightest box around a mask that is not empty."""
    ys, xs = np.flatnonzero(mask_HW.any(axis=1)), np.flatnonzero(mask_HW.any(axis=0))
    x, y = int(xs[0]), int(ys[0])
    counts = coco_mask.encode(np.asfortranarray(mask_HW, dtype=np.uint8))["counts"]
    return CocoObject(
        label=label,
        xywh=(x, y, int(xs[-1]) - x + 1, int(ys[-1]) - y + 1),
        area=int(mask_HW.sum()),
        rle=counts if isinstance(counts, str) else counts.decode("ascii"),
        crowd=crowd,
    )


def write_instances(path: Path, names: Sequence[str], images: Iterable[CocoImage]) -> None:
    """Writes an instances file atomically; image and annotation ids count from 1."""
    records: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for image_id, image in enumerate(images, start=1):
        size = {"height": image.height, "width": image.width}
        records.append({"id": image_id, "file_name": image.file_name, **size})
        for item in image.objects:
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": image_id,
                    "category_id": item.label,
                    "bbox": list(item.xywh),
                    "area": item.area,
                    "iscrowd": int(item.crowd),
                    "segmentation": {"size": [image.height, image.width], "counts": item.rle},
                }
            )
    categories = [{"id": label, "name": name} for label, name in enumerate(names, start=1)]
    document = {"images": records, "annotations": annotations, "categories": categories}
    atomic.write_bytes(path, json.dumps(document, separators=(",", ":")).encode())


def read_instances(path: Path) -> CocoInstances:
    """The index of an instances file. Boxes are clipped to their image; those of no extent, of
    which COCO has a few, are left out.

    Raises:
        DataError: the file is missing, not json, or lacks or contradicts what is needed.
    """
    document = _load(path)
    try:
        return _index(document)
    except KeyError as error:
        raise DataError(f"{path}: not a COCO instances file: no {error.args[0]!r}") from error
    except (TypeError, ValueError, AttributeError) as error:
        raise DataError(f"{path}: not a COCO instances file: {error}") from error


def _load(path: Path) -> Any:
    def without_masks(item: dict[str, Any]) -> dict[str, Any]:
        # dropped while parsing: the masks are nine tenths of the memory of a large file
        item.pop("segmentation", None)
        return item

    try:
        with path.open("rb") as file:
            return json.load(file, object_hook=without_masks)
    except FileNotFoundError:
        raise DataError(f"{path}: there is no such file") from None
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: cannot be read as json ({error})") from error


def _index(document: dict[str, Any]) -> CocoInstances:
    categories = sorted((int(item["id"]), str(item["name"])) for item in document["categories"])
    images = sorted(document["images"], key=lambda image: image["id"])
    annotations = document["annotations"]
    image_ids = np.array([image["id"] for image in images], np.int64)
    category_ids = np.array([number for number, _ in categories], np.int64)
    sizes = np.array([(image["height"], image["width"]) for image in images], np.int64)
    sizes = sizes.reshape(-1, 2)

    rows = _positions("image", image_ids, [item["image_id"] for item in annotations])
    labels = _positions("category", category_ids, [item["category_id"] for item in annotations])
    xywh = np.array([item["bbox"] for item in annotations], np.float64).reshape(-1, 4)
    if len(xywh) != len(annotations):
        raise ValueError("a bbox is not four numbers x, y, width, height")
    area = [item.get("area", item["bbox"][2] * item["bbox"][3]) for item in annotations]
    boxes = Boxes.of(
        np.concatenate([xywh[:, :2], xywh[:, :2] + xywh[:, 2:]], axis=1),
        labels + 1,
        [item.get("iscrowd", 0) for item in annotations],
        area,
    )
    boxes = boxes.clipped(*sizes[rows].T)
    order = np.argsort(rows, kind="stable")
    order = order[~boxes.empty[order]]
    return CocoInstances(
        names=tuple(name for _, name in categories),
        category_ids=tuple(number for number, _ in categories),
        image_ids=image_ids,
        file_names=tuple(str(image["file_name"]) for image in images),
        sizes=sizes,
        _boxes=boxes[order],
        _starts=np.searchsorted(rows[order], np.arange(len(images) + 1)),
    )


def _positions(what: str, known: NDArray[np.int64], wanted: list[int]) -> NDArray[np.int64]:
    """Where each wanted id stands among the known ones, which are sorted."""
    if (np.diff(known) == 0).any():
        raise ValueError(f"two entries of {what} id {known[:-1][np.diff(known) == 0][0]}")
    asked = np.array(wanted, np.int64)
    if not len(known) and len(asked):
        raise ValueError(f"an annotation of {what} id {asked[0]}, which is not listed")
    found = np.searchsorted(known, asked)
    found[found == len(known)] = 0
    if len(asked) and (unlisted := known[found] != asked).any():
        raise ValueError(f"an annotation of {what} id {asked[unlisted][0]}, which is not listed")
    return found
