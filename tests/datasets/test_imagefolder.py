"""Classification folders: classes, layouts, and what is refused."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from tcc.datasets.imagefolder import PLUGIN, Params
from tcc.errors import DataError
from tcc.formats import image
from tcc.records import DatasetInfo

FILES = {
    "train/cat/b.png": 1,
    "train/cat/a.JPEG": 2,
    "train/cat/more/deep/c.Png": 3,
    "train/ant/x.png": 4,
    "train/bee/y.png": 5,
    "val/bee/v.png": 6,
    "val/ant/w.png": 7,
}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name, value in FILES.items():
        _write(tmp_path / "set" / name, value)
    return tmp_path / "set"


def _write(path: Path, value: int = 0, height: int = 5) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    image.write_png(path, np.full((height + value, 6, 3), value, np.uint8))


def _describe(root: Path, **params: object) -> DatasetInfo:
    return PLUGIN.describe(Params.model_validate({"root": str(root), **params}))


def test_the_folders_of_train_are_the_classes(root: Path) -> None:
    info = _describe(root)
    assert info.labels == ("class",)
    assert info.classes["class"] == ("ant", "bee", "cat")
    assert dict(info.splits) == {"train": 4, "select": 1, "val": 2}
    assert dict(info.absent) == {}
    seen = {}
    for name in ("train", "select", "val"):
        split = PLUGIN.open(Params(root=str(root)), name)
        for index in range(len(split)):
            sample = split[index]
            place = "val" if name == "val" else "train"
            value = FILES[f"{place}/{sample.key}"]
            assert sample.image.unique().tolist() == [value]
            assert split.size(index) == tuple(sample.image.shape[1:]) == (5 + value, 6)
            assert sample.labels["class"].dtype == torch.int64
            assert sample.labels["class"].shape == ()
            seen[f"{place}/{sample.key}"] = int(sample.labels["class"])
    number = {"ant": 0, "bee": 1, "cat": 2}
    assert seen == {name: number[name.split("/")[1]] for name in FILES}


def test_keys_are_in_order_and_hidden_files_are_none(root: Path) -> None:
    for name in ("train/.cache/z.png", "train/cat/.b.png", "train/cat/.deep/z.png"):
        _write(root / name)
    (root / "train/readme.txt").touch()
    (root / "train/cat/list.csv").touch()
    split = PLUGIN.open(Params(root=str(root), select=1), "val")
    assert split.keys == ("ant/w.png", "bee/v.png")
    assert _describe(root).splits["train"] == 4


@pytest.mark.parametrize("name", ["valid", "validation", "test"])
def test_the_validation_folder_has_several_names(root: Path, name: str) -> None:
    before = _describe(root)
    (root / "val").rename(root / name)
    assert _describe(root) == before  # the name is no part of a sample
    assert list(PLUGIN.sources(Params(root=str(root)))) == [root / "train", root / name]


def test_a_test_folder_beside_val_is_left_alone(root: Path) -> None:
    before = _describe(root)
    _write(root / "test" / "unlabelled.png")  # as ImageNet has it
    assert _describe(root) == before


@pytest.mark.parametrize("below", ["ILSVRC/Data/CLS-LOC", "Data/CLS-LOC"])
def test_imagenet_is_found_below_its_root(root: Path, tmp_path: Path, below: str) -> None:
    before = _describe(root)
    (tmp_path / "net" / below).parent.mkdir(parents=True)
    shutil.move(root, tmp_path / "net" / below)
    assert _describe(tmp_path / "net") == before
    assert PLUGIN.open(Params(root=str(tmp_path / "net")), "val")[0].key == "ant/w.png"


def test_links_to_class_folders_are_followed(root: Path, tmp_path: Path) -> None:
    before = _describe(root)
    (root / "train" / "cat").rename(tmp_path / "cats")
    (root / "train" / "cat").symlink_to(tmp_path / "cats")
    assert _describe(root) == before
    (tmp_path / "cats" / "round").symlink_to(tmp_path / "cats")
    with pytest.raises(DataError, match=r"train/cat/round/round.*: cannot be read"):
        _describe(root)


def test_a_missing_folder_says_what_is_read(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TCC_IMAGEFOLDER_ROOT", raising=False)
    with pytest.raises(DataError, match=r"imagefolder has no root.*TCC_IMAGEFOLDER_ROOT"):
        PLUGIN.describe(Params())
    monkeypatch.setenv("TCC_IMAGEFOLDER_ROOT", str(root))
    assert PLUGIN.describe(Params()) == _describe(root)
    with pytest.raises(DataError, match=r"val/train: there is no such folder; .* train/CLASS/"):
        _describe(root / "val")
    (root / "val").rename(root / "validate")
    with pytest.raises(DataError, match=r"in one folder val, valid, .* or test; there is none"):
        _describe(root)


def test_two_validation_folders_are_refused(root: Path) -> None:
    shutil.copytree(root / "val", root / "validation")
    with pytest.raises(DataError, match=r"here are val and validation, rename all but one"):
        _describe(root)


def test_a_class_that_train_lacks_is_refused(root: Path) -> None:
    _write(root / "val" / "dog" / "d.png")
    with pytest.raises(DataError, match=r"val/dog: a class that \S+/train has no folder of \(1 su"):
        _describe(root)


def test_a_class_that_val_lacks_is_none_of_its_business(root: Path) -> None:
    assert "cat" in _describe(root).classes["class"]
    assert not (root / "val" / "cat").exists()


@pytest.mark.parametrize("name", ["train/ant", "val/ant"])
def test_an_empty_class_folder_is_named(root: Path, name: str) -> None:
    for path in (root / name).iterdir():
        path.rename(path.with_suffix(".txt"))
    with pytest.raises(DataError, match=rf"{name}: no image in this class folder; .*\.png, \.jpg"):
        _describe(root)


@pytest.mark.parametrize("split", ["train", "val"])
def test_images_outside_of_class_folders_are_refused(root: Path, split: str) -> None:
    for number in (2, 1):
        _write(root / split / f"ILSVRC2012_val_0000000{number}.JPEG")
    said = (
        rf"{split}/ILSVRC2012_val_00000001\.JPEG: an image in no class folder \(2 such in \S+\); "
        rf"move each into the folder of its class, {split}/CLASS/"
    )
    with pytest.raises(DataError, match=said):
        _describe(root)
    for path in (root / split).iterdir():
        if path.is_dir():
            shutil.rmtree(path)
    with pytest.raises(DataError, match=said):
        _describe(root)


def test_a_folder_without_anything_is_named(root: Path) -> None:
    shutil.rmtree(root / "val")
    (root / "val").mkdir()
    with pytest.raises(DataError, match=r"/val: no class folder; images lie in val/CLASS/"):
        _describe(root)


def test_the_fingerprint_sees_files_and_numbers_of_classes(root: Path, tmp_path: Path) -> None:
    first = _describe(root)
    root = root.rename(tmp_path / "moved")
    assert _describe(root) == first
    _write(root / "val" / "bee" / "v.png", height=300)
    second = _describe(root)
    assert second.fingerprint("train", "select") == first.fingerprint("train", "select")
    assert second.fingerprint("val") != first.fingerprint("val")
    _write(root / "val" / "bee" / "u.png")
    (root / "val" / "bee" / "v.png").rename(root / "val" / "ant" / "v.png")
    third = _describe(root)
    assert third.fingerprint("val") != second.fingerprint("val")
    _write(root / "train" / "aardvark" / "x.png")  # ant becomes class 1
    assert _describe(root).fingerprint("val") != third.fingerprint("val")


def test_a_broken_image_is_named(root: Path) -> None:
    (root / "val" / "ant" / "w.png").write_bytes(b"torn")
    with pytest.raises(DataError, match=r"val/ant/w\.png: "):
        PLUGIN.open(Params(root=str(root)), "val")[0]
    (root / "val" / "ant" / "w.png").unlink()
    (root / "val" / "ant" / "w.png").symlink_to(root / "gone.png")
    with pytest.raises(DataError, match=r"val/ant/w\.png: there is no such file"):
        _describe(root)


def test_tiny_has_every_class_in_every_split(tmp_path: Path) -> None:
    params = Params.model_validate(PLUGIN.tiny(tmp_path))
    info = PLUGIN.describe(params)
    assert info.classes["class"] == ("dark", "light")
    assert dict(info.splits) == {"train": 7, "select": 1, "val": 4}
    sizes = set()
    for name, count in info.splits.items():
        split = PLUGIN.open(params, name)
        assert len(split) == count
        samples = [split[index] for index in range(count)]
        if name != "select":
            assert {int(sample.labels["class"]) for sample in samples} == {0, 1}
        for index, sample in enumerate(samples):
            assert split.size(index) == tuple(sample.image.shape[1:])
            sizes.add(split.size(index))
    assert len(sizes) == 3


@pytest.mark.skipif("TCC_SHARED" not in os.environ, reason="needs TCC_SHARED")
def test_ants_and_bees() -> None:
    params = Params(root=str(Path(os.environ["TCC_SHARED"]) / "data/imagefolder"), select=2)
    info = PLUGIN.describe(params)
    assert info.classes["class"] == ("ants", "bees")
    assert dict(info.splits) == {"train": 6, "select": 2, "val": 8}
    split = PLUGIN.open(params, "val")
    samples = [split[index] for index in range(len(split))]
    assert [int(sample.labels["class"]) for sample in samples] == [0] * 4 + [1] * 4
    sizes = [tuple(sample.image.shape[1:]) for sample in samples]
    assert [split.size(index) for index in range(len(split))] == sizes
    assert len(set(sizes)) > 1


def test_what_file_servers_leave_is_no_class(root: Path) -> None:
    before = _describe(root)
    (root / "train" / "@eaDir").mkdir()
    _write(root / "val" / "bee" / "__MACOSX" / "thumb.png")
    assert _describe(root) == before
