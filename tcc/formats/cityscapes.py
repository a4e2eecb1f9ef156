"""Reads and writes Cityscapes: label id maps, 16-bit disparity maps, file naming. Free of torch.

    leftImg8bit/SPLIT/CITY/CITY_SEQUENCE_FRAME_leftImg8bit.png
    gtFine/SPLIT/CITY/CITY_SEQUENCE_FRAME_gtFine_labelIds.png
    disparity/SPLIT/CITY/CITY_SEQUENCE_FRAME_disparity.png

Raw disparity is 256 · pixels + 1, 0 where invalid.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

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
_LABEL_IDS = (7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31, 32, 33)
# fmt: on


def train_id_table(label_ids: tuple[int, ...]) -> NDArray[np.uint8]:
    """The table label id → train id, (256,), for label ids listed by train id; others: 255."""
    table = np.full(256, IGNORED, np.uint8)
    table[list(label_ids)] = np.arange(len(label_ids))
    return table


TRAIN_IDS = train_id_table(_LABEL_IDS)


@dataclass(frozen=True, kw_only=True)
class Frame:
    """Where one image and its labels lie."""

    key: str  # CITY_SEQUENCE_FRAME
    image: Path
    label_ids: Path
    disparity: Path


def frame(root: Path, split: str, key: str) -> Frame:
    """The official file names of a frame; the files need not exist."""
    city = key.split("_")[0]
    return Frame(
        key=key,
        image=root / "leftImg8bit" / split / city / f"{key}_leftImg8bit.png",
        label_ids=root / "gtFine" / split / city / f"{key}_gtFine_labelIds.png",
        disparity=root / "disparity" / split / city / f"{key}_disparity.png",
    )


def list_frames(root: Path, split: str) -> list[Frame]:
    """The frames of a split that have an image, by city and name.

    Raises:
        DataError: the split's folder is missing or holds no image.
    """
    folder = root / "leftImg8bit" / split
    if not folder.is_dir():
        raise DataError(f"{folder}: there is no such folder")
    suffix = "_leftImg8bit.png"
    keys = sorted(path.name.removesuffix(suffix) for path in folder.glob(f"*/*{suffix}"))
    if not keys:
        raise DataError(f"{folder}: no CITY/*{suffix} in this folder")
    return [frame(root, split, key) for key in keys]


def read_label_ids(path: Path, table: NDArray[np.uint8] = TRAIN_IDS) -> NDArray[np.uint8]:
    """Train ids of a label id map, (H, W); 255 is ignored.

    Raises:
        DataError: the file is missing, corrupt or not 8-bit with one channel.
    """
    return table[image.read_indices(path)]


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
