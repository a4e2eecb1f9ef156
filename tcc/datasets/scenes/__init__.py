"""`scenes`: little landscapes of textured shapes, generated once from a seed, with every label.

The files lie in a cache folder in Cityscapes' and COCO's formats and are read as those are, so
that what works on scenes works on the real data sets. Label id 0 is the background, shape k has
label id and box label k + 1; the class of an image is that of its largest visible object.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field, field_validator

from tcc.datasets import Dataset, DatasetParams, cut_select, expanded, take_kinds
from tcc.errors import DataError
from tcc.records import DatasetInfo, FrozenMap

if TYPE_CHECKING:
    from tcc.formats.cityscapes import Frame
    from tcc.formats.coco import CocoInstances
    from tcc.formats.sample import Sample

SHAPE_NAMES = ("disc", "square", "triangle", "cross", "ring", "diamond")
CITY = "scenes"
SPLIT_SEEDS = {"train": 0, "val": 1}
KINDS = ("boxes", "label_ids", "disparity", "class")
_MIN_SIDE, _MAX_SIDE = 32, 2048


class Params(DatasetParams):
    """What is generated, and where it is kept."""

    root: str | None = Field(
        default=None,
        description="cache folder, made if need be; by default $TCC_CACHE, else ~/.cache/tcc",
    )
    size: tuple[int, int] = Field(
        default=(64, 64), description="height and width in pixels, or one number for both"
    )
    train: int = Field(default=2000, ge=2, description="training images, before select is cut")
    val: int = Field(default=200, ge=1, description="validation images")
    seed: int = Field(default=0, ge=0, description="seed of the generator, not of a trial")
    classes: int = Field(default=6, ge=1, le=6, description="how many kinds of shape")

    @field_validator("size", mode="before")
    @classmethod
    def _square(cls, value: Any) -> Any:
        return (value, value) if isinstance(value, int) else value

    @field_validator("size")
    @classmethod
    def _in_range(cls, value: tuple[int, int]) -> tuple[int, int]:
        if not all(_MIN_SIDE <= side <= _MAX_SIDE for side in value):
            raise ValueError(f"sides of {_MIN_SIDE} to {_MAX_SIDE} pixels, not {list(value)}")
        return value


@dataclass(frozen=True)
class ScenesSplit:
    """Scenes as samples; ``rows``: where each frame stands in the COCO index; ``height_width``: of
    every scene in pixels; ``kinds``: the label kinds that are read."""

    frames: tuple[Frame, ...]
    rows: tuple[int, ...]
    instances: CocoInstances
    height_width: tuple[int, int]
    kinds: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.frames)

    def __getitem__(self, index: int) -> Sample:
        import torch

        from tcc.formats import cityscapes, image
        from tcc.formats.sample import Sample, box_labels, image_tensor, mask_label

        files = self.frames[index]
        pixels = image.read_rgb(files.image)
        boxes = self.instances.boxes(self.rows[index])
        read: dict[str, Callable[[], Any]] = {
            "boxes": lambda: box_labels(boxes, *pixels.shape[:2]),
            "label_ids": lambda: mask_label(image.read_indices(files.label_ids)),
            "disparity": lambda: mask_label(cityscapes.read_disparity(files.disparity)),
            "class": lambda: torch.tensor(int(boxes.labels[boxes.area.argmax()]) - 1),
        }
        return Sample(
            key=files.key,
            image=image_tensor(pixels),
            labels={kind: read[kind]() for kind in self.kinds},
        )

    def size(self, index: int) -> tuple[int, int]:
        return self.height_width


class Scenes(Dataset):
    """The generated data set."""

    version: ClassVar[int] = 1  # of the generator as well: names the cache folder
    Params: ClassVar[type[DatasetParams]] = Params

    def tiny(self, folder: Path) -> dict[str, Any]:
        return {"root": str(folder), "size": 32, "train": 12, "val": 4, "classes": 3}

    def describe(self, params: Params) -> DatasetInfo:
        shapes = SHAPE_NAMES[: params.classes]
        train, selected = cut_select(_keys(params.train), params.select)
        return DatasetInfo(
            labels=KINDS,
            splits=FrozenMap({"train": len(train), "select": len(selected), "val": params.val}),
            fingerprints=FrozenMap(
                {
                    "train": _fingerprint(params, "train", "select"),
                    "select": _fingerprint(params, "train", "select"),
                    "val": _fingerprint(params, "val"),
                }
            ),
            classes=FrozenMap(
                {"boxes": shapes, "label_ids": ("background", *shapes), "class": shapes}
            ),
        )

    def prepare(self, params: Params, report: Callable[[int, int], None] | None = None) -> Path:
        """The folder with the scenes; generates them if it is not there yet."""
        folder = _cache(params.root) / f"scenes-{_fingerprint(params, 'train', 'val')[:12]}"
        if not folder.is_dir():
            from tcc.datasets.scenes._generate import generate

            generate(folder, params, report)
        return folder

    def open(
        self, params: Params, split: str, labels: Collection[str] | None = None
    ) -> ScenesSplit:
        from tcc.formats import cityscapes, coco

        kinds = take_kinds("scenes", KINDS, labels)
        folder = self.prepare(params)
        on_disk = "val" if split == "val" else "train"
        keys = _keys(params.val if on_disk == "val" else params.train)
        instances = coco.read_instances(annotation_file(folder, on_disk))
        if len(instances) != len(keys):
            raise DataError(f"{folder}: not as it was generated; delete it, it is made anew")
        row_of = {key: row for row, key in enumerate(keys)}
        if on_disk == "train":
            train, selected = cut_select(keys, params.select)
            keys = selected if split == "select" else train
        return ScenesSplit(
            frames=tuple(cityscapes.frame(folder, on_disk, key) for key in keys),
            rows=tuple(row_of[key] for key in keys),
            instances=instances,
            height_width=params.size,
            kinds=kinds,
        )


def frame_key(index: int) -> str:
    """Cityscapes' name of a frame: city, sequence, frame."""
    return f"{CITY}_000000_{index:06d}"


def annotation_file(folder: Path, split: str) -> Path:
    """The COCO instances file of a split on disk."""
    return folder / "annotations" / f"instances_{split}.json"


def _keys(count: int) -> list[str]:
    return [frame_key(index) for index in range(count)]


def _fingerprint(params: Params, *counts: str) -> str:
    """A hash of what draws every scene, and of the counts that say which scenes there are."""
    drawn = params.model_dump(mode="json", include={"size", "seed", "classes", *counts})
    text = json.dumps({"version": Scenes.version, **drawn}, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def _cache(root: str | None) -> Path:
    return expanded(root or os.environ.get("TCC_CACHE") or "~/.cache/tcc")


PLUGIN = Scenes()
