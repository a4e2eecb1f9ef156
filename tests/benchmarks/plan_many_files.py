"""Times `tcc plan` on 118 000 small images, the first time and after: uv run python FILE [FOLDER].

Prints the seconds of each; the goal is under 20 the first time and under 2 after. The files are
links to a few, laid out as an image folder and as COCO 2017 with seven boxes an image.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from PIL import Image

IMAGES = {"train": 113_000, "val": 5_000}
CLASSES, BOXES = 100, 7
SPEC = """\
study: many
data: {{{data}: {{root: {root}}}}}
pairs: [{{base: {base}, enhancement: reconstruction}}]
grid: {{lambda_b: [0.1, 1, 2, 3], lambda_e: [0.1, 1, 2, 3], beta: [0, 0.01]}}
"""


def main() -> None:
    """Makes both layouts, plans three times on each."""
    with tempfile.TemporaryDirectory(dir=sys.argv[1] if len(sys.argv) > 1 else None) as folder:
        root = Path(folder)
        sources = []
        for index in range(8):  # a file system bounds the links to one file
            sources.append(root / f"{index}.jpg")
            Image.new("RGB", (64, 48), (30 * index, 120, 30)).save(sources[-1])
        make_image_folder(root / "imagefolder", sources)
        make_coco(root / "coco", sources)
        for data, base in (("imagefolder", "classification"), ("coco", "detection")):
            spec = root / f"{data}.yaml"
            spec.write_text(SPEC.format(data=data, root=root / data, base=base))
            print(data, *(f"{plan_s(spec, root / 'cache'):.2f} s" for _ in range(3)))


def make_image_folder(root: Path, sources: list[Path]) -> None:
    """CLASSES folders of each split."""
    for split, count in IMAGES.items():
        folders = [root / split / f"class{index:03d}" for index in range(CLASSES)]
        for folder in folders:
            folder.mkdir(parents=True)
        for index in range(count):
            os.link(sources[index % 8], folders[index % CLASSES] / f"{index:07d}.jpg")


def make_coco(root: Path, sources: list[Path]) -> None:
    """COCO 2017's folders and instances files."""
    (root / "annotations").mkdir(parents=True)
    for split, count in IMAGES.items():
        folder = root / f"{split}2017"
        folder.mkdir()
        names = [f"{index:012d}.jpg" for index in range(count)]
        for index, name in enumerate(names):
            os.link(sources[index % 8], folder / name)
        size = {"height": 48, "width": 64}
        images = [{"id": i, "file_name": name, **size} for i, name in enumerate(names)]
        annotations = [
            {
                "id": index,
                "image_id": index // BOXES,
                "category_id": 1 + index % 3,
                "bbox": [1 + index % 9, 2, 20, 20.5],
                "area": 400,
                "iscrowd": 0,
                "segmentation": [[1, 1, 2, 2, 3, 3.5] * 4],
            }
            for index in range(BOXES * count)
        ]
        categories = [{"id": label, "name": f"thing {label}"} for label in (1, 2, 3)]
        document = {"images": images, "annotations": annotations, "categories": categories}
        (root / "annotations" / f"instances_{split}2017.json").write_text(json.dumps(document))


def plan_s(spec: Path, cache: Path) -> float:
    """Seconds of one `tcc plan` as a process of its own."""
    begun = time.monotonic()
    command = [sys.executable, "-m", "tcc", "plan", str(spec), "--json"]
    environment = {**os.environ, "TCC_CACHE": str(cache)}
    subprocess.run(command, check=True, env=environment, stdout=subprocess.DEVNULL)
    return time.monotonic() - begun


if __name__ == "__main__":
    main()
