"""Pascal VOC annotations, masks, lists and folders, with VOC's own pixel counting."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tcc.errors import DataError
from tcc.formats import image, voc, voc_layout
from tcc.formats.boxes import Boxes

OBJECT = """<object><name>{name}</name><difficult>{difficult}</difficult>
<bndbox><xmin>{xmin}</xmin><ymin>{ymin}</ymin><xmax>{xmax}</xmax><ymax>{ymax}</ymax></bndbox>
{more}</object>"""
FIELDS = {"name": "cat", "difficult": 0, "xmin": 1, "ymin": 1, "xmax": 1, "ymax": 1, "more": ""}
NO_LISTS: dict[str, str | None] = {"train": None, "val": None}


def _annotation(path: Path, *objects: dict[str, object], size: str = "") -> Path:
    body = "".join(OBJECT.format(**{**FIELDS, **item}) for item in objects)
    path.write_text(f"<annotation>{size}{body}</annotation>")
    return path


def _size(width: object, height: object) -> str:
    return f"<size><width>{width}</width><height>{height}</height><depth>3</depth></size>"


def _layout(root: Path, keys: str, **lists: str) -> voc_layout.Layout:
    (root / "JPEGImages").mkdir(parents=True)
    for key in keys:
        image.write_png(root / "JPEGImages" / f"{key}.png", np.zeros((4, 4, 3), np.uint8))
    for name, text in lists.items():
        path = root / "ImageSets" / f"{name.replace('_', '/', 1)}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return voc_layout.read_layout(root)


def test_pixels_counted_from_one_become_continuous(tmp_path: Path) -> None:
    part = "<part><name>head</name><bndbox><xmin>1</xmin></bndbox></part>"
    person = {"name": "person", "xmin": 3, "ymin": "4.5", "xmax": 10, "ymax": 20, "difficult": 1}
    read = voc.read_annotation(_annotation(tmp_path / "a.xml", {}, person, {"more": part}))
    assert read.size is None
    assert read.boxes.xyxy.dtype == np.float64
    np.testing.assert_array_equal(read.boxes.xyxy, [[0, 0, 1, 1], [2, 3.5, 10, 20], [0, 0, 1, 1]])
    assert read.boxes.labels.tolist() == [8, 15, 8]
    assert read.boxes.crowd.tolist() == [False, True, False]
    np.testing.assert_array_equal(read.boxes.area, [1, 132, 1])


def test_no_object_is_no_box(tmp_path: Path) -> None:
    assert len(voc.read_annotation(_annotation(tmp_path / "a.xml")).boxes) == 0


@pytest.mark.parametrize(
    ("told", "size"), [(_size(20, 10), (10, 20)), (_size(0, 0), None), ("", None)]
)
def test_the_size_is_told_or_unknown(
    tmp_path: Path, told: str, size: tuple[int, int] | None
) -> None:
    assert voc.read_annotation(_annotation(tmp_path / "a.xml", size=told)).size == size


def test_what_is_written_is_read_again(tmp_path: Path) -> None:
    boxes = Boxes.of([(0, 0, 1, 1), (2.5, 3, 10, 9.25)], [8, 20], [False, True], [1, 46.875])
    voc.write_annotation(tmp_path / "a.xml", boxes, (11, 12))
    read = voc.read_annotation(tmp_path / "a.xml")
    assert read.size == (11, 12)
    for field in ("xyxy", "labels", "crowd", "area"):
        np.testing.assert_array_equal(getattr(read.boxes, field), getattr(boxes, field))


@pytest.mark.parametrize(
    ("item", "complaint"),
    [
        ({"name": "zebra"}, "unknown class 'zebra'; data set voc has VOC's 20 classes: aeroplane"),
        ({"xmin": "wide"}, "bndbox/xmin is 'wide', a number is needed"),
        ({"ymin": 9}, "the box of a cat, 1 9 1 1, is empty; correct it"),
        ({"ymin": "nan"}, "bndbox/ymin is 'nan', a number is needed"),
    ],
)
def test_a_malformed_object_names_file_and_fault(
    tmp_path: Path, item: dict[str, object], complaint: str
) -> None:
    with pytest.raises(DataError) as caught:
        voc.read_annotation(_annotation(tmp_path / "odd.xml", item))
    assert "odd.xml: " + complaint in str(caught.value)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("<annotation><object>", "cannot be read as XML"),
        ("<html/>", "not a VOC annotation: it holds <html>"),
        (
            "<annotation><object><name>dog</name></object></annotation>",
            "a dog has no bndbox; add it, or delete the object",
        ),
        (
            "<annotation><object><name>dog</name><bndbox/></object></annotation>",
            "bndbox/xmin is '', a number is needed",
        ),
        (f"<annotation>{_size('big', 3)}</annotation>", "size/width is 'big', a number is needed"),
    ],
)
def test_a_malformed_file_names_itself(tmp_path: Path, text: str, complaint: str) -> None:
    (tmp_path / "torn.xml").write_text(text)
    with pytest.raises(DataError) as caught:
        voc.read_annotation(tmp_path / "torn.xml")
    assert f"torn.xml: {complaint}" in str(caught.value)
    with pytest.raises(DataError, match=r"none\.xml: there is no such file"):
        voc.read_annotation(tmp_path / "none.xml")


def test_a_box_may_reach_over_its_image_but_not_lie_outside(tmp_path: Path) -> None:
    over = {"xmin": -3, "ymin": 9, "xmax": 900, "ymax": 12}
    read = voc.read_annotation(_annotation(tmp_path / "a.xml", over, size=_size(20, 10)))
    assert read.boxes.xyxy.tolist() == [[-4, 8, 900, 12]]  # as labelled
    outside = {**over, "ymin": 11}
    with pytest.raises(
        DataError, match=r"a\.xml: the box -3 11 900 12 lies outside .* 20 x 10 pixels; correct"
    ):
        voc.read_annotation(_annotation(tmp_path / "a.xml", outside, size=_size(20, 10)))
    unknown = voc.read_annotation(_annotation(tmp_path / "a.xml", outside, size=_size(0, 0)))
    with pytest.raises(DataError, match=r"a\.xml: the box -3 11 900 12 lies outside"):
        voc.refuse_outside(tmp_path / "a.xml", unknown.boxes, (10, 20))
    voc.refuse_outside(tmp_path / "a.xml", unknown.boxes, (11, 20))


def test_a_palette_mask_gives_indices(tmp_path: Path) -> None:
    indices = np.array([[0, 1, 20], [255, 7, 0]], np.uint8)
    mask = Image.fromarray(indices)
    mask.putpalette([(17 * k) % 256 for k in range(768)])
    mask.save(tmp_path / "mask.png")
    assert Image.open(tmp_path / "mask.png").mode == "P"
    np.testing.assert_array_equal(voc.read_label_ids(tmp_path / "mask.png"), indices)


def test_an_index_without_a_class_names_file_and_value(tmp_path: Path) -> None:
    image.write_png(tmp_path / "mask.png", np.array([[0, 21, 255]], np.uint8))
    with pytest.raises(DataError, match=r"mask\.png: label id 21 has no class: .*1 to 20 are"):
        voc.read_label_ids(tmp_path / "mask.png")
    image.write_png(tmp_path / "mask.png", np.zeros((2, 2, 3), np.uint8))
    with pytest.raises(DataError, match=r"mask\.png: .* one 8-bit channel, this one is RGB"):
        voc.read_label_ids(tmp_path / "mask.png")


def test_the_root_may_lie_above_the_year(tmp_path: Path) -> None:
    root = _layout(tmp_path / "VOCdevkit" / "VOC2007", "a").root
    for given in (tmp_path, tmp_path / "VOCdevkit", root):
        assert voc_layout.find_root(given) == root
    (tmp_path / "VOCdevkit" / "VOC2010").mkdir()  # without images
    assert voc_layout.find_root(tmp_path) == root
    _layout(tmp_path / "VOCdevkit" / "VOC2012", "a")
    with pytest.raises(
        DataError, match=r"holds .*/VOC2007 and .*/VOC2012; set `root` of data set voc to one"
    ):
        voc_layout.find_root(tmp_path)
    assert voc_layout.find_root(root) == root
    with pytest.raises(DataError, match=r"Annotations/JPEGImages: there is no such folder; set"):
        voc_layout.find_root(tmp_path / "Annotations")


def test_two_images_of_one_name_are_refused(tmp_path: Path) -> None:
    root = _layout(tmp_path, "ab").root
    image.write_png(root / "JPEGImages" / "b.PNG", np.zeros((4, 4, 3), np.uint8))
    with pytest.raises(DataError, match=r"b\.png and b\.PNG: two images of one name"):
        voc_layout.read_layout(root)


def test_lists_are_found_in_order(tmp_path: Path) -> None:
    layout = _layout(
        tmp_path,
        "abc",
        Main_train="b\na  0\n\n",
        Main_val="c\n",
        Segmentation_train="c\n",
        Segmentation_val="a\n",
        own="a\n",
    )
    own: dict[str, str | None] = {"train": None, "val": "ImageSets/own.txt"}
    assert voc_layout.read_lists(layout, None, NO_LISTS) == {"train": ["b", "a"], "val": ["c"]}
    assert voc_layout.read_lists(layout, "Main", NO_LISTS) == {"train": ["b", "a"], "val": ["c"]}
    assert voc_layout.read_lists(layout, "Segmentation", NO_LISTS) == {"train": ["c"], "val": ["a"]}
    assert voc_layout.read_lists(layout, None, own) == {"train": ["b", "a"], "val": ["a"]}
    assert voc_layout.read_lists(layout, "Segmentation", own) == {"train": ["c"], "val": ["a"]}


def test_segmentation_where_main_has_no_list_and_all_without_any(tmp_path: Path) -> None:
    lists = {"Main_cat_train": "b\n", "Segmentation_train": "c\n", "Segmentation_val": "a\n"}
    layout = _layout(tmp_path / "some", "abc", **lists)
    assert voc_layout.read_lists(layout, None, NO_LISTS) == {"train": ["c"], "val": ["a"]}
    bare = _layout(tmp_path / "bare", "cab")
    every = ["a", "b", "c"]
    assert voc_layout.read_lists(bare, None, NO_LISTS) == {"train": every, "val": every}
    both: dict[str, str | None] = {"train": "t.txt", "val": "v.txt"}
    (bare.root / "t.txt").write_text("a\n")
    (bare.root / "v.txt").write_text("b\n")
    assert voc_layout.read_lists(bare, None, both) == {"train": ["a"], "val": ["b"]}


def test_what_a_list_names_must_be_there(tmp_path: Path) -> None:
    layout = _layout(tmp_path, "ab", Main_train="a\nz\n", Main_val="\n", Segmentation_train="a\n")
    with pytest.raises(
        DataError, match=r"JPEGImages/z\.jpg: there is no such file, but .*Main/train\.txt names it"
    ):
        voc_layout.read_lists(layout, None, NO_LISTS)
    with pytest.raises(DataError, match=r"Main/val\.txt: the image list is empty"):
        voc_layout.read_lists(layout, None, {"val": None})
    with pytest.raises(
        DataError, match=r"Segmentation/val\.txt: there is no such file; set `val_list`"
    ):
        voc_layout.read_lists(layout, "Segmentation", NO_LISTS)
    with pytest.raises(DataError, match=r"own\.txt: there is no such file; set `val_list`"):
        voc_layout.read_lists(layout, None, {"val": "own.txt"})


def test_unlabelled_images_are_told(tmp_path: Path) -> None:
    layout = _layout(tmp_path, "abc")
    assert layout.unlabelled("boxes", ["a", "b"]) == ["a", "b"]
    assert layout.label("boxes", "a") == tmp_path / "Annotations" / "a.xml"
    assert layout.label("label_ids", "a") == tmp_path / "SegmentationClass" / "a.png"
    (tmp_path / "Annotations").mkdir()
    _annotation(layout.label("boxes", "b"))
    assert layout.unlabelled("boxes", ["c", "b", "a"]) == ["c", "a"]
    assert layout.image("c") == tmp_path / "JPEGImages" / "c.png"


@pytest.mark.skipif("TCC_SHARED" not in os.environ, reason="needs TCC_SHARED")
def test_real_annotation() -> None:
    root = Path(os.environ["TCC_SHARED"]) / "data/voc"
    read = voc.read_annotation(root / "Annotations" / "2007_000027.xml")
    np.testing.assert_array_equal(read.boxes.xyxy, [[173, 100, 349, 351]])
    assert read.boxes.labels.tolist() == [15]
    assert read.size == (500, 486)


def test_lists_of_which_none_is_read_are_not_passed_over(tmp_path: Path) -> None:
    layout = _layout(tmp_path, "abc", Main_test="a\n", Main_cat_test="a 1\n")
    with pytest.raises(
        DataError,
        match=r"ImageSets: holds cat_test\.txt, test\.txt, but neither train\.txt nor val\.txt; "
        r"set `train_list` and `val_list`",
    ):
        voc_layout.read_lists(layout, None, NO_LISTS)
    given: dict[str, str | None] = dict.fromkeys(NO_LISTS, "ImageSets/Main/test.txt")
    assert voc_layout.read_lists(layout, None, given) == {"train": ["a"], "val": ["a"]}


def test_a_class_list_leaves_out_what_has_none_of_it(tmp_path: Path) -> None:
    layout = _layout(tmp_path, "abc")
    for name in ("my dog", "shot 1"):
        image.write_png(tmp_path / "JPEGImages" / f"{name}.png", np.zeros((4, 4, 3), np.uint8))
    layout = voc_layout.read_layout(tmp_path)
    path = tmp_path / "cat.txt"
    path.write_text("\ufeffa  1\nb -1\nc\t0\nmy dog\nshot 1\nmy dog 1\n", encoding="utf-8")
    keys = ["a", "c", "my dog", "shot 1"]
    assert voc_layout.read_lists(layout, None, {"train": "cat.txt"}) == {"train": keys}
