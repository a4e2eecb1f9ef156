"""Reads and writes COCO's json of instances and of person keypoints. Free of torch.

A read file becomes flat arrays, about 60 bytes an annotation, whatever its size on disk; masks are
not kept. Boxes are xywh in the file and xyxy here, else as labelled: neither cut to the image nor
dropped where they have no extent, since the official evaluation counts them all. Category ids may
have gaps: sorted, they become the labels 1 … K.
"""

from __future__ import annotations

import json
import mmap
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from tcc.errors import DataError
from tcc.formats import atomic
from tcc.formats.boxes import Boxes

_OUTSIDE_PX = 1.0  # by which a box may miss its image: labels are rounded


@dataclass(frozen=True, kw_only=True)
class CocoInstances:
    """The index of one file; images by rising id, M of them."""

    names: tuple[str, ...]  # of label 1, 2 … K
    category_ids: tuple[int, ...]  # the file's own, in the same order
    keypoint_names: tuple[str, ...]  # none, unless all categories that list keypoints list the same
    image_ids: NDArray[np.int64]  # (M,)
    file_names: tuple[str, ...]
    sizes: NDArray[np.int64]  # (M, 2): height, width in pixels
    _boxes: Boxes  # of all images, those of one image in a row
    _starts: NDArray[np.int64]  # (M + 1,): where the boxes of each image start
    _posed: NDArray[np.int64]  # (P,): which boxes have keypoints
    _keypoints: NDArray[np.float32]  # (P, keypoint names, 3)

    def __len__(self) -> int:
        return len(self.file_names)

    @property
    def num_boxes(self) -> int:
        """Of all images together."""
        return len(self._boxes)

    def boxes(self, index: int) -> Boxes:
        """The boxes of the image at a position, as labelled; none is fine."""
        return self._boxes[self._starts[index] : self._starts[index + 1]]

    def keypoints(self, index: int) -> tuple[Boxes, NDArray[np.float32]]:
        """The objects with keypoints of the image at a position: their N boxes, and (N, keypoint
        names, 3) of x, y in pixels and visibility 0, 1 or 2."""
        first, last = np.searchsorted(self._posed, self._starts[index : index + 2])
        return self._boxes[self._posed[first:last]], self._keypoints[first:last]


@dataclass(frozen=True, kw_only=True)
class CocoObject:
    """One annotation to write. ``rle``: compressed run lengths of its mask. ``keypoints``: x, y
    and visibility of each."""

    label: int  # from 1
    xywh: tuple[float, float, float, float]
    area: float
    rle: str
    crowd: bool = False
    keypoints: tuple[tuple[float, float, int], ...] = ()


@dataclass(frozen=True, kw_only=True)
class CocoImage:
    """One image to write with its objects."""

    file_name: str
    height: int
    width: int
    objects: tuple[CocoObject, ...]


def object_from_mask(mask_HW: NDArray[np.bool_], label: int, crowd: bool = False) -> CocoObject:
    """An annotation with the tightest box around a mask that is not empty."""
    from pycocotools import mask as coco_mask

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


def write_instances(
    path: Path,
    names: Sequence[str],
    images: Iterable[CocoImage],
    keypoint_names: Sequence[str] = (),
) -> None:
    """Writes a file atomically; image and annotation ids count from 1. ``keypoint_names``: of every
    category, where the objects have keypoints."""
    records: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for image_id, image in enumerate(images, start=1):
        size = {"height": image.height, "width": image.width}
        records.append({"id": image_id, "file_name": image.file_name, **size})
        for item in image.objects:
            annotation = {
                "id": len(annotations) + 1,
                "image_id": image_id,
                "category_id": item.label,
                "bbox": list(item.xywh),
                "area": item.area,
                "iscrowd": int(item.crowd),
                "segmentation": {"size": [image.height, image.width], "counts": item.rle},
            }
            if keypoint_names:
                annotation["keypoints"] = [value for point in item.keypoints for value in point]
                annotation["num_keypoints"] = sum(point[2] > 0 for point in item.keypoints)
            annotations.append(annotation)
    posed = {"keypoints": list(keypoint_names), "skeleton": []} if keypoint_names else {}
    categories = [{"id": label, "name": name, **posed} for label, name in enumerate(names, start=1)]
    document = {"images": records, "annotations": annotations, "categories": categories}
    atomic.write_bytes(path, json.dumps(document, separators=(",", ":")).encode())


# What is read of a file: msgspec skips all else, the masks above all, which are nine tenths of it.
_Id = Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]
_Side = Annotated[int, msgspec.Meta(gt=0)]


class _Image(msgspec.Struct, gc=False):
    id: _Id
    file_name: str
    height: _Side
    width: _Side


class _Category(msgspec.Struct):
    id: _Id
    name: str
    keypoints: tuple[str, ...] = ()


class _Annotation(msgspec.Struct, gc=False):
    image_id: _Id
    category_id: _Id
    bbox: tuple[float, float, float, float]
    id: int | str | None = None
    area: float | None = None
    iscrowd: bool | int = 0
    keypoints: tuple[int | float, ...] = ()  # integers where they can be: they are half as large


class _Document(msgspec.Struct):
    images: list[_Image]
    annotations: list[_Annotation]
    categories: list[_Category]


