"""Reads one split of a COCO folder: its index, its keypoints, and which of its images are there."""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tcc.datasets.coco._layout import Part
from tcc.errors import DataError
from tcc.formats.coco import CocoInstances, read_instances


@dataclass(frozen=True, kw_only=True)
class Loaded:
    """One split as it was read, M images in its index."""

    part: Part
    folder: Path  # that the index's file names start from
    rows: tuple[int, ...]  # the images that are there
    instances: CocoInstances
    posed: CocoInstances | None  # the index that has the keypoints: the same, or another file's
    posed_rows: NDArray[np.int64]  # (M,): where each image stands in it
    no_keypoints: str  # why there are none

    @property
    def annotation_files(self) -> list[Path]:
        """The files that the labels are from."""
        if self.part.keypoints is None or self.posed is None or self.posed is self.instances:
            return [self.part.annotations]
        return [self.part.annotations, self.part.keypoints]


def load(root: Path, part: Part, skip_missing: bool) -> Loaded:
    """Reads a split; kept while its files do not change, since every trial asks for it.

    Raises:
        DataError: a file is malformed, or images that it lists are missing.
    """
    instances = _read(part.annotations)
    if not len(instances):
        raise DataError(f"{part.annotations}: lists no image")
    if not instances.num_boxes:
        raise DataError(
            f"{part.annotations}: has images, but no annotation with a box; set "
            f"`{part.split}_annotations` of data set coco to a file of instances (to code images "
            "without labels, use data set images)"
        )
    folder, there = _find_images(root, part, instances.file_names)
    rows = np.flatnonzero(there)
    if len(rows) < len(there) and not (skip_missing and len(rows)):
        first = instances.file_names[int(np.argmin(there))]
        raise DataError(
            f"{len(there) - len(rows)} of {len(there)} images of {part.annotations} are missing "
            f"under {folder}, the first is {first}: set `{part.split}_images` of data set coco to "
            "the folder that holds them, or `skip_missing: true` to leave out a part of them"
        )
    posed, posed_rows, no_keypoints = _find_keypoints(part, instances)
    return Loaded(
        part=part,
        folder=folder,
        rows=tuple(rows.tolist()),
        instances=instances,
        posed=posed,
        posed_rows=posed_rows,
        no_keypoints=no_keypoints,
    )


def _find_images(root: Path, part: Part, names: tuple[str, ...]) -> tuple[Path, list[bool]]:
    """The folder that the file names start from, and which of them it holds. Names that repeat the
    folder's own start from one above."""
    absolute = next((name for name in names if name.startswith("/")), None)
    if absolute is not None:
        raise DataError(
            f"{part.annotations}: file_name {absolute} is an absolute path; write it relative to "
            "the folder of the images"
        )
    there = _existing(part.images, names)
    if not any(there) and part.images.is_relative_to(root):
        for above in part.images.relative_to(root).parents:
            own = part.images.relative_to(root / above).as_posix() + "/"
            if all(name.startswith(own) for name in names):
                return root / above, _existing(root / above, names)
    return part.images, there


def _existing(folder: Path, names: tuple[str, ...]) -> list[bool]:
    """Which files a folder holds, told from one listing of it and of each sub-folder in a name."""
    listed: dict[str, set[str]] = {}
    there = []
    for name in names:
        below, _, leaf = name.rpartition("/")
        if below not in listed:
            try:
                with os.scandir(folder / below) as entries:
                    listed[below] = {entry.name for entry in entries}
            except (FileNotFoundError, NotADirectoryError):
                listed[below] = set()
        there.append(leaf in listed[below])
    return there


def _find_keypoints(
    part: Part, instances: CocoInstances
) -> tuple[CocoInstances | None, NDArray[np.int64], str]:
    """The index that has the keypoints, where each image stands in it; else why there is none."""
    none = np.zeros(0, np.int64)
    if instances.keypoint_names:
        return instances, np.arange(len(instances)), ""
    if part.keypoints is None or not part.keypoints.exists():
        beside = f", and there is no {part.keypoints}" if part.keypoints else ""
        return None, none, f"no category of {part.annotations} lists keypoints{beside}"
    posed = _read(part.keypoints)
    if not posed.keypoint_names:
        return None, none, f"{part.keypoints}: its categories do not list the same keypoints"
    row_of = {name: row for row, name in enumerate(posed.file_names)}
    rows = np.array([row_of.get(name, -1) for name in instances.file_names])
    if (rows < 0).any():
        return (
            None,
            none,
            (f"{part.keypoints} lacks {(rows < 0).sum()} of the images of {part.annotations}"),
        )
    return posed, rows, ""


def _read(path: Path) -> CocoInstances:
    try:
        state = path.stat()
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})") from error
    return _read_unchanged(path, state.st_size, state.st_mtime_ns)


@lru_cache(maxsize=4)  # both splits, each with its keypoints
def _read_unchanged(path: Path, size: int, mtime_ns: int) -> CocoInstances:
    del size, mtime_ns  # part of the key alone
    return read_instances(path)
