"""Cityscapes label ids, disparity, names, and its files in every way they are unpacked."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tcc.errors import DataError
from tcc.formats import cityscapes, image

KEYS = {
    "train": ["aachen_000000_000019", "ulm_000001_000019"],
    "val": ["lindau_000002_000019"],
    "test": ["berlin_000003_000019"],
}
OFFICIAL = {"image": "leftImg8bit", "label_ids": "gtFine", "disparity": "disparity"}


def _lay_out(root: Path, where: str) -> None:
    """Empty files; ``where``: a pattern of {package}, {split}, {city}."""
    for split, keys in KEYS.items():
        for key in keys:
            for kind, package in OFFICIAL.items():
                city = key.split("_")[0]
                folder = root / where.format(package=package, split=split, city=city)
                folder.mkdir(parents=True, exist_ok=True)
                (folder / (key + cityscapes.SUFFIXES[kind])).write_bytes(b"123")


def test_train_ids_are_the_official_ones(tmp_path: Path) -> None:
    path = tmp_path / "labelIds.png"
    image.write_png(path, np.arange(256, dtype=np.uint8).reshape(16, 16))
    ids = cityscapes.read_label_ids(path).ravel()
    label_of = {name: int(np.flatnonzero(ids == k)[0]) for k, name in enumerate(cityscapes.CLASSES)}
    assert label_of == {
        "road": 7, "sidewalk": 8, "building": 11, "wall": 12, "fence": 13, "pole": 17,
        "traffic light": 19, "traffic sign": 20, "vegetation": 21, "terrain": 22, "sky": 23,
        "person": 24, "rider": 25, "car": 26, "truck": 27, "bus": 28, "train": 31,
        "motorcycle": 32, "bicycle": 33,
    }  # fmt: skip
    assert (ids == cityscapes.IGNORED).sum() == 256 - 19
    assert ids[255] == cityscapes.IGNORED  # the licence plate, −1


def test_train_ids_are_those_of_the_official_scripts() -> None:
    labels = pytest.importorskip("cityscapesscripts.helpers.labels").labels
    scored = sorted((item.trainId, item.id, item.name) for item in labels if not item.ignoreInEval)
    assert [number for _, number, _ in scored] == list(cityscapes.LABEL_IDS)
    assert [name for _, _, name in scored] == list(cityscapes.CLASSES)


def test_disparity_keeps_a_256th_of_a_pixel_and_what_is_invalid(tmp_path: Path) -> None:
    disparity = np.array([[0, 1 / 256, 8.5], [126.25, 255.98, np.nan]], np.float32)
    path = tmp_path / "disparity.png"
    image.write_png(path, cityscapes.encode_disparity(disparity))
    raw = cityscapes.read_disparity(path)
    assert raw.dtype == np.uint16
    np.testing.assert_array_equal(raw, [[1, 2, 2177], [32321, 65532, 0]])
    back = np.where(raw > 0, (raw - 1.0) / 256, np.nan)
    np.testing.assert_allclose(back, disparity, atol=1 / 512)


def test_an_8_bit_disparity_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "disparity.png"
    image.write_png(path, np.zeros((2, 2), np.uint8))
    with pytest.raises(DataError, match=r"disparity\.png: expected one 16-bit channel"):
        cityscapes.read_disparity(path)


@pytest.mark.parametrize(
    "where",
    [
        "{package}/{split}/{city}",
        "{package}_trainvaltest/{package}/{split}/{city}",
        "{package}/{split}",
        "{split}/{package}",
        "{split}",
        "data/cityscapes/{package}/{split}/{city}/deeper",
    ],
)
def test_files_are_found_however_they_were_unpacked(tmp_path: Path, where: str) -> None:
    _lay_out(tmp_path, where)
    found = cityscapes.find_files(tmp_path)
    assert sorted(found) == ["train", "val"]
    for split, files in found.items():
        for kind, package in OFFICIAL.items():
            ours = getattr(files, kind)
            assert sorted(ours) == KEYS[split]
            for key, file in ours.items():
                folder = where.format(package=package, split=split, city=key.split("_")[0])
                assert file.path == str(tmp_path / folder / (key + cityscapes.SUFFIXES[kind]))
                assert file.num_bytes == 3


def test_the_official_names_are_found(tmp_path: Path) -> None:
    wanted = cityscapes.frame(tmp_path, "train", "ulm_000001_000019")
    assert wanted.image == tmp_path / "leftImg8bit/train/ulm/ulm_000001_000019_leftImg8bit.png"
    assert wanted.label_ids == tmp_path / "gtFine/train/ulm/ulm_000001_000019_gtFine_labelIds.png"
    assert wanted.disparity == tmp_path / "disparity/train/ulm/ulm_000001_000019_disparity.png"
    _lay_out(tmp_path, "{package}/{split}/{city}")
    found = cityscapes.find_files(tmp_path)["train"]
    assert found.image[wanted.key].path == str(wanted.image)
    assert found.label_ids[wanted.key].path == str(wanted.label_ids)
    assert found.disparity[wanted.key].path == str(wanted.disparity)


def test_coarse_extra_hidden_and_other_files_are_not_taken(tmp_path: Path) -> None:
    _lay_out(tmp_path, "{package}/{split}/{city}")
    before = cityscapes.find_files(tmp_path)
    for name in (
        "gtFine/train/ulm/ulm_000009_000019_gtFine_color.png",
        "gtFine/train/ulm/ulm_000009_000019_gtFine_instanceIds.png",
        "gtFine/train/ulm/ulm_000009_000019_gtFine_labelTrainIds.png",
        "gtFine/train/ulm/ulm_000009_000019_gtFine_polygons.json",
        "gtCoarse/train/ulm/ulm_000009_000019_gtCoarse_labelIds.png",
        "leftImg8bit/train_extra/augsburg/augsburg_000000_000000_leftImg8bit.png",
        "leftImg8bit/train/ulm/._ulm_000001_000019_leftImg8bit.png",
        "leftImg8bit/train/.cache/ulm_000001_000019_leftImg8bit.png",
        "rightImg8bit/train/ulm/ulm_000001_000019_rightImg8bit.png",
    ):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    assert cityscapes.find_files(tmp_path) == before


def test_a_frame_that_is_there_twice_names_both_files(tmp_path: Path) -> None:
    _lay_out(tmp_path, "{package}/{split}/{city}")
    twin = tmp_path / "leftImg8bit_trainvaltest/leftImg8bit/val/lindau"
    twin.mkdir(parents=True)
    (twin / "lindau_000002_000019_leftImg8bit.png").touch()
    with pytest.raises(
        DataError,
        match=r"leftImg8bit/val/lindau/lindau_000002_000019_leftImg8bit\.png and "
        r".*leftImg8bit_trainvaltest/leftImg8bit/val/lindau/lindau_000002_\S+: .* delete one",
    ):
        cityscapes.find_files(tmp_path)


def test_links_are_followed_and_those_that_go_round_are_named(tmp_path: Path) -> None:
    _lay_out(tmp_path / "disk", "{package}/{split}/{city}")
    (tmp_path / "root").mkdir()
    for package in OFFICIAL.values():
        (tmp_path / "root" / package).symlink_to(tmp_path / "disk" / package)
    assert sorted(cityscapes.find_files(tmp_path / "root")["train"].image) == KEYS["train"]
    loop = tmp_path / "root" / "empty"
    loop.mkdir()
    (loop / "round").symlink_to(loop)
    with pytest.raises(DataError, match=r"empty/round/round.*: cannot be read"):
        cityscapes.find_files(tmp_path / "root")
