"""Pascal VOC, or photographs of one's own in its layout: boxes and palette masks.

A label kind is offered if every image of the lists has it: ``image_set: Segmentation`` gives masks.
With no lists in ImageSets every image is in ``train`` and in ``val``: a study of memorisation,
fit to try a pipeline on a few photographs and for nothing else.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, NamedTuple

import numpy as np
from pydantic import Field

from tcc.datasets import Dataset, DatasetParams, cut_select, find_root, take_kinds
from tcc.errors import DataError
from tcc.formats import image, voc, voc_layout
from tcc.formats.fingerprint import fingerprint_files
from tcc.formats.voc import Annotation
from tcc.formats.voc_layout import Layout
from tcc.records import DatasetInfo, FrozenMap

if TYPE_CHECKING:
    from tcc.formats.sample import Sample

CLASSES = {"boxes": voc.CLASSES, "label_ids": ("background", *voc.CLASSES)}
_REMEDY = {
    "boxes": "add it, or set `train_list` and `val_list` of data set voc to annotated images",
    "label_ids": "add it, or read only images that have masks: set `image_set: Segmentation`, or "
    "`train_list` and `val_list`, of data set voc",
}


class Params(DatasetParams):
    """Where the photographs lie, which of them are read, and which labels."""

    root: str | None = Field(
        default=None,
        description="folder that holds JPEGImages, or one VOC20xx, or VOCdevkit with one; by "
        "default $TCC_VOC_ROOT",
    )
    image_set: Literal["Main", "Segmentation"] | None = Field(
        default=None,
        description="folder of ImageSets whose lists train.txt and val.txt are read; by default "
        "Main if it has any, else Segmentation, else all images are in both splits",
    )
    train_list: str | None = Field(
        default=None, description="list of training images, relative to JPEGImages' parent"
    )
    val_list: str | None = Field(
        default=None, description="list of validation images, relative to JPEGImages' parent"
    )
    labels: tuple[Literal["boxes", "label_ids"], ...] | None = Field(
        default=None,
        description="labels to read, which every image must have; by default those that every "
        "image has",
    )


@dataclass(frozen=True)
class VocSplit:
    """Images with their labels. ``kinds``: those that are read; ``labelled``: all that each image
    has, which say whether it is turned; ``annotations``: parsed once, empty where masks say it and
    boxes are not read."""

    layout: Layout
    keys: tuple[str, ...]
    kinds: tuple[str, ...]
    labelled: tuple[str, ...]
    annotations: tuple[Annotation, ...]

    def __len__(self) -> int:
        return len(self.keys)

    def __getitem__(self, index: int) -> Sample:
        from tcc.formats.sample import Sample, box_labels, image_tensor, mask_label

        key = self.keys[index]
        file = self.layout.image(key)
        pixels = self._pixels(index, file)
        height, width = pixels.shape[:2]
        labels: dict[str, Any] = {}
        if "boxes" in self.kinds:
            boxes = self.annotations[index].boxes
            voc.refuse_outside(self.layout.label("boxes", key), boxes, (height, width))
            labels["boxes"] = box_labels(boxes, height, width)
        if "label_ids" in self.kinds:
            path = self.layout.label("label_ids", key)
            label_ids = voc.read_label_ids(path)
            if label_ids.shape != (height, width):
                raise DataError(
                    f"{path} has {label_ids.shape[1]} x {label_ids.shape[0]} pixels, but {file} "
                    f"has {width} x {height}; replace one of them"
                )
            labels["label_ids"] = mask_label(label_ids)
        return Sample(key=key, image=image_tensor(pixels), labels=labels)

    def size(self, index: int) -> tuple[int, int]:
        return self._labelled_size(index) or image.image_size(self.layout.image(self.keys[index]))

    def _pixels(self, index: int, file: Path) -> np.ndarray:
        size = self._labelled_size(index)
        try:
            return image.read_rgb(file, size)
        except DataError as error:
            if size is None:
                raise
            by = [str(self.layout.label(kind, self.keys[index])) for kind in self.labelled]
            raise DataError(f"{error} (labelled by {' and '.join(by)})") from error

    def _labelled_size(self, index: int) -> tuple[int, int] | None:
        if self.annotations and (size := self.annotations[index].size):
            return size
        if "label_ids" in self.labelled:
            return image.image_size(self.layout.label("label_ids", self.keys[index]))
        return None


class Voc(Dataset):
    """The lists train and val of one year, or all photographs in both."""

    version: ClassVar[int] = 2
    Params: ClassVar[type[DatasetParams]] = Params

    def tiny(self, folder: Path) -> dict[str, Any]:
        from PIL import Image

        from tcc.datasets._tiny import SIZES, draw

        keys = [f"2007_{index:06d}" for index in range(12)]
        layout = Layout(
            root=folder / "VOCdevkit" / "VOC2007", images={key: f"{key}.jpg" for key in keys}
        )
        lists = {
            layout.root / "ImageSets" / name / f"{split}.txt": listed
            for name in voc_layout.IMAGE_SETS
            for split, listed in (("train", keys[:8]), ("val", keys[8:]))
        }
        labels = {kind: layout.label(kind, keys[0]) for kind in CLASSES}
        for path in (*lists, *labels.values(), layout.image(keys[0])):
            path.parent.mkdir(parents=True, exist_ok=True)
        for path, listed in lists.items():
            path.write_text("\n".join(listed) + "\n")
        for index, key in enumerate(keys):
            size = SIZES[index % len(SIZES)]
            scene = draw(index, *size)
            scene.label_ids[0] = voc.BORDER
            Image.fromarray(scene.image).save(layout.image(key), quality=95)
            mask = Image.fromarray(scene.label_ids)
            mask.putpalette([value for value in range(256) for _ in "rgb"])
            mask.save(layout.label("label_ids", key))
            voc.write_annotation(layout.label("boxes", key), scene.boxes, size)
        return {"root": str(folder)}

    def describe(self, params: Params) -> DatasetInfo:
        survey = _survey(params)
        if "boxes" in survey.kinds:
            _require_sound(survey)
        return DatasetInfo(
            labels=survey.kinds,
            splits=FrozenMap({split: len(keys) for split, keys in survey.keys.items()}),
            fingerprints=FrozenMap({split: _fingerprint(survey, split) for split in survey.keys}),
            classes=FrozenMap({kind: CLASSES[kind] for kind in survey.kinds}),
            absent=FrozenMap(survey.absent),
        )

    def open(self, params: Params, split: str, labels: Collection[str] | None = None) -> VocSplit:
        layout, keys, has, _ = _survey(params)
        kinds = take_kinds("voc", has, labels)
        annotated = keys[split] if "boxes" in kinds or has == ("boxes",) else ()
        return VocSplit(
            layout=layout,
            keys=tuple(keys[split]),
            kinds=kinds,
            labelled=has,
            annotations=tuple(voc.read_annotation(layout.label("boxes", key)) for key in annotated),
        )

    def sources(self, params: Params) -> Iterator[Path]:
        root = find_root("voc", params.root)
        yield root
        for own in filter(None, (params.train_list, params.val_list)):
            yield voc_layout.find_root(root) / own


class _Survey(NamedTuple):
    """What is there and can be used."""

    layout: Layout
    keys: Mapping[str, list[str]]  # train, select and val
    kinds: tuple[str, ...]
    absent: Mapping[str, str]


def _survey(params: Params) -> _Survey:
    layout = voc_layout.read_layout(voc_layout.find_root(find_root("voc", params.root)))
    own = {"train": params.train_list, "val": params.val_list}
    listed = voc_layout.read_lists(layout, params.image_set, own)
    every = list(dict.fromkeys(key for keys in listed.values() for key in keys))
    absent = {}
    for kind in CLASSES:
        if params.labels is not None and kind not in params.labels:
            absent[kind] = (
                f"{layout.root}: `labels` of data set voc leaves {kind} out; add it there"
            )
        elif missing := layout.unlabelled(kind, every):
            absent[kind] = (
                f"{layout.label(kind, missing[0])}: there is no such file ({len(missing)} of "
                f"{len(every)} images lack theirs); {_REMEDY[kind]}"
            )
            if params.labels is not None:
                raise DataError(absent[kind])
    train, selected = cut_select(listed["train"], params.select)
    return _Survey(
        layout,
        {"train": train, "select": selected, "val": listed["val"]},
        tuple(kind for kind in CLASSES if kind not in absent),
        absent,
    )


def _require_sound(survey: _Survey) -> None:
    """Reads every annotation, so that a malformed one shows before any trial.

    Raises:
        DataError: one is malformed, of an unknown class or has a box outside of its image.
    """
    layout = survey.layout
    for key in dict.fromkeys(key for keys in survey.keys.values() for key in keys):
        path = layout.label("boxes", key)
        annotation = voc.read_annotation(path)
        if annotation.size is None and len(annotation.boxes):  # else it was looked at
            masked = "label_ids" in survey.kinds
            by = layout.label("label_ids", key) if masked else layout.image(key)
            voc.refuse_outside(path, annotation.boxes, image.image_size(by))


def _fingerprint(survey: _Survey, split: str) -> str:
    layout, kinds = survey.layout, survey.kinds
    keys = survey.keys[split]
    return fingerprint_files(
        layout.root,
        images=[layout.image(key) for key in keys],
        annotations=[layout.label(kind, key) for kind in kinds for key in keys],
    )


PLUGIN = Voc()
