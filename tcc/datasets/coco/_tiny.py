"""Writes a tiny COCO in its official layout, with every label, for tests."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from PIL import Image

from tcc.datasets._tiny import CLASSES, SIZES, draw
from tcc.formats import coco

KEYPOINTS = ("middle", "left_corner", "right_corner")
_IMAGES = {"train": range(8), "val": range(8, 12)}
_EMPTY = (3, 9)  # images without annotations
_CROWDED = (1, 10)  # images whose light object is a crowd


def write(folder: Path) -> None:
    """Makes annotations, train2017 and val2017. Dark objects have keypoints, light ones none."""
    (folder / "annotations").mkdir(parents=True, exist_ok=True)
    for split, indices in _IMAGES.items():
        (folder / f"{split}2017").mkdir(exist_ok=True)
        images = [_write_image(folder / f"{split}2017", index) for index in indices]
        posed = [
            coco.CocoImage(
                file_name=item.file_name,
                height=item.height,
                width=item.width,
                objects=tuple(each for each in item.objects if each.keypoints),
            )
            for item in images
        ]
        annotations = folder / "annotations"
        coco.write_instances(annotations / f"instances_{split}2017.json", CLASSES, images)
        coco.write_instances(
            annotations / f"person_keypoints_{split}2017.json", CLASSES[:1], posed, KEYPOINTS
        )


def _write_image(folder: Path, index: int) -> coco.CocoImage:
    height, width = SIZES[index % len(SIZES)]
    scene = draw(index, height, width)
    name = f"{index:012d}.jpg"
    Image.fromarray(scene.image).save(folder / name, quality=95)
    dark = coco.object_from_mask(scene.label_ids == 1, 1)
    light = coco.object_from_mask(scene.label_ids == 2, 2, crowd=index in _CROWDED)
    x, y, side_x, side_y = dark.xywh
    keypoints = (
        (x + side_x / 2, y + side_y / 2, 2),
        (x, y, 1),
        (x + side_x - 1, y, 2) if index % 2 else (0, 0, 0),
    )
    return coco.CocoImage(
        file_name=name,
        height=height,
        width=width,
        objects=() if index in _EMPTY else (replace(dark, keypoints=keypoints), light),
    )
