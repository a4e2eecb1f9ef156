"""Pascal VOC annotations and lists, with VOC's own pixel counting."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from tcc.errors import DataError
from tcc.formats import image, voc

OBJECT = """<object><name>{name}</name><difficult>{difficult}</difficult>
<bndbox><xmin>{xmin}</xmin><ymin>{ymin}</ymin><xmax>{xmax}</xmax><ymax>{ymax}</ymax></bndbox>
{more}</object>"""
FIELDS = {"name": "cat", "difficult": 0, "xmin": 1, "ymin": 1, "xmax": 1, "ymax": 1, "more": ""}


def _annotation(path: Path, *objects: dict[str, object]) -> Path:
    body = "".join(OBJECT.format(**{**FIELDS, **item}) for item in objects)
    path.write_text(f"<annotation>{body}</annotation>")
    return path


def _layout(root: Path, keys: str, lists: dict[str, str] | None = None) -> Path:
    for folder in ("JPEGImages", "Annotations"):
        (root / folder).mkdir(parents=True)
    for key in keys:
        image.write_png(root / "JPEGImages" / f"{key}.png", np.zeros((4, 4, 3), np.uint8))
        _annotation(root / "Annotations" / f"{key}.xml", {})
    for name, text in (lists or {}).items():
        path = root / "ImageSets" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


def test_pixels_counted_from_one_become_continuous(tmp_path: Path) -> None:
    part = "<part><name>head</name><bndbox><xmin>1</xmin></bndbox></part>"
    boxes = voc.read_annotation(
        _annotation(
            tmp_path / "a.xml",
            {},
            {"name": "person", "xmin": 3, "ymin": "4.5", "xmax": 10, "ymax": 20, "difficult": 1},
            {"more": part},
        )
    )
    np.testing.assert_array_equal(boxes.xyxy, [[0, 0, 1, 1], [2, 3.5, 10, 20], [0, 0, 1, 1]])
    assert boxes.labels.tolist() == [8, 15, 8]
    assert boxes.crowd.tolist() == [False, True, False]
    np.testing.assert_array_equal(boxes.area, [1, 132, 1])


def test_no_object_is_no_box(tmp_path: Path) -> None:
    assert len(voc.read_annotation(_annotation(tmp_path / "a.xml"))) == 0


@pytest.mark.parametrize(
    ("item", "complaint"),
    [
        ({"name": "zebra"}, "unknown class 'zebra': there is aeroplane"),
        ({"xmin": "wide"}, "bndbox/xmin is 'wide', a number is needed"),
        ({"ymin": 9}, "the box of a cat, 1.0 9.0 1.0 1.0, is empty"),
        ({"ymin": "nan"}, "bndbox/ymin is 'nan', a number is needed"),
    ],
)
def test_a_malformed_object_names_file_and_fault(
    tmp_path: Path, item: dict[str, object], complaint: str
) -> None:
    with pytest.raises(DataError) as caught:
        voc.read_annotation(_annotation(tmp_path / "odd.xml", item))
    assert "odd.xml: " + complaint in str(caught.value)


def test_torn_and_missing_annotations_name_themselves(tmp_path: Path) -> None:
    (tmp_path / "torn.xml").write_text("<annotation><object>")
    with pytest.raises(DataError, match=r"torn\.xml: cannot be read as XML"):
        voc.read_annotation(tmp_path / "torn.xml")
    with pytest.raises(DataError, match=r"none\.xml: there is no such file"):
        voc.read_annotation(tmp_path / "none.xml")


def test_lists_are_found_in_order(tmp_path: Path) -> None:
    lists = {
        "Main/train.txt": "b\na  -1\n\n",
        "Segmentation/train.txt": "c\n",
        "Segmentation/val.txt": "c\n",
        "own.txt": "a\n",
    }
    root = _layout(tmp_path / "set", "abc", lists)
    found = {
        "main": voc.list_split(root, "train"),
        "segmentation": voc.list_split(root, "val"),
        "own": voc.list_split(root, "val", "ImageSets/own.txt"),
        "all": voc.list_all(root),
    }
    assert {name: [file.key for file in files or ()] for name, files in found.items()} == {
        "main": ["b", "a"],
        "segmentation": ["c"],
        "own": ["a"],
        "all": ["a", "b", "c"],
    }
    assert voc.list_split(_layout(tmp_path / "bare", "a"), "train") is None


def test_what_a_list_names_must_be_there(tmp_path: Path) -> None:
    root = _layout(tmp_path / "set", "ab", {"Main/train.txt": "a\nz\n", "Main/val.txt": "\n"})
    with pytest.raises(DataError, match=r"z\.jpg: there is no such file \(.*train\.txt\)"):
        voc.list_split(root, "train")
    with pytest.raises(DataError, match=r"val\.txt: the image list is empty"):
        voc.list_split(root, "val")
    with pytest.raises(DataError, match=r"own\.txt: the image list cannot be read"):
        voc.list_split(root, "val", "own.txt")
    (root / "Annotations" / "b.xml").unlink()
    with pytest.raises(DataError, match=r"b\.xml: there is no such file"):
        voc.list_all(root)


@pytest.mark.skipif("TCC_SHARED" not in os.environ, reason="needs TCC_SHARED")
def test_real_annotation() -> None:
    root = Path(os.environ["TCC_SHARED"]) / "data/voc"
    boxes = voc.read_annotation(root / "Annotations" / "2007_000027.xml")
    np.testing.assert_array_equal(boxes.xyxy, [[173, 100, 349, 351]])
    assert boxes.labels.tolist() == [15]
