"""The COCO plug-in: what is found in a folder, what is refused, and what a sample holds."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from tcc.datasets import describe
from tcc.datasets.coco import PLUGIN, Params
from tcc.errors import DataError

CATEGORIES = [{"id": 1, "name": "person"}, {"id": 3, "name": "car"}]


def _json(path: Path, names: list[str], size: tuple[int, int] = (10, 12), **change: Any) -> None:
    """An instances file of images of one size, each with one box of a car."""
    path.parent.mkdir(parents=True, exist_ok=True)
    images = [
        {"id": 2 * index, "file_name": name, "height": size[0], "width": size[1]}
        for index, name in enumerate(names)
    ]
    annotations = [
        {"id": i["id"], "image_id": i["id"], "category_id": 3, "bbox": [1, 2, 3.5, 4]}
        for i in images
    ]
    document = {"images": images, "annotations": annotations, "categories": CATEGORIES, **change}
    path.write_text(json.dumps(document))


def _images(folder: Path, names: list[str]) -> None:
    for index, name in enumerate(names):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((10, 12, 3), index, np.uint8)).save(folder / name)


def _split(root: Path, train: str = "train2017", val: str = "val2017", below: str = "") -> Params:
    """A folder of five training and two validation images."""
    for name, count, first in ((train, 5, 0), (val, 2, 5)):
        names = [f"{index:012d}.jpg" for index in range(first, first + count)]
        _json(root / "annotations" / f"instances_{name}.json", names)
        _images(root / below / name, names)
    return Params(root=str(root))


def _keys(params: Params, split: str) -> list[str]:
    samples = PLUGIN.open(params, split)
    return [samples[index].key for index in range(len(samples))]


@pytest.fixture
def tiny(tmp_path: Path) -> Params:
    return Params.model_validate(PLUGIN.tiny(tmp_path / "tiny"))


def test_every_label_of_the_official_layout_is_read(tiny: Params) -> None:
    info = PLUGIN.describe(tiny)
    assert info.labels == ("boxes", "keypoints")
    assert info.classes["boxes"] == ("dark", "light")
    assert info.classes["keypoints"] == ("middle", "left_corner", "right_corner")
    assert dict(info.splits) == {"train": 7, "select": 1, "val": 4}
    assert not info.absent
    sizes, crowds, objects, posed = set(), 0, [], []
    for split in ("train", "select", "val"):
        samples = PLUGIN.open(tiny, split)
        assert len(samples) == info.splits[split]
        for index in range(len(samples)):
            sample = samples[index]
            assert samples.size(index) == sample.image.shape[-2:]
            sizes.add(samples.size(index))
            boxes, keypoints = sample.labels["boxes"], sample.labels["keypoints"]
            crowds += int(boxes["crowd"].sum())
            objects.append(len(boxes["labels"]))
            posed.append(len(keypoints["labels"]))
            for box, points in zip(keypoints["boxes"], keypoints["keypoints"], strict=True):
                assert box.tolist() in boxes["boxes"].tolist()
                labelled = points[points[:, 2] > 0, :2]
                assert len(labelled) >= 2
                assert (labelled >= box[:2]).all()
                assert (labelled <= box[2:]).all()
                x, y = points[0, :2].int().tolist()
                assert sample.image[:, y, x].float().mean() < 100  # the dark one's middle
    assert len(sizes) > 1
    assert crowds
    assert sorted(set(objects)) == [0, 2]
    assert posed == [count // 2 for count in objects]


def test_samples_hold_what_the_file_says(tmp_path: Path) -> None:
    params = _split(tmp_path)
    info = PLUGIN.describe(params)
    assert info.labels == ("boxes",)
    assert info.classes["boxes"] == ("person", "car")
    assert "person_keypoints_train2017.json" in info.absent["keypoints"]
    sample = PLUGIN.open(params, "val")[1]
    assert sample.key == "000000000006.jpg"
    assert sample.image.shape == (3, 10, 12)
    assert sample.labels["boxes"]["boxes"].tolist() == [[1, 2, 4.5, 6]]
    assert sample.labels["boxes"]["labels"].tolist() == [2]
    assert sorted(_keys(params, "train") + _keys(params, "select")) == [
        f"{index:012d}.jpg" for index in range(5)
    ]


@pytest.mark.parametrize("year", ["2017", "2014", ""])
@pytest.mark.parametrize("below", ["", "images"])
def test_official_names_are_found(tmp_path: Path, year: str, below: str) -> None:
    params = _split(tmp_path, f"train{year}", f"val{year}", below)
    assert dict(PLUGIN.describe(params).splits) == {"train": 4, "select": 1, "val": 2}
    assert len(_keys(params, "val")) == 2


def test_annotations_may_lie_in_the_root_and_images_together(tmp_path: Path) -> None:
    _json(tmp_path / "instances_train.json", ["a.jpg", "sub/b.jpg"])
    _json(tmp_path / "instances_val.json", ["sub/c.jpg"])
    _images(tmp_path / "images", ["a.jpg", "sub/b.jpg", "sub/c.jpg"])
    assert _keys(Params(root=str(tmp_path)), "val") == ["sub/c.jpg"]


@pytest.mark.parametrize("prefix", ["val2017/", "images/val2017/"])
def test_file_names_may_repeat_their_folder(tmp_path: Path, prefix: str) -> None:
    _split(tmp_path, below="images")
    _json(tmp_path / "annotations/instances_val2017.json", [f"{prefix}000000000005.jpg"])
    params = Params(root=str(tmp_path))
    assert _keys(params, "val") == [f"{prefix}000000000005.jpg"]
    assert PLUGIN.describe(params).splits["val"] == 1


def test_one_file_for_all_is_trained_on_and_evaluated(tmp_path: Path) -> None:
    names = [f"{index}.jpg" for index in range(4)]
    _json(tmp_path / "annotations/whatever.json", names)
    _images(tmp_path / "images", names)
    params = Params(root=str(tmp_path))
    assert dict(PLUGIN.describe(params).splits) == {"train": 3, "select": 1, "val": 4}
    assert _keys(params, "val") == names
    _json(tmp_path / "annotations/instances.json", names[:2])
    assert _keys(params, "val") == names[:2]  # its name counts for more
    (tmp_path / "images").rename(tmp_path / "photos")
    assert _keys(Params(root=str(tmp_path), val_images="photos"), "val") == names[:2]


def test_what_is_given_is_not_looked_for(tmp_path: Path) -> None:
    _split(tmp_path)
    _json(tmp_path / "mine/half.json", ["000000000001.jpg"])
    own = Params(root=str(tmp_path), val_annotations="mine/half.json", val_images="train2017")
    assert _keys(own, "val") == ["000000000001.jpg"]
    assert PLUGIN.describe(own).splits["train"] == 4


def test_a_given_path_that_is_not_there_is_named(tmp_path: Path) -> None:
    _split(tmp_path)
    for parameter in ("train_annotations", "val_images"):
        with pytest.raises(DataError, match=rf"gone: there is no such .*`{parameter}`"):
            PLUGIN.describe(Params.model_validate({"root": str(tmp_path), parameter: "gone"}))


def test_what_is_missing_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TCC_COCO_ROOT", raising=False)
    with pytest.raises(DataError, match=r"data set coco has no root.*TCC_COCO_ROOT"):
        PLUGIN.describe(Params())
    monkeypatch.setenv("TCC_COCO_ROOT", str(tmp_path))
    with pytest.raises(DataError, match=r"none of instances_train2017.json.*`train_annotations`"):
        PLUGIN.describe(Params())
    _split(tmp_path)
    (tmp_path / "val2017").rename(tmp_path / "other")
    with pytest.raises(DataError, match=r"looked for val2017, val2014, val, images; set `val_im"):
        PLUGIN.describe(Params())
    (tmp_path / "annotations/instances_val2017.json").unlink()
    with pytest.raises(DataError, match=r"none of instances_val2017.json.*set `val_annotations`"):
        PLUGIN.describe(Params())


def test_what_could_be_two_things_is_refused(tmp_path: Path) -> None:
    params = _split(tmp_path)
    _split(tmp_path, "train2014", "val2014")
    with pytest.raises(
        DataError,
        match=r"instances_train2017.json and .*instances_train2014.json .*`train_annotations`",
    ):
        PLUGIN.describe(params)
    chosen = Params(
        root=str(tmp_path),
        train_annotations="annotations/instances_train2014.json",
        val_annotations="annotations/instances_val2014.json",
    )
    # images of the same year are meant
    assert PLUGIN.open(chosen, "val").part.folder.name == "val2014"
    (tmp_path / "images").mkdir()
    (tmp_path / "images/val2014").symlink_to(tmp_path / "val2014")
    assert len(PLUGIN.open(chosen, "val")) == 2
    (tmp_path / "images/val2014").unlink()
    (tmp_path / "images/val2014").mkdir()
    with pytest.raises(DataError, match=r"/val2014 and .*/images/val2014 .* set `val_images`"):
        PLUGIN.describe(chosen)


def test_missing_images_are_counted_and_may_be_left_out(tmp_path: Path) -> None:
    _split(tmp_path)
    for name in ("000000000000.jpg", "000000000003.jpg"):
        (tmp_path / "train2017" / name).unlink()
    with pytest.raises(
        DataError,
        match=r"2 of 5 images of .*train2017.json are missing under .*train2017, the first is "
        r"000000000000.jpg: .*`train_images`.*`skip_missing: true`",
    ):
        PLUGIN.describe(Params(root=str(tmp_path)))
    params = Params(root=str(tmp_path), skip_missing=True)
    assert dict(PLUGIN.describe(params).splits) == {"train": 2, "select": 1, "val": 2}
    assert sorted(_keys(params, "train") + _keys(params, "select")) == [
        f"{index:012d}.jpg" for index in (1, 2, 4)
    ]
    for path in (tmp_path / "train2017").iterdir():
        path.unlink()
    with pytest.raises(DataError, match="5 of 5 images"):
        PLUGIN.describe(params)


def test_malformed_annotations_are_refused(tmp_path: Path) -> None:
    params = _split(tmp_path)
    path = tmp_path / "annotations/instances_val2017.json"
    _json(path, ["000000000005.jpg"], categories=[CATEGORIES[1], {"id": 4, "name": "cow"}])
    with pytest.raises(DataError, match=r"different categories: cow, person"):
        PLUGIN.describe(params)
    _json(path, [])
    with pytest.raises(DataError, match=r"val2017.json: lists no image"):
        PLUGIN.describe(params)
    _json(path, [str(tmp_path / "val2017/000000000005.jpg")])
    with pytest.raises(DataError, match=r"val2017.json: file_name /.* is an absolute path"):
        PLUGIN.describe(params)
    _json(path, ["000000000005.jpg"], size=(10, 13))
    with pytest.raises(DataError, match=r"000000000005.jpg: .* 12 x 10 .* 13 x 10"):
        PLUGIN.open(params, "val")[0]


def _posed(path: Path, names: list[str], keypoints: list[str]) -> None:
    people = {"categories": [{"id": 1, "name": "person", "keypoints": keypoints}]}
    points = [2, 3, 2] * len(keypoints)
    annotation = {"id": 1, "image_id": 0, "category_id": 1, "bbox": [1, 2, 3, 4]}
    _json(path, names, annotations=[{**annotation, "keypoints": points}], **people)


def test_keypoints_are_offered_where_every_image_has_them(tmp_path: Path) -> None:
    params, folder = _split(tmp_path), tmp_path / "annotations"
    train = [f"{index:012d}.jpg" for index in range(5)]
    _posed(folder / "person_keypoints_train2017.json", train[::-1], ["nose"])
    info = PLUGIN.describe(params)
    assert info.labels == ("boxes",)
    assert "person_keypoints_val2017.json" in info.absent["keypoints"]

    _posed(folder / "person_keypoints_val2017.json", ["000000000006.jpg"], ["nose"])
    assert "lacks 1 of the images" in PLUGIN.describe(params).absent["keypoints"]

    val = ["000000000006.jpg", "000000000005.jpg"]
    _posed(folder / "person_keypoints_val2017.json", val, ["nose", "tail"])
    with pytest.raises(DataError, match=r"different keypoints: tail"):
        PLUGIN.describe(params)

    _posed(folder / "person_keypoints_val2017.json", val, ["nose"])
    info = PLUGIN.describe(params)
    assert info.labels == ("boxes", "keypoints")
    # matched by name: the files number their images differently
    samples = PLUGIN.open(params, "val")
    labels = {samples[index].key: samples[index].labels["keypoints"] for index in range(2)}
    assert labels["000000000006.jpg"]["keypoints"].tolist() == [[[2, 3, 2]]]
    assert labels["000000000005.jpg"]["keypoints"].shape == (0, 1, 3)
    assert labels["000000000006.jpg"]["labels"].tolist() == [1]


def test_a_keypoints_file_can_be_all_there_is(tmp_path: Path) -> None:
    names = ["0.jpg", "1.jpg"]
    _posed(tmp_path / "annotations/person_keypoints.json", names, ["left_ear", "right_ear"])
    _images(tmp_path / "images", names)
    params = Params(root=str(tmp_path))
    assert PLUGIN.describe(params).labels == ("boxes", "keypoints")
    label = PLUGIN.open(params, "val")[0].labels["keypoints"]
    assert label["mirror"].tolist() == [1, 0]
    assert torch.equal(label["boxes"], PLUGIN.open(params, "val")[0].labels["boxes"]["boxes"])


def test_the_fingerprint_sees_files_and_not_places(tmp_path: Path) -> None:
    prints = [PLUGIN.describe(_split(tmp_path / name)).fingerprints for name in ("a", "b c")]
    assert prints[0] == prints[1]
    root = tmp_path / "a"
    _posed(root / "annotations/person_keypoints_val2017.json", ["x"], ["nose"])
    assert PLUGIN.describe(Params(root=str(root))).fingerprints == prints[0]  # not read
    (root / "val2017/000000000005.jpg").write_bytes(b"0")
    changed = PLUGIN.describe(Params(root=str(root))).fingerprints
    assert {split for split in changed if changed[split] != prints[0][split]} == {"val"}
    path = root / "annotations/instances_train2017.json"
    path.write_text(path.read_text().replace("3.5", "3.25"))
    changed = PLUGIN.describe(Params(root=str(root))).fingerprints
    assert all(changed[split] != prints[0][split] for split in changed)
    assert len(set(changed.values())) == 3


def test_reading_needs_neither_torch_nor_pycocotools(tiny: Params) -> None:
    code = f"""
