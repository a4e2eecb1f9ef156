"""COCO as it is distributed: photographs with boxes and the keypoints of persons.

    annotations/instances_train2017.json  person_keypoints_train2017.json  (and val2017)
    train2017/000000000009.jpg …          val2017/…

2014 and files without a year are found as well, folders also below ``images``. With one file for
all, annotations/instances.json, and a folder ``images`` every image is in ``train`` and in ``val``:
a study of memorisation, fit to try a pipeline on a few photographs and for nothing else.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field

from tcc.datasets import Dataset, DatasetParams, cut_select, find_root, take_kinds
from tcc.datasets.coco._layout import Part, find_parts
from tcc.datasets.coco._part import Loaded, load
from tcc.errors import DataError
from tcc.formats import image
from tcc.formats.fingerprint import fingerprint_files
from tcc.records import DatasetInfo, FrozenMap

if TYPE_CHECKING:
    from tcc.formats.sample import Sample


class Params(DatasetParams):
    """Where COCO lies, and what replaces its official names."""

    root: str | None = Field(
        default=None,
        description="folder that holds annotations and the images; by default $TCC_COCO_ROOT",
    )
    train_annotations: str | None = Field(
        default=None, description="json of the training images, relative to root"
    )
    val_annotations: str | None = Field(
        default=None, description="json of the validation images, relative to root"
    )
    train_images: str | None = Field(
        default=None, description="folder of the training images, relative to root"
    )
    val_images: str | None = Field(
        default=None, description="folder of the validation images, relative to root"
    )
    skip_missing: bool = Field(
        default=False, description="leave out images that are listed but not there"
    )


@dataclass(frozen=True)
class CocoSplit:
    """Some images of a part. ``rows``: where they stand in its index; ``kinds``: the labels
    that are read."""

    part: Loaded
    rows: tuple[int, ...]
    kinds: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> Sample:
        from tcc.formats.sample import Sample, box_labels, image_tensor, keypoint_labels

        row, size = self.rows[index], self.size(index)
        key = self.part.instances.file_names[row]
        labels: dict[str, Any] = {}
        if "boxes" in self.kinds:
            labels["boxes"] = box_labels(self.part.instances.boxes(row), *size)
        if self.part.posed is not None and "keypoints" in self.kinds:
            boxes, keypoints = self.part.posed.keypoints(int(self.part.posed_rows[row]))
            names = self.part.posed.keypoint_names
            labels["keypoints"] = keypoint_labels(boxes, keypoints, names, *size)
        pixels = image.read_rgb(self.part.folder / key, size)
        return Sample(key=key, image=image_tensor(pixels), labels=labels)

    def size(self, index: int) -> tuple[int, int]:
        height, width = self.part.instances.sizes[self.rows[index]]
        return int(height), int(width)


class Coco(Dataset):
    """COCO 2017 or 2014, or photographs of one's own in its format."""

    version: ClassVar[int] = 1
    Params: ClassVar[type[DatasetParams]] = Params

    def tiny(self, folder: Path) -> dict[str, Any]:
        from tcc.datasets.coco._tiny import write

        write(folder)
        return {"root": str(folder)}

    def describe(self, params: Params) -> DatasetInfo:
        root = find_root("coco", params.root)
        train, val = (load(root, part, params.skip_missing) for part in _parts(root, params))
        _refuse_different(train, val, "categories", train.instances.names, val.instances.names)
        classes = {"boxes": train.instances.names}
        if train.posed is not None and val.posed is not None:
            names = train.posed.keypoint_names
            _refuse_different(train, val, "keypoints", names, val.posed.keypoint_names)
            classes["keypoints"] = names
        parts = {"train": train, "select": train, "val": val}
        rows = {split: _rows(part, split, params.select) for split, part in parts.items()}
        absent = train.no_keypoints or val.no_keypoints
        return DatasetInfo(
            labels=tuple(classes),
            splits=FrozenMap({split: len(rows[split]) for split in parts}),
            fingerprints=FrozenMap(
                {
                    split: fingerprint_files(
                        root,
                        images=[
                            f"{part.folder}/{part.instances.file_names[i]}" for i in rows[split]
                        ],
                        annotations=part.annotation_files,
                    )
                    for split, part in parts.items()
                }
            ),
            classes=FrozenMap(classes),
            absent=FrozenMap({"keypoints": absent} if absent else {}),
        )

    def open(self, params: Params, split: str, labels: Collection[str] | None = None) -> CocoSplit:
        root = find_root("coco", params.root)
        train, val = _parts(root, params)
        part = load(root, val if split == "val" else train, params.skip_missing)
        has = ("boxes",) if part.posed is None else ("boxes", "keypoints")
        kinds = take_kinds("coco", has, labels)
        return CocoSplit(part, _rows(part, split, params.select), kinds)

    def sources(self, params: Params) -> Iterable[Path]:
        for part in _parts(find_root("coco", params.root), params):
            yield from (part.annotations, part.images)
            if part.keypoints is not None and part.keypoints.exists():
                yield part.keypoints


def _parts(root: Path, params: Params) -> tuple[Part, Part]:
    parts = find_parts(root, params.model_dump())
    return parts["train"], parts["val"]


def _rows(part: Loaded, split: str, select: int) -> tuple[int, ...]:
    """The images of ``train``, ``select`` or ``val``."""
    if split == "val":
        return part.rows
    row_of = {part.instances.file_names[row]: row for row in part.rows}
    train, selected = cut_select(list(row_of), select)
    return tuple(row_of[key] for key in (train if split == "train" else selected))


def _refuse_different(
    train: Loaded, val: Loaded, what: str, ours: tuple[str, ...], theirs: tuple[str, ...]
) -> None:
    if ours != theirs:
        odd = sorted(set(ours) ^ set(theirs)) or ["the same in another order"]
        raise DataError(
            f"{train.annotation_files[-1]} and {val.annotation_files[-1]} list different {what}: "
            f"{', '.join(odd)}; both splits need the same"
        )


PLUGIN = Coco()