def read_instances(path: Path) -> CocoInstances:
    """The index of an instances or person keypoints file.

    Raises:
        DataError: the file is missing, not json, lacks what is needed or contradicts itself.
    """
    document = _load(path)
    images = sorted(document.images, key=lambda item: item.id)
    categories = sorted(document.categories, key=lambda item: item.id)
    annotations = document.annotations
    file_names = tuple(item.file_name for item in images)
    if len(set(file_names)) < len(images):
        repeated, _ = Counter(file_names).most_common(1)[0]
        raise DataError(f"{path}: two images of file_name {repeated!r}")

    image_ids = np.array([item.id for item in images], np.int64)
    category_ids = np.array([item.id for item in categories], np.int64)
    rows = _positions(path, "image", image_ids, [item.image_id for item in annotations])
    labels = _positions(path, "category", category_ids, [a.category_id for a in annotations])
    xyxy = np.array([item.bbox for item in annotations], np.float64).reshape(-1, 4)
    xyxy[:, 2:] += xyxy[:, :2]
    sizes = np.array([(item.height, item.width) for item in images], np.int64).reshape(-1, 2)
    _refuse_normalized(path, annotations, xyxy)
    beyond = (xyxy[:, :2] > sizes[rows, ::-1] + _OUTSIDE_PX) | (xyxy[:, 2:] < -_OUTSIDE_PX)
    for wrong in np.flatnonzero(beyond.any(axis=1))[:1]:
        image, item = images[rows[wrong]], annotations[wrong]
        raise DataError(
            f"{path}: the bbox {list(item.bbox)} of annotation {item.id} lies outside of image "
            f"{image.file_name!r}, which has {image.width} x {image.height} pixels; a bbox is x, "
            "y, width, height in pixels"
        )
    area = [a.bbox[2] * a.bbox[3] if a.area is None else a.area for a in annotations]
    boxes = Boxes.of(xyxy, labels + 1, [item.iscrowd for item in annotations], area)

    order = np.argsort(rows, kind="stable")
    keypoint_names, posed, keypoints = _keypoints(
        path, categories, [annotations[row] for row in order]
    )
    return CocoInstances(
        names=tuple(item.name for item in categories),
        category_ids=tuple(item.id for item in categories),
        keypoint_names=keypoint_names,
        image_ids=image_ids,
        file_names=file_names,
        sizes=sizes,
        _boxes=boxes[order],
        _starts=np.searchsorted(rows[order], np.arange(len(images) + 1)),
        _posed=posed,
        _keypoints=keypoints,
    )


def _refuse_normalized(
    path: Path, annotations: list[_Annotation], xyxy: NDArray[np.float64]
) -> None:
    if len(xyxy) and xyxy.min() >= 0 and 0 < xyxy.max() <= 1:
        raise DataError(
            f"{path}: every bbox lies within 0 to 1, such as {list(annotations[0].bbox)} of "
            f"annotation {annotations[0].id}; they are normalised, but COCO has x, y, width, "
            "height in pixels: multiply them by the width and height of their images"
        )


def _load(path: Path) -> _Document:
    try:
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as text:
            return msgspec.json.decode(text, type=_Document)
    except FileNotFoundError:
        raise DataError(f"{path}: there is no such file") from None
    except msgspec.ValidationError as error:
        raise DataError(
            f"{path}: not as COCO writes images, annotations and categories: {error}"
        ) from None
    except (OSError, ValueError) as error:  # an empty file cannot be mapped
        raise DataError(f"{path}: cannot be read as json ({error})") from error


def _keypoints(
    path: Path, categories: list[_Category], annotations: list[_Annotation]
) -> tuple[tuple[str, ...], NDArray[np.int64], NDArray[np.float32]]:
    """The keypoints' names, which annotations have them, and (those, names, 3) of them."""
    names_of = {item.id: item.keypoints for item in categories if item.keypoints}
    listed = set(names_of.values())
    names = listed.pop() if len(listed) == 1 else ()
    posed = [
        position
        for position, item in enumerate(annotations)
        if names and item.keypoints and item.category_id in names_of
    ]
    keypoints = np.zeros((len(posed), 3 * len(names)), np.float32)
    for row, position in enumerate(posed):
        item = annotations[position]
        if len(item.keypoints) != 3 * len(names):
            raise DataError(
                f"{path}: annotation {item.id} has {len(item.keypoints)} numbers of keypoints; x, "
                f"y and visibility of {len(names)} keypoints are needed"
            )
        keypoints[row] = item.keypoints
    return names, np.array(posed, np.int64), keypoints.reshape(len(posed), len(names), 3)


def _positions(
    path: Path, what: str, known: NDArray[np.int64], wanted: list[int]
) -> NDArray[np.int64]:
    """Where each wanted id stands among the known ones, which are sorted."""
    if (same := np.diff(known) == 0).any():
        raise DataError(f"{path}: two entries of {what} id {known[:-1][same][0]}")
    asked = np.array(wanted, np.int64)
    found = np.searchsorted(known, asked)
    listed = np.isin(asked, known)
    if not listed.all():
        raise DataError(
            f"{path}: an annotation of {what} id {asked[~listed][0]}, which is not listed"
        )
    return found