import sys
from tcc.datasets import describe
from tcc.datasets.coco import PLUGIN, Params
assert describe(PLUGIN, Params(root={tiny.root!r})).splits["val"] == 4
heavy = {{"torch", "torchvision", "pycocotools"}} & set(sys.modules)
assert not heavy, heavy
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.skipif("TCC_SHARED" not in os.environ, reason="needs TCC_SHARED")
def test_real_photographs_of_coco() -> None:
    params = Params(root=str(Path(os.environ["TCC_SHARED"]) / "data/coco"))
    assert dict(PLUGIN.describe(params).splits) == {"train": 5, "select": 1, "val": 6}
    samples = [PLUGIN.open(params, "val")[index] for index in range(6)]
    assert sum(len(sample.labels["boxes"]["labels"]) for sample in samples) == 36
    assert sum(int(sample.labels["boxes"]["crowd"].sum()) for sample in samples) == 1


@pytest.mark.skipif("TCC_SHARED" not in os.environ, reason="needs TCC_SHARED")
@pytest.mark.parametrize(
    "name", ["coco_format_v1_instances_default.json", "coco_format_v2_instances_v2.json"]
)
def test_real_photographs_of_which_most_are_missing(name: str) -> None:
    given = {
        "root": str(Path(os.environ["TCC_SHARED"]) / "data/voc"),
        "train_annotations": name,
        "val_annotations": name,
        "train_images": "JPEGImages",
    }
    with pytest.raises(DataError, match=r"85 of 100 images of .* are missing under .*JPEGImages"):
        PLUGIN.describe(Params.model_validate(given))
    params = Params.model_validate({**given, "skip_missing": True})
    assert dict(PLUGIN.describe(params).splits) == {"train": 14, "select": 1, "val": 15}
    assert len(_keys(params, "val")) == 15


