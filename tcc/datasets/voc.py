"""Photographs with boxes in Pascal VOC's layout: JPEGImages, Annotations and, if any, ImageSets.

With no lists in ImageSets every image is in ``train`` and in ``val``: a study of memorisation,
fit to try a pipeline on a few photographs and for nothing else.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from tcc.datasets import Dataset, DatasetParams, cut_select, find_root
from tcc.errors import DataError
from tcc.formats import image, voc
from tcc.formats.boxes import Boxes
from tcc.formats.fingerprint import fingerprint_files
from tcc.formats.voc import VocFile
from tcc.records import DatasetInfo, FrozenMap

if TYPE_CHECKING:
    from tcc.formats.sample import Sample


class Params(DatasetParams):
    """Where the photographs lie, and lists that replace those of ImageSets."""

    root: str | None = Field(
        default=None, description="folder that holds JPEGImages; by default $TCC_VOC_ROOT"
    )
    train_list: str | None = Field(
        default=None, description="list of training images, relative to root"
    )
    val_list: str | None = Field(
        default=None, description="list of validation images, relative to root"
    )


@dataclass(frozen=True)
class VocSplit:
    """Images with their boxes, parsed once: a malformed annotation shows before training."""

    files: tuple[VocFile, ...]
    boxes: tuple[Boxes, ...]

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> Sample:
        from tcc.formats.sample import Sample, box_labels, image_tensor

        file = self.files[index]
        pixels = image.read_rgb(file.image)
        height, width = pixels.shape[:2]
        boxes = self.boxes[index].clipped(height, width)
        if boxes.empty.any():
            raise DataError(
                f"{file.annotation}: a box lies outside of {file.image.name}, "
                f"which has {width} x {height} pixels"
            )
        labels = {"boxes": box_labels(boxes, height, width)}
        return Sample(key=file.key, image=image_tensor(pixels), labels=labels)


class Voc(Dataset):
    """Pascal VOC, or photographs of one's own in its layout."""

    version: ClassVar[int] = 1
    Params: ClassVar[type[DatasetParams]] = Params

    def describe(self, params: Params) -> DatasetInfo:
        root = find_root("voc", params.root)
        splits = _splits(root, params)
        return DatasetInfo(
            labels=("boxes",),
            splits=FrozenMap({split: len(part) for split, part in splits.items()}),
            fingerprints=FrozenMap(
                {
                    split: fingerprint_files(
                        root,
                        images=[file.image for file in part],
                        annotations=[file.annotation for file in part],
                    )
                    for split, part in splits.items()
                }
            ),
            classes=FrozenMap({"boxes": voc.CLASSES}),
        )

    def open(self, params: Params, split: str) -> VocSplit:
        files = _splits(find_root("voc", params.root), params)[split]
        return VocSplit(tuple(files), tuple(voc.read_annotation(f.annotation) for f in files))


def _splits(root: Path, params: Params) -> dict[str, list[VocFile]]:
    train = voc.list_split(root, "train", params.train_list)
    val = voc.list_split(root, "val", params.val_list)
    if train is None and val is None:
        train = val = voc.list_all(root)
    if train is None or val is None:
        lacking = "train" if train is None else "val"
        raise DataError(
            f"{root / 'ImageSets' / 'Main' / lacking}.txt: there is no such file, but the other "
            f"list is given; set `{lacking}_list` of data set voc"
        )
    by_key = {file.key: file for file in train}
    kept, selected = cut_select(list(by_key), params.select)
    return {
        "train": [by_key[key] for key in kept],
        "select": [by_key[key] for key in selected],
        "val": val,
    }


PLUGIN = Voc()
