"""The Cityscapes plug-in: splits, labels, what it says is absent and what it refuses."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from tcc.datasets.cityscapes import PLUGIN, Params
from tcc.errors import DataError
from tcc.formats import cityscapes, image
from tcc.records import DatasetInfo

TRAIN = ["aachen_000000_000019", "aachen_000001_000019", "ulm_000000_000019"]
VAL = ["lindau_000000_000019"]
LABEL_IDS = np.array([[7, 26, 0], [24, 255, 33]], np.uint8)
RAW = np.array([[0, 1, 257], [32769, 65535, 2]], np.uint16)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for split, keys in (("train", TRAIN), ("val", VAL)):
        for number, key in enumerate(keys):
            files = cityscapes.frame(tmp_path / "cs", split, key)
            for path, pixels in (
                (files.image, np.full((2, 3, 3), 10 * number + len(split), np.uint8)),
                (files.label_ids, LABEL_IDS),
                (files.disparity, RAW),
            ):
                path.parent.mkdir(parents=True, exist_ok=True)
                image.write_png(path, pixels)
    return tmp_path / "cs"


def _describe(root: Path, **params: object) -> DatasetInfo:
    return PLUGIN.describe(Params.model_validate({"root": str(root), **params}))


def test_pixels_train_ids_and_raw_disparity(root: Path) -> None:
    info = _describe(root)
    assert dict(info.splits) == {"train": 2, "select": 1, "val": 1}
    assert info.labels == ("label_ids", "disparity")
    assert dict(info.classes) == {"label_ids": cityscapes.CLASSES}
    assert dict(info.absent) == {}
    split = PLUGIN.open(Params(root=str(root)), "val")
    sample = split[0]
    assert sample.key == VAL[0]
    assert sample.image.shape == (3, 2, 3)
    assert sample.image.unique().tolist() == [3]
    assert tuple(sample.labels) == info.labels
    assert sample.labels["label_ids"].tolist() == [[0, 13, 255], [11, 255, 18]]
    assert sample.labels["disparity"].tolist() == RAW.tolist()
    assert split.size(0) == (2, 3)


def test_train_and_select_are_parts_of_the_training_frames(root: Path) -> None:
    params = Params(root=str(root), select=2)
    keys = {split: PLUGIN.open(params, split).keys for split in ("train", "select", "val")}
    assert {name: len(part) for name, part in keys.items()} == {"train": 1, "select": 2, "val": 1}
    assert sorted(keys["train"] + keys["select"]) == TRAIN


def test_the_packages_may_lie_in_any_of_their_ways(root: Path, tmp_path: Path) -> None:
    official = _describe(root)
    for package in ("leftImg8bit", "gtFine", "disparity"):
        wrapper = tmp_path / "zips" / f"{package}_trainvaltest"
        shutil.copytree(root / package, wrapper / package)
    for split, keys in (("train", TRAIN), ("val", VAL)):
        (tmp_path / "flat" / split).mkdir(parents=True)
        for key in keys:
            files = cityscapes.frame(root, split, key)
            for path in (files.image, files.label_ids, files.disparity):
                shutil.copy(path, tmp_path / "flat" / split)
    assert _describe(tmp_path / "zips") == official  # the fingerprints as well
    assert _describe(tmp_path / "flat") == official


@pytest.mark.parametrize(("package", "kind"), [("gtFine", "label_ids"), ("disparity", "disparity")])
def test_a_package_that_is_not_there_is_named(root: Path, package: str, kind: str) -> None:
    whole = _describe(root)
    shutil.rmtree(root / package)
    info = _describe(root)
    (left,) = {"label_ids", "disparity"} - {kind}
    assert info.labels == (left,)
    assert list(info.absent) == [kind]
    assert f"unpack {package}_trainvaltest.zip of Cityscapes there" in info.absent[kind]
    assert str(root) in info.absent[kind]
    assert set(info.classes) == {"label_ids"} - {kind}
    assert info.fingerprint("train") != whole.fingerprint("train")
    assert tuple(PLUGIN.open(Params(root=str(root)), "train")[0].labels) == (left,)


@pytest.mark.parametrize(
    ("kind", "split", "lost"), [("label_ids", "val", 1), ("disparity", "train", 3)]
)
def test_a_label_that_some_images_lack_is_refused(
    root: Path, kind: str, split: str, lost: int
) -> None:
    keys = {"train": TRAIN, "val": VAL}[split]
    for key in keys:
        getattr(cityscapes.frame(root, split, key), kind).unlink()
    with pytest.raises(
        DataError,
        match=rf"{keys[0]}{cityscapes.SUFFIXES[kind]}: there is no such file below .*"
        rf"{keys[0]}_leftImg8bit\.png \({lost} of 4 images lack theirs\); unpack the whole of",
    ):
        _describe(root)


@pytest.mark.parametrize("split", ["train", "val"])
def test_a_missing_split_is_named(root: Path, split: str) -> None:
    shutil.rmtree(root / "leftImg8bit" / split)
    with pytest.raises(
        DataError, match=rf"no image of split {split}: .* unpack leftImg8bit_trainvaltest\.zip"
    ):
        _describe(root)


def test_a_missing_root_says_how_to_set_it(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TCC_CITYSCAPES_ROOT", raising=False)
    with pytest.raises(DataError, match=r"data set cityscapes has no root.*TCC_CITYSCAPES_ROOT"):
        PLUGIN.describe(Params())
    monkeypatch.setenv("TCC_CITYSCAPES_ROOT", str(root))
    assert PLUGIN.describe(Params()) == _describe(root)
    assert list(PLUGIN.sources(Params())) == [root]


@pytest.mark.parametrize("kind", ["label_ids", "disparity"])
def test_a_label_of_another_size_names_both_files(root: Path, kind: str) -> None:
    path = getattr(cityscapes.frame(root, "val", VAL[0]), kind)
    image.write_png(path, {"label_ids": LABEL_IDS, "disparity": RAW}[kind].T)
    split = PLUGIN.open(Params(root=str(root)), "val")
    with pytest.raises(
        DataError,
        match=rf"{path.name} has 2 x 3 pixels, but .*{VAL[0]}_leftImg8bit\.png has 3 x 2",
    ):
        split[0]


def test_colours_are_no_label_ids(root: Path) -> None:
    path = cityscapes.frame(root, "val", VAL[0]).label_ids
    image.write_png(path, np.zeros((2, 3, 3), np.uint8))
    split = PLUGIN.open(Params(root=str(root)), "val")
    with pytest.raises(
        DataError,
        match=rf"{path.name}: .*RGB; take it from gtFine_trainvaltest\.zip.*_gtFine_color\.png, "
        r".* are not label ids",
    ):
        split[0]


def test_an_8_bit_disparity_is_refused(root: Path) -> None:
    path = cityscapes.frame(root, "val", VAL[0]).disparity
    image.write_png(path, LABEL_IDS)
    with pytest.raises(DataError, match=rf"{path.name}: .*16-bit.*disparity_trainvaltest\.zip"):
        PLUGIN.open(Params(root=str(root)), "val")[0]


def test_the_fingerprint_sees_every_file_and_split_alone(root: Path, tmp_path: Path) -> None:
    first = _describe(root)
    root = root.rename(tmp_path / "moved")
    assert _describe(root) == first
    noise = np.random.default_rng(0).integers(0, 2**16, (9, 9)).astype(np.uint16)
    image.write_png(cityscapes.frame(root, "val", VAL[0]).disparity, noise)
    seen = _describe(root)
    assert seen.fingerprint("train", "select") == first.fingerprint("train", "select")
    assert seen.fingerprint("val") != first.fingerprint("val")
    image.write_png(cityscapes.frame(root, "val", VAL[0]).image, noise)
    assert _describe(root).fingerprint("val") != seen.fingerprint("val")


def test_tiny_has_every_label_in_every_split(tmp_path: Path) -> None:
    params = Params.model_validate(PLUGIN.tiny(tmp_path))
    info = PLUGIN.describe(params)
    assert info.labels == ("label_ids", "disparity")
    assert dict(info.splits) == {"train": 7, "select": 1, "val": 4}
    for name, count in info.splits.items():
        split = PLUGIN.open(params, name)
        assert len(split) == count
        for index in range(count):
            sample = split[index]
            assert split.size(index) == tuple(sample.image.shape[1:])
            assert set(sample.labels["label_ids"].unique().tolist()) == {0, 11, 13, 255}
            assert sample.labels["disparity"].unique().tolist() == [0, 2561, 10241, 15361]


def test_labels_without_their_image_tell_of_an_interrupted_unpacking(root: Path) -> None:
    for key in TRAIN[1:]:
        cityscapes.frame(root, "train", key).image.unlink()
    with pytest.raises(
        DataError,
        match=rf"^{TRAIN[1]}_leftImg8bit\.png: .* \(2 images are missing\); unpack the whole of",
    ):
        _describe(root)


def test_other_label_ids_of_equal_size_are_seen(root: Path) -> None:
    path = cityscapes.frame(root, "val", VAL[0]).label_ids
    before, size = _describe(root), path.stat().st_size
    changed = LABEL_IDS.copy()
    changed[0, 0] = 8
    image.write_png(path, changed)
    assert path.stat().st_size == size
    assert _describe(root).fingerprint("val") != before.fingerprint("val")


def test_maps_that_nobody_asks_for_are_not_read(root: Path) -> None:
    for split, key in (("train", TRAIN[0]), ("val", VAL[0])):
        cityscapes.frame(root, split, key).label_ids.write_text("torn")
    sample = PLUGIN.open(Params(root=str(root)), "val", {"disparity"})[0]
    assert tuple(sample.labels) == ("disparity",)