def test_a_split_without_boxes_is_refused(tmp_path: Path) -> None:
    params = _split(tmp_path)
    file = tmp_path / "annotations" / "instances_val2017.json"
    _json(file, [f"{index:012d}.jpg" for index in (5, 6)], annotations=[])
    with pytest.raises(DataError, match=rf"^{file}: has images, but no annotation with a box"):
        PLUGIN.describe(params)


def test_normalised_boxes_are_refused(tmp_path: Path) -> None:
    params = _split(tmp_path)
    file = tmp_path / "annotations" / "instances_val2017.json"
    box = {"id": 7, "image_id": 2, "category_id": 3, "bbox": [0.1, 0.2, 0.5, 0.5]}
    names = [f"{index:012d}.jpg" for index in (5, 6)]
    _json(file, names, annotations=[box])
    with pytest.raises(DataError, match=rf"^{file}: every bbox lies within 0 to 1.*normalised"):
        PLUGIN.describe(params)
    _json(file, names, annotations=[box, {**box, "bbox": [1, 1, 2, 2]}])
    assert PLUGIN.describe(params).splits["val"] == 2


def test_a_folder_that_cannot_be_listed_is_not_called_missing_images(tmp_path: Path) -> None:
    params = _split(tmp_path)
    _json(tmp_path / "annotations" / "instances_val2017.json", [f"{'x' * 300}/a.jpg"])
    with pytest.raises(DataError, match=r"x/?: cannot be read \(File name too long\)"):
        describe(PLUGIN, params)
