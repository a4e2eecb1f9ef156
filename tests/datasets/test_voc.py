"""The Pascal VOC plug-in: splits, fingerprints and what is refused."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from tcc.datasets.voc import PLUGIN, Params
from tcc.errors import DataError
from tcc.formats import image

XML = (
    "<annotation><object><name>dog</name><bndbox><xmin>2</xmin><ymin>3</ymin>"
    "<xmax>{right}</xmax><ymax>9</ymax></bndbox></object></annotation>"
)


def _layout(root: Path, count: int, right: int = 8) -> Path:
    for folder in ("JPEGImages", "Annotations", "ImageSets/Main"):
        (root / folder).mkdir(parents=True)
    for index in range(count):
        pixels = np.full((10, 12, 3), index, np.uint8)
        image.write_png(root / "JPEGImages" / f"{index:03d}.png", pixels)
        (root / "Annotations" / f"{index:03d}.xml").write_text(XML.format(right=right))
    return root


def _lists(root: Path, **lists: str) -> None:
    for name, keys in lists.items():
        (root / "ImageSets" / "Main" / f"{name}.txt").write_text("\n".join(keys.split()))


def test_without_lists_every_image_is_trained_on_and_evaluated(tmp_path: Path) -> None:
    params = Params(root=str(_layout(tmp_path / "set", 5)))
    assert dict(PLUGIN.describe(params).splits) == {"train": 4, "select": 1, "val": 5}
    keys = {
        split: {PLUGIN.open(params, split)[i].key for i in range(len(PLUGIN.open(params, split)))}
        for split in ("train", "select", "val")
    }
    assert keys["train"] | keys["select"] == keys["val"]
    assert not keys["train"] & keys["select"]
    sample = PLUGIN.open(params, "val")[3]
    assert sample.key == "003"
    assert sample.image.shape == (3, 10, 12)
    assert sample.labels["boxes"]["boxes"].tolist() == [[1, 2, 8, 9]]
    assert sample.labels["boxes"]["labels"].tolist() == [12]


def test_lists_decide_where_there_are_any(tmp_path: Path) -> None:
    root = _layout(tmp_path / "set", 6)
    _lists(root, train="000 001 002", val="004", half="005 004")
    info = PLUGIN.describe(Params(root=str(root), select=2))
    assert dict(info.splits) == {"train": 1, "select": 2, "val": 1}
    own = Params(root=str(root), val_list="ImageSets/Main/half.txt")
    assert [PLUGIN.open(own, "val")[i].key for i in range(2)] == ["005", "004"]


def test_the_fingerprint_sees_annotations_images_and_lists(tmp_path: Path) -> None:
    root = _layout(tmp_path / "set", 4)
    params = Params(root=str(root))
    prints = [PLUGIN.describe(params).fingerprint("train", "select", "val")]
    os.utime(root / "Annotations" / "000.xml", (0, 0))
    moved = root.rename(tmp_path / "moved")
    params = Params(root=str(moved))
    assert (
        PLUGIN.describe(params).fingerprint("train", "select", "val") == prints[0]
    )  # neither time nor place

    (moved / "Annotations" / "000.xml").write_text(XML.format(right=7))
    prints.append(PLUGIN.describe(params).fingerprint("train", "select", "val"))
    image.write_png(moved / "JPEGImages" / "001.png", np.zeros((11, 12, 3), np.uint8))
    prints.append(PLUGIN.describe(params).fingerprint("train", "select", "val"))
    _lists(moved, train="000 001 002", val="003")
    prints.append(PLUGIN.describe(params).fingerprint("train", "select", "val"))
    _lists(moved, train="000 001", val="002 003")
    prints.append(PLUGIN.describe(params).fingerprint("train", "select", "val"))
    assert len(set(prints)) == 5


def test_a_missing_root_says_how_to_set_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TCC_VOC_ROOT", raising=False)
    with pytest.raises(DataError, match=r"data set voc has no root: set `root`.*TCC_VOC_ROOT"):
        PLUGIN.describe(Params())
    with pytest.raises(DataError, match=r"/gone: there is no such folder; set `root`"):
        PLUGIN.describe(Params(root=str(tmp_path / "gone")))
    with pytest.raises(DataError, match=r"JPEGImages: there is no such folder"):
        PLUGIN.describe(Params(root=str(tmp_path)))
    monkeypatch.setenv("TCC_VOC_ROOT", str(_layout(tmp_path / "set", 2)))
    assert PLUGIN.describe(Params()).splits["val"] == 2


def test_one_list_alone_is_refused(tmp_path: Path) -> None:
    root = _layout(tmp_path / "set", 3)
    _lists(root, train="000 001")
    with pytest.raises(DataError, match=r"Main/val\.txt: .*set `val_list`"):
        PLUGIN.describe(Params(root=str(root)))


def test_a_select_that_leaves_nothing_is_refused(tmp_path: Path) -> None:
    params = Params(root=str(_layout(tmp_path / "set", 3)), select=3)
    with pytest.raises(DataError, match="select: 3 of 3 training images"):
        PLUGIN.describe(params)


def test_a_box_outside_its_image_names_both_files(tmp_path: Path) -> None:
    root = _layout(tmp_path / "set", 2)
    path = root / "Annotations" / "001.xml"
    path.write_text(XML.format(right=900).replace("<xmin>2<", "<xmin>800<"))
    with pytest.raises(DataError, match=r"001\.xml: a box lies outside of 001\.png.*12 x 10"):
        PLUGIN.open(Params(root=str(root)), "val")[1]


def test_a_malformed_annotation_shows_when_the_split_is_opened(tmp_path: Path) -> None:
    root = _layout(tmp_path / "set", 2)
    (root / "Annotations" / "001.xml").write_text("<annotation>")
    with pytest.raises(DataError, match=r"001\.xml: cannot be read as XML"):
        PLUGIN.open(Params(root=str(root)), "val")


@pytest.mark.skipif("TCC_SHARED" not in os.environ, reason="needs TCC_SHARED")
def test_real_photographs() -> None:
    params = Params(root=str(Path(os.environ["TCC_SHARED"]) / "data/voc"))
    info = PLUGIN.describe(params)
    assert dict(info.splits) == {"train": 14, "select": 1, "val": 15}
    assert len(info.classes["boxes"]) == 20
    split = PLUGIN.open(params, "val")
    samples = [split[index] for index in range(len(split))]
    assert samples[0].key == "2007_000027"
    assert samples[0].image.shape == (3, 500, 486)
    assert samples[0].labels["boxes"]["boxes"].tolist() == [[173, 100, 349, 351]]
    assert sum(len(sample.labels["boxes"]["labels"]) for sample in samples) == 36
