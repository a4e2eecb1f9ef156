"""Reads and writes Cityscapes: label id maps, 16-bit disparity maps, file naming. Free of torch.

    leftImg8bit/SPLIT/CITY/CITY_SEQUENCE_FRAME_leftImg8bit.png
    gtFine/SPLIT/CITY/CITY_SEQUENCE_FRAME_gtFine_labelIds.png
    disparity/SPLIT/CITY/CITY_SEQUENCE_FRAME_disparity.png

Files are found by their suffix below a folder named train or val, however the official packages
were unpacked. Raw disparity is 256 · pixels + 1, 0 where invalid.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tcc.errors import DataError
from tcc.formats import image

IGNORED = 255  # train id of what is neither trained nor scored
# fmt: off
CLASSES = (
    "road", "sidewalk", "building", "wall", "fence", "pole", "traffic light", "traffic sign",
    "vegetation", "terrain", "sky", "person", "rider", "car", "truck", "bus", "train", "motorcycle",
    "bicycle",
)
LABEL_IDS = (7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31, 32, 33)
# fmt: on
SPLITS = ("train", "val")
MOST_DISPARITY = (2**16 - 2) / 256  # pixels that 16 bits can say
_OTHER_SPLITS = ("test", "train_extra", "demoVideo")  # unlabelled, coarsely labelled, a film
SUFFIXES = {
    "image": "_leftImg8bit.png",
    "label_ids": "_gtFine_labelIds.png",
    "disparity": "_disparity.png",
}
_TRAIN_IDS = np.full(256, IGNORED, np.uint8)
_TRAIN_IDS[list(LABEL_IDS)] = np.arange(len(LABEL_IDS))


@dataclass(frozen=True, kw_only=True)
class Frame:
    """Where one image and its labels lie."""

    key: str  # CITY_SEQUENCE_FRAME
    image: Path
    label_ids: Path
    disparity: Path


class Found(NamedTuple):
    """One file that was found."""

    path: str
    num_bytes: int


@dataclass(frozen=True, kw_only=True)
class SplitFiles:
    """The files of one split by key; a key may lack any of them."""

    image: Mapping[str, Found]
    label_ids: Mapping[str, Found]
    disparity: Mapping[str, Found]


def frame(root: Path, split: str, key: str) -> Frame:
    """The official file names of a frame; the files need not exist."""
    city = key.split("_")[0]
    return Frame(
        key=key,
        image=root / "leftImg8bit" / split / city / (key + SUFFIXES["image"]),
        label_ids=root / "gtFine" / split / city / (key + SUFFIXES["label_ids"]),
        disparity=root / "disparity" / split / city / (key + SUFFIXES["disparity"]),
    )


def find_files(root: Path) -> dict[str, SplitFiles]:
    """Every image, label id map and disparity map of ``train`` and ``val`` below a root, at any
    depth. The innermost folder with the name of a split says the split.

    Raises:
        DataError: a folder cannot be read, or a file is there twice.
    """
    found: dict[str, dict[str, dict[str, Found]]] = {
        split: {kind: {} for kind in SUFFIXES} for split in SPLITS
    }
    try:
        for split, entry in _walk(str(root), None):
            for kind, suffix in SUFFIXES.items():
                if not entry.name.endswith(suffix):
                    continue
                key = entry.name.removesuffix(suffix)
                twin = found[split][kind].get(key)
                if twin is not None:
                    first, second = sorted((twin.path, entry.path))
                    raise DataError(
                        f"{first} and {second}: one file of {split} twice; delete one of them, "
                        "or set `root` of data set cityscapes to a folder that holds only one"
                    )
                found[split][kind][key] = Found(entry.path, entry.stat().st_size)
    except OSError as error:
        raise DataError(f"{error.filename}: cannot be read ({error.strerror})") from error
    return {split: SplitFiles(**kinds) for split, kinds in found.items()}


def read_label_ids(path: Path) -> NDArray[np.uint8]:
    """Train ids of a label id map, (H, W); 255 is ignored.

    Raises:
        DataError: the file is missing, corrupt or not 8-bit with one channel.
    """
    return _TRAIN_IDS[image.read_indices(path)]


def read_disparity(path: Path) -> NDArray[np.uint16]:
    """Raw disparity, (H, W): 256 · pixels + 1, 0 where invalid.

    Raises:
        DataError: the file is missing, corrupt or not 16-bit with one channel.
    """
    return image.read_uint16(path)


def encode_disparity(disparity_px: NDArray[np.floating]) -> NDArray[np.uint16]:
    """Raw disparity of a disparity in pixels (under 255.99); NaN becomes invalid."""
    raw = np.rint(np.nan_to_num(disparity_px, nan=0.0) * 256) + 1
    return np.where(np.isnan(disparity_px), 0, raw).astype(np.uint16)


def _walk(folder: str, split: str | None) -> Iterator[tuple[str, os.DirEntry[str]]]:
    """The files of the splits; links are followed, and the system refuses those that go round."""
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.startswith("."):
                continue
            if entry.is_dir():
                named = entry.name if entry.name in (*SPLITS, *_OTHER_SPLITS) else split
                yield from _walk(entry.path, named)
            elif split in SPLITS:
                yield split, entry
