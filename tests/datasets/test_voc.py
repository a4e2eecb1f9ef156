"""The Pascal VOC plug-in: splits, fingerprints and what is refused."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import ExifTags, Image

from tcc.datasets.voc import PLUGIN, Params, VocSplit
from tcc.errors import DataError
from tcc.formats import image, voc
from tcc.records import DatasetInfo

XML = (
    "<annotation>{size}<object><name>dog</name><bndbox><xmin>2</xmin><ymin>3</ymin>"
    "<xmax>{right}</xmax><ymax>9</ymax></bndbox></object></annotation>"
)
SIZE = "<size><width>{}</width><height>{}</height></size>"
MASK = np.array([[0, 12], [255, 20]], np.uint8).repeat(5, 0).repeat(6, 1)  # 10 x 12


def _xml(right: int = 8, size: str = "") -> str:
    return XML.format(right=right, size=size)


def _layout(root: Path, count: int) -> Path:
    for folder in ("JPEGImages", "Annotations", "ImageSets/Main", "ImageSets/Segmentation"):
        (root / folder).mkdir(parents=True)
    for index in range(count):
        pixels = np.full((10, 12, 3), index, np.uint8)
        image.write_png(root / "JPEGImages" / f"{index:03d}.png", pixels)
        (root / "Annotations" / f"{index:03d}.xml").write_text(_xml())
    return root


def _describe(root: Path, **params: object) -> DatasetInfo:
    return PLUGIN.describe(Params.model_validate({"root": str(root), **params}))


def _open(root: Path, split: str = "val", **params: object) -> VocSplit:
    return PLUGIN.open(Params.model_validate({"root": str(root), **params}), split)


def _masks(root: Path, *keys: str) -> None:
    (root / "SegmentationClass").mkdir(exist_ok=True)
    for key in keys:
        image.write_png(root / "SegmentationClass" / f"{key}.png", MASK)


def _lists(root: Path, folder: str = "Main", **lists: str) -> None:
    for name, keys in lists.items():
        (root / "ImageSets" / folder / f"{name}.txt").write_text("\n".join(keys.split()))


def test_without_lists_every_image_is_trained_on_and_evaluated(tmp_path: Path) -> None:
    root = _layout(tmp_path / "set", 5)
    assert dict(_describe(root).splits) == {"train": 4, "select": 1, "val": 5}
    keys = {split: set(_open(root, split).keys) for split in ("train", "select", "val")}
    assert keys["train"] | keys["select"] == keys["val"]
    assert not keys["train"] & keys["select"]
    sample = _open(root)[3]
    assert sample.key == "003"
    assert sample.image.unique().tolist() == [3]
    assert sample.labels["boxes"]["boxes"].tolist() == [[1, 2, 8, 9]]
    assert sample.labels["boxes"]["labels"].tolist() == [12]


def test_the_fingerprint_sees_annotations_images_and_lists(tmp_path: Path) -> None:
    def told() -> str:
        return _describe(root).fingerprint("train", "select", "val")

    root = _layout(tmp_path / "set", 4)
    prints = [told()]
    os.utime(root / "Annotations" / "000.xml", (0, 0))
    root = root.rename(tmp_path / "moved")
    assert told() == prints[0]  # neither time nor place
    (root / "Annotations" / "000.xml").write_text(_xml(right=7))
    prints.append(told())
    image.write_png(root / "JPEGImages" / "001.png", np.zeros((11, 12, 3), np.uint8))
    prints.append(told())
    _lists(root, train="000 001 002", val="003")
    prints.append(told())
    _lists(root, train="000 001", val="002 003")
    prints.append(told())
    assert len(set(prints)) == 5


def test_a_missing_root_says_how_to_set_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TCC_VOC_ROOT", raising=False)
    with pytest.raises(DataError, match=r"data set voc has no root: set `root`.*TCC_VOC_ROOT"):
        PLUGIN.describe(Params())
    with pytest.raises(DataError, match=r"JPEGImages: there is no such folder"):
        _describe(tmp_path)
    monkeypatch.setenv("TCC_VOC_ROOT", str(_layout(tmp_path / "set", 2)))
    assert PLUGIN.describe(Params()).splits["val"] == 2


def test_a_box_outside_its_image_names_the_annotation(tmp_path: Path) -> None:
    root = _layout(tmp_path / "set", 2)
    path = root / "Annotations" / "001.xml"
    outside = _xml(right=900, size="{}").replace("<xmin>2<", "<xmin>800<")
    said = r"001\.xml: the box 800 3 900 9 lies outside .* 12 x 10 pixels"
    for told in ("", SIZE.format(0, 0)):  # only the image itself tells
        path.write_text(outside.format(told))
        split = _open(root)
        with pytest.raises(DataError, match=said):
            split[1]
    path.write_text(outside.format(SIZE.format(12, 10)))
    with pytest.raises(DataError, match=said):
        _open(root)


def test_boxes_are_kept_as_labelled(tmp_path: Path) -> None:
    root = _layout(tmp_path / "set", 1)
    (root / "Annotations" / "000.xml").write_text(_xml(right=13).replace("<ymin>3<", "<ymin>3.3<"))
    boxes = _open(root)[0].labels["boxes"]
    assert boxes["boxes"].dtype == torch.float64
    assert boxes["boxes"].tolist() == [[1, 3.3 - 1, 13, 9]]  # 1 pixel beyond, and not float32


def test_masks_are_offered_where_every_image_has_one(tmp_path: Path) -> None:
    root = _layout(tmp_path / "set", 4)
    _lists(root, train="000 001 002", val="003")
    _lists(root, "Segmentation", train="000 001", val="003")
    info = _describe(root)
    assert info.labels == ("boxes",)
    assert set(info.classes) == {"boxes"}
    assert info.absent["label_ids"].startswith(f"{root}/SegmentationClass/000.png: there is no")
    assert "(4 of 4 images lack theirs)" in info.absent["label_ids"]
    before = info.fingerprint("train")

    _masks(root, "000", "001", "003")
    info = _describe(root)
    assert info.labels == ("boxes",)
    assert info.absent["label_ids"] == (
        f"{root}/SegmentationClass/002.png: there is no such file (1 of 4 images lack theirs); "
        "add it, or read only images that have masks: set `image_set: Segmentation`, or "
        "`train_list` and `val_list`, of data set voc"
    )
    assert info.fingerprint("train") == before  # masks that are not read do not matter

    info = _describe(root, image_set="Segmentation")
    assert info.labels == ("boxes", "label_ids")
    assert dict(info.splits) == {"train": 1, "select": 1, "val": 1}
    assert info.classes["label_ids"] == ("background", *voc.CLASSES)
    assert dict(info.absent) == {}
    sample = _open(root, image_set="Segmentation")[0]
    assert tuple(sample.labels) == info.labels
    assert sample.labels["label_ids"].tolist() == MASK.tolist()

    _masks(root, "002")
    info = _describe(root)
    assert info.labels == ("boxes", "label_ids")
    assert info.fingerprint("train") != before


def test_masks_without_annotations(tmp_path: Path) -> None:
    root = _layout(tmp_path / "set", 3)
    shutil.rmtree(root / "Annotations")
    _masks(root, "000", "001", "002")
    info = _describe(root)
    assert info.labels == ("label_ids",)
    assert "Annotations/000.xml: there is no such file (3 of 3" in info.absent["boxes"]
    assert "`train_list` and `val_list`" in info.absent["boxes"]
    split = _open(root, "train")
    assert tuple(split[0].labels) == ("label_ids",)
    assert split.size(0) == (10, 12)


def test_labels_that_are_demanded_must_be_there(tmp_path: Path) -> None:
    root = _layout(tmp_path / "set", 3)
    _masks(root, "000", "002")
    both = ("label_ids", "boxes")
    for act in (_describe, _open):
        with pytest.raises(
            DataError, match=r"Class/001\.png: there is no such file \(1 of 3 .*set `image_set: Seg"
        ):
            act(root, labels=both)
    _masks(root, "001")
    assert _describe(root, labels=both).labels == ("boxes", "label_ids")


def test_a_malformed_annotation_shows_when_it_is_opened_if_it_is_read(tmp_path: Path) -> None:
    root = _layout(tmp_path / "set", 3)
    _masks(root, "000", "001", "002")
    (root / "Annotations" / "001.xml").write_text("torn")
    info = _describe(root, labels=["label_ids"])
    assert info.labels == ("label_ids",)
    assert "`labels` of data set voc leaves boxes out" in info.absent["boxes"]
    assert tuple(_open(root, labels=["label_ids"])[1].labels) == ("label_ids",)
    with pytest.raises(DataError, match=r"001\.xml: cannot be read as XML"):
        _open(root)  # before training, not in it


def test_labels_of_another_size_name_both_files(tmp_path: Path) -> None:
    root = _layout(tmp_path / "set", 1)
    annotation = root / "Annotations" / "000.xml"
    annotation.write_text(_xml(size=SIZE.format(12, 10)))
    _masks(root)
    image.write_png(root / "SegmentationClass" / "000.png", MASK.T)
    both, masks = _open(root), _open(root, labels=["label_ids"])
    with pytest.raises(
        DataError, match=r"Class/000\.png has 10 x 12 pixels, but .*Images/000\.png has 12 x 10"
    ):
        both[0]
    with pytest.raises(
        DataError, match=r"Images/000\.png: .*10 x 12.*labelled by \S+/SegmentationClass/000\.png"
    ):
        masks[0]
    annotation.write_text(_xml(size=SIZE.format(13, 10)))
    boxes = _open(root, labels=["boxes"])
    with pytest.raises(
        DataError, match=r"Images/000\.png: .*13 x 10.*labelled by \S+/Annotations/000\.xml"
    ):
        boxes[0]


STORED, UPRIGHT = (10, 12), (12, 10)


@pytest.mark.parametrize(
    ("kind", "size", "shape"),
    [
        ("boxes", "", UPRIGHT),
        ("boxes", SIZE.format(0, 0), UPRIGHT),
        ("boxes", SIZE.format(10, 12), UPRIGHT),
        ("boxes", SIZE.format(12, 10), STORED),
        ("label_ids", "", STORED),
    ],
)
def test_a_turned_photograph_is_read_as_its_labels_see_it(
    tmp_path: Path, kind: str, size: str, shape: tuple[int, int]
) -> None:
    root = _layout(tmp_path / "set", 1)
    (root / "JPEGImages" / "000.png").unlink()
    pixels = np.zeros((*STORED, 3), np.uint8)
    pixels[:, :6] = 255  # the left half, upright the upper half
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    Image.fromarray(pixels).save(root / "JPEGImages" / "000.jpg", exif=exif)
    (root / "Annotations" / "000.xml").write_text(_xml(size=size))
    _masks(root, "000")
    split = _open(root, labels=[kind])
    seen = split[0].image
    assert split.size(0) == tuple(seen.shape[1:]) == shape
    assert (seen[:, :, :5] if shape == STORED else seen[:, :5]).min() > 240
    assert seen.float().mean().item() == pytest.approx(127.5, abs=8)


def test_the_devkit_above_one_year_is_a_root(tmp_path: Path) -> None:
    root = _layout(tmp_path / "VOCdevkit" / "VOC2007", 3)
    _lists(root, train="000 001", val="002")
    info = _describe(root)
    assert _describe(tmp_path) == info
    given = Params(root=str(tmp_path), val_list="../own.txt")
    (root.parent / "own.txt").write_text("000 1\n")
    assert list(PLUGIN.sources(given)) == [tmp_path, root / "../own.txt"]
    assert PLUGIN.open(given, "val").keys == ("000",)


def test_tiny_has_every_label_in_every_split(tmp_path: Path) -> None:
    params = Params.model_validate(PLUGIN.tiny(tmp_path))
    info = PLUGIN.describe(params)
    assert info.labels == ("boxes", "label_ids")
    assert dict(info.splits) == {"train": 7, "select": 1, "val": 4}
    sizes = set()
    for name, count in info.splits.items():
        split = PLUGIN.open(params, name)
        assert len(split) == count
        for index in range(count):
            sample = split[index]
            sizes.add(split.size(index))
            assert split.size(index) == tuple(sample.image.shape[1:])
            label_ids, boxes = sample.labels["label_ids"], sample.labels["boxes"]
            assert label_ids.unique().tolist() == [0, 1, 2, 255]
            for label, (x1, y1, x2, y2) in zip(boxes["labels"], boxes["boxes"].int(), strict=True):
                assert set(label_ids[y1:y2, x1:x2].unique().tolist()) <= {int(label), 255}
    assert len(sizes) == 3


@pytest.mark.skipif("TCC_SHARED" not in os.environ, reason="needs TCC_SHARED")
def test_real_photographs() -> None:
    params = Params(root=str(Path(os.environ["TCC_SHARED"]) / "data/voc"))
    info = PLUGIN.describe(params)
    assert dict(info.splits) == {"train": 14, "select": 1, "val": 15}
    assert info.labels == ("boxes",)
    assert "(15 of 15 images lack theirs)" in info.absent["label_ids"]
    split = PLUGIN.open(params, "val")
    samples = [split[index] for index in range(len(split))]
    assert samples[0].key == "2007_000027"
    assert samples[0].labels["boxes"]["boxes"].tolist() == [[173, 100, 349, 351]]
    assert sum(len(sample.labels["boxes"]["labels"]) for sample in samples) == 36
    sizes = [tuple(sample.image.shape[1:]) for sample in samples]
    assert [split.size(index) for index in range(len(split))] == sizes


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("torn", r"002\.xml: cannot be read as XML"),
        (_xml().replace("dog", "zebra"), r"002\.xml: unknown class 'zebra'.*VOC's 20 classes"),
        (_xml(right=900).replace("<xmin>2<", "<xmin>800<"), r"002\.xml: the box 800 3 900 9 lies"),
    ],
)
def test_a_malformed_annotation_shows_in_the_description(
    tmp_path: Path, text: str, said: str
) -> None:
    root = _layout(tmp_path / "set", 3)
    (root / "Annotations" / "002.xml").write_text(text)
    with pytest.raises(DataError, match=said):
        _describe(root)


def test_other_masks_of_equal_size_are_seen(tmp_path: Path) -> None:
    root = _layout(tmp_path / "set", 3)
    _masks(root, "000", "001", "002")
    path = root / "SegmentationClass" / "000.png"
    before, size = _describe(root), path.stat().st_size
    image.write_png(path, np.where(MASK == 12, 11, MASK).astype(np.uint8))
    assert path.stat().st_size == size
    assert _describe(root).fingerprint("val") != before.fingerprint("val")


def test_annotations_that_nobody_asks_for_are_not_parsed(tmp_path: Path) -> None:
    root = _layout(tmp_path / "set", 3)
    _masks(root, "000", "001", "002")
    params = Params(root=str(root))
    both = PLUGIN.open(params, "val")[0]
    (root / "Annotations" / "000.xml").write_text("torn")
    sample = PLUGIN.open(params, "val", {"label_ids"})[0]
    assert tuple(sample.labels) == ("label_ids",)
    assert torch.equal(sample.image, both.image)
    assert torch.equal(sample.labels["label_ids"], both.labels["label_ids"])
    with pytest.raises(DataError, match=r"data set voc has no keypoints here: it has boxes, label"):
        PLUGIN.open(params, "val", {"keypoints"})
