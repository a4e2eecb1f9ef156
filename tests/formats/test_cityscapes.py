"""Cityscapes label ids, disparity and names."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tcc.errors import DataError
from tcc.formats import cityscapes, image


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


def test_frames_are_listed_by_their_official_names(tmp_path: Path) -> None:
    keys = ["ulm_000001_000019", "aachen_000000_000019", "aachen_000001_000019"]
    for key in keys:
        path = cityscapes.frame(tmp_path, "train", key).image
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    frames = cityscapes.list_frames(tmp_path, "train")
    assert [frame.key for frame in frames] == sorted(keys)
    assert frames[0].label_ids == (
        tmp_path / "gtFine/train/aachen/aachen_000000_000019_gtFine_labelIds.png"
    )
    assert frames[0].disparity == (
        tmp_path / "disparity/train/aachen/aachen_000000_000019_disparity.png"
    )
    with pytest.raises(DataError, match=r"leftImg8bit/val: there is no such folder"):
        cityscapes.list_frames(tmp_path, "val")
    (tmp_path / "leftImg8bit/val").mkdir()
    with pytest.raises(DataError, match=r"val: no CITY"):
        cityscapes.list_frames(tmp_path, "val")
