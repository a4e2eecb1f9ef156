"""Finds the parts of a COCO folder as it is distributed: annotation files and image folders."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from tcc.errors import DataError

SPLITS = ("train", "val")
_YEARS = ("2017", "2014", "")


@dataclass(frozen=True, kw_only=True)
class Part:
    """Where one split lies."""

    split: str
    annotations: Path
    keypoints: Path | None  # where the person keypoints of the same images would be
    images: Path


def find_parts(root: Path, given: Mapping[str, str | None]) -> dict[str, Part]:
    """The parts train and val; of a folder that is not split, twice the same. ``given``: paths
    relative to the root by parameter; what is given is not looked for.

    Raises:
        DataError: a part is missing, or several files or folders could be it.
    """
    files = _annotations(root, given)
    unsplit = files["train"] == files["val"]
    parts = {}
    for split, file in files.items():
        posed = f"person_keypoints{file.name.removeprefix('instances')}"
        parts[split] = Part(
            split=split,
            annotations=file,
            keypoints=file.with_name(posed) if file.name.startswith("instances") else None,
            images=_images(root, given, split, file, unsplit),
        )
    return parts


def _annotations(root: Path, given: Mapping[str, str | None]) -> dict[str, Path]:
    found, looked_for = {}, {}
    for split in SPLITS:
        names = [f"instances_{split}{year}.json" for year in _YEARS]
        looked_for[split] = ", ".join(names)
        parameter = f"{split}_annotations"
        file = _given(root, given, parameter) or _only(
            [folder / name for folder in (root / "annotations", root) for name in names],
            f"`{parameter}`",
        )
        if file is not None:
            found[split] = file
    if not found:
        return dict.fromkeys(SPLITS, _unsplit(root, looked_for["train"]))
    for split in SPLITS:
        if split not in found:
            raise DataError(
                f"{root / 'annotations'}: none of {looked_for[split]} here or in the folder above, "
                f"but the other split has its file; set `{split}_annotations` of data set coco"
            )
    return found


def _unsplit(root: Path, looked_for: str) -> Path:
    parameters = "`train_annotations` and `val_annotations`"
    folder = root / "annotations"
    found = _only([folder / "instances.json", root / "instances.json"], parameters)
    if found is None and folder.is_dir():
        found = _only(
            [file for file in sorted(folder.iterdir()) if file.suffix == ".json"], parameters
        )
    if found is None:
        raise DataError(
            f"{folder}: none of {looked_for}, instances.json or a single other .json here; set "
            f"{parameters} of data set coco"
        )
    return found


def _images(
    root: Path, given: Mapping[str, str | None], split: str, annotations: Path, unsplit: bool
) -> Path:
    parameter = f"{split}_images"
    names = [] if unsplit else [f"{split}{year}" for year in _YEARS]
    folders = [folder for name in names for folder in (root / name, root / "images" / name)]
    same_year = [folder for folder in folders if annotations.stem.endswith(folder.name)]
    found = _given(root, given, parameter)
    if found is None and unsplit:
        found = _given(root, given, "train_images") or _given(root, given, "val_images")
    for candidates in (same_year, folders, [root / "images"]):
        found = found or _only(candidates, f"`{parameter}`")
    if found is None:
        raise DataError(
            f"{root}: no folder of the images of {annotations.name}: looked for "
            f"{', '.join((*names, 'images'))}; set `{parameter}` of data set coco"
        )
    return found


def _given(root: Path, given: Mapping[str, str | None], parameter: str) -> Path | None:
    path = given[parameter]
    if path is None:
        return None
    if not (root / path).exists():
        raise DataError(
            f"{root / path}: there is no such file or folder (`{parameter}` of data set coco)"
        )
    return root / path


def _only(candidates: Iterable[Path], parameter: str) -> Path | None:
    """The one candidate that is there, if any is; links to it do not count."""
    there = {path.resolve(): path for path in candidates if path.exists()}
    if len(there) > 1:
        listed = " and ".join(str(path) for path in there.values())
        raise DataError(f"{listed} are there; set {parameter} of data set coco to one of them")
    return next(iter(there.values()), None)
