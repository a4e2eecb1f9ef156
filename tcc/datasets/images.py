"""A folder of images without labels, such as Kodak: what a codec is evaluated on.

All images are the ``val`` split; the same images, less those of ``select``, are ``train``.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field

from tcc.datasets import Dataset, DatasetParams, cut_select, find_root, take_kinds
from tcc.formats import image
from tcc.formats.fingerprint import fingerprint_files
from tcc.records import DatasetInfo, FrozenMap

if TYPE_CHECKING:
    from tcc.formats.sample import Sample


class Params(DatasetParams):
    """Where the images lie."""

    root: str | None = Field(
        default=None, description="folder of the images; by default $TCC_IMAGES_ROOT"
    )


@dataclass(frozen=True)
class ImagesSplit:
    """Image files as samples without labels."""

    files: tuple[Path, ...]

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> Sample:
        from tcc.formats.sample import Sample, image_tensor

        file = self.files[index]
        return Sample(key=file.name, image=image_tensor(image.read_rgb(file)), labels={})

    def size(self, index: int) -> tuple[int, int]:
        return image.image_size(self.files[index])


class Images(Dataset):
    """Image files of one folder, sub-folders not read."""

    version: ClassVar[int] = 1
    Params: ClassVar[type[DatasetParams]] = Params

    def tiny(self, folder: Path) -> dict[str, Any]:
        from tcc.datasets._tiny import SIZES, draw

        folder.mkdir(parents=True, exist_ok=True)
        for index in range(6):
            pixels = draw(index, *SIZES[index % len(SIZES)]).image
            image.write_png(folder / f"kodim{index:02d}.png", pixels)
        return {"root": str(folder)}

    def describe(self, params: Params) -> DatasetInfo:
        root = find_root("images", params.root)
        files = image.list_images(root)
        splits = _splits(files, params.select)
        return DatasetInfo(
            labels=(),
            splits=FrozenMap({split: len(keys) for split, keys in splits.items()}),
            fingerprints=FrozenMap(
                {
                    split: fingerprint_files(root, images=[f"{root}/{key}" for key in keys])
                    for split, keys in splits.items()
                }
            ),
        )

    def open(
        self, params: Params, split: str, labels: Collection[str] | None = None
    ) -> ImagesSplit:
        take_kinds("images", (), labels)
        root = find_root("images", params.root)
        keys = _splits(image.list_images(root), params.select)[split]
        return ImagesSplit(tuple(root / key for key in keys))

    def sources(self, params: Params) -> Iterable[Path]:
        return (find_root("images", params.root),)


def _splits(files: list[Path], select: int) -> dict[str, list[str]]:
    keys = [file.name for file in files]
    train, selected = cut_select(keys, select)
    return {"train": train, "select": selected, "val": keys}


PLUGIN = Images()
