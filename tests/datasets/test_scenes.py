"""Generated scenes: the same from the same seed, and labels that agree with each other."""

from __future__ import annotations

import contextlib
import io
import multiprocessing
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from tcc.datasets.scenes import PLUGIN, SHAPE_NAMES, Params, annotation_file
from tcc.datasets.scenes import _generate as generator
from tcc.datasets.scenes._draw import FAR_PX, NEAR_PX, OBJECT_PX, draw
from tcc.datasets.scenes._shapes import SHAPES
from tcc.errors import DataError
from tcc.formats import cityscapes

COUNTS = {"train": 20, "val": 5}


@pytest.fixture(scope="module")
def params(tmp_path_factory: pytest.TempPathFactory) -> Params:
    made = Params.model_validate({"root": str(tmp_path_factory.mktemp("cache")), **COUNTS})
    PLUGIN.prepare(made)
    return made


def _scenes(count: int, height: int = 64, width: int = 64) -> list[Any]:
    return [draw(np.random.default_rng([7, i]), height, width, 6) for i in range(count)]


def _content(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def test_names_and_outlines_are_the_same_shapes() -> None:
    assert tuple(SHAPES) == SHAPE_NAMES


def test_parallel_and_serial_generation_give_the_same_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(generator, "CHUNK", 4)
    params = Params.model_validate({"size": 32, "train": 10, "val": 3})
    ticks: list[tuple[int, int]] = []
    generator.generate(tmp_path / "serial", params, workers=1)
    generator.generate(tmp_path / "parallel", params, lambda *tick: ticks.append(tick), workers=2)
    content = _content(tmp_path / "serial")
    assert len(content) == 13 * 3 + 2
    assert content == _content(tmp_path / "parallel")
    assert sorted(ticks) == ticks
    assert ticks[-1] == (13, 13)
    other = params.model_copy(update={"seed": 1})
    generator.generate(tmp_path / "other", other, workers=1)
    assert not set(content.values()) & set(_content(tmp_path / "other").values())


def test_more_images_leave_the_first_ones_as_they_are(tmp_path: Path) -> None:
    few, many = (
        Params.model_validate({"root": str(tmp_path), "size": 32, "train": n, "val": 2})
        for n in (4, 6)
    )
    first, second = PLUGIN.prepare(few), PLUGIN.prepare(many)
    images = {name: data for name, data in _content(first).items() if name.endswith(".png")}
    assert images.items() <= _content(second).items()


def test_who_comes_second_discards_his_work(
    tmp_path: Path, params: Params, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = PLUGIN.prepare(params)
    before = folder.stat().st_ino
    generator.generate(folder, params)
    assert folder.stat().st_ino == before
    assert sorted(path.name for path in folder.parent.iterdir()) == [folder.name]

    def broken(*_: object) -> None:
        raise RuntimeError("interrupted")

    monkeypatch.setattr(generator, "write_chunk", broken)
    with pytest.raises(RuntimeError):
        generator.generate(tmp_path / "set", params)
    assert list(tmp_path.iterdir()) == []


def _prepare_in_process(root: str) -> None:
    PLUGIN.prepare(Params.model_validate({"root": root, "size": 32, "train": 30, "val": 2}))


def test_several_processes_prepare_at_once(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    racers = [context.Process(target=_prepare_in_process, args=(str(tmp_path),)) for _ in range(3)]
    for racer in racers:
        racer.start()
    for racer in racers:
        racer.join()
    assert [racer.exitcode for racer in racers] == [0, 0, 0]
    (folder,) = tmp_path.iterdir()
    assert len(_content(folder)) == 32 * 3 + 2


def test_splits_and_description_agree(params: Params) -> None:
    info = PLUGIN.describe(params)
    splits = {name: PLUGIN.open(params, name) for name in ("train", "select", "val")}
    assert dict(info.splits) == {name: len(split) for name, split in splits.items()}
    assert dict(info.splits) == {"train": 18, "select": 2, "val": 5}
    train, select = ({frame.key for frame in splits[name].frames} for name in ("train", "select"))
    assert not train & select
    for split in splits.values():
        for index in range(len(split)):
            sample = split[index]
            assert tuple(sample.image.shape[1:]) == split.size(index) == (64, 64)
            assert tuple(sample.labels) == info.labels
            assert sample.labels["boxes"]["labels"].min() >= 1
            assert sample.labels["boxes"]["labels"].max() <= len(info.classes["boxes"])
            assert sample.labels["label_ids"].max() < len(info.classes["label_ids"])
            assert 0 <= sample.labels["class"] < len(info.classes["class"])


def test_boxes_are_tight_around_what_is_seen_and_read_by_pycocotools(params: Params) -> None:
    from pycocotools.coco import COCO

    with contextlib.redirect_stdout(io.StringIO()):
        official = COCO(str(annotation_file(PLUGIN.prepare(params), "val")))
    split = PLUGIN.open(params, "val")
    for index, image_id in enumerate(official.getImgIds()):
        labels = split[index].labels
        entry = official.loadImgs(image_id)[0]
        assert entry["file_name"].startswith(f"scenes/{split[index].key}")
        covered = np.zeros((64, 64), int)
        annotations = official.loadAnns(official.getAnnIds(image_id))
        for annotation, box in zip(annotations, labels["boxes"]["boxes"], strict=True):
            mask = official.annToMask(annotation).astype(bool)
            ys, xs = np.nonzero(mask)
            assert box.tolist() == [xs.min(), ys.min(), xs.max() + 1, ys.max() + 1]
            assert (labels["label_ids"].numpy()[mask] == annotation["category_id"]).all()
            covered += mask
        assert covered.max() == 1
        np.testing.assert_array_equal(covered == 0, labels["label_ids"].numpy() == 0)
        largest = max(annotations, key=lambda item: item["area"])
        assert labels["class"] == largest["category_id"] - 1


def test_a_sample_is_what_was_drawn(params: Params) -> None:
    split = PLUGIN.open(params, "val")
    for index in range(len(split)):
        scene = draw(np.random.default_rng([params.seed, 1, index]), 64, 64, 6)
        sample = split[index]
        np.testing.assert_array_equal(sample.image.permute(1, 2, 0).numpy(), scene.image)
        np.testing.assert_array_equal(sample.labels["label_ids"].numpy(), scene.label_ids)
        raw = sample.labels["disparity"].numpy()
        np.testing.assert_array_equal(raw == 0, np.isnan(scene.disparity_px))
        valid = raw > 0
        np.testing.assert_allclose(
            (raw[valid] - 1) / 256, scene.disparity_px[valid], atol=1 / 512 + 1e-6
        )


def test_depth_can_be_told_from_the_image() -> None:
    sizes, disparities, occlusions = [], [], 0
    for scene in _scenes(60):
        valid = ~np.isnan(scene.disparity_px)
        assert 0 < 1 - valid.mean() < 0.15  # some pixels are invalid, few
        assert scene.disparity_px[valid].min() >= FAR_PX
        assert scene.disparity_px[valid].max() <= NEAR_PX
        ground = (scene.label_ids == 0) & valid
        rows = [scene.disparity_px[y][ground[y]] for y in range(64)]
        levels = [row.mean() for row in rows if len(row)]
        assert (np.diff(levels) >= -1e-3).all()  # the plane comes nearer downwards
        assert 1 <= len(scene.objects) <= 6
        for item in scene.objects:
            assert OBJECT_PX[0] <= item.disparity_px <= OBJECT_PX[1]
            seen = scene.disparity_px[item.mask & valid]
            np.testing.assert_allclose(seen, item.disparity_px, rtol=1e-6)
        for near, far in zip(scene.objects, scene.objects[1:]):
            assert near.disparity_px > far.disparity_px
            grown = near.mask.copy()
            grown[:, 1:] |= near.mask[:, :-1]
            grown[1:] |= near.mask[:-1]
            occlusions += bool((grown & far.mask).any())
        sizes += [np.sqrt(item.mask.sum()) for item in scene.objects]
        disparities += [item.disparity_px for item in scene.objects]
    assert occlusions > 15
    assert np.corrcoef(sizes, disparities)[0, 1] > 0.8
    assert 6 < np.percentile(sizes, 5) < np.percentile(sizes, 95) < 36


def test_every_shape_is_drawn_and_looks_like_itself_alone() -> None:
    scenes = _scenes(60)
    colours: dict[int, list[Any]] = {label: [] for label in range(1, 7)}
    for scene in scenes:
        for item in scene.objects:
            if item.disparity_px > 70:  # little haze
                colours[item.label].append(scene.image[item.mask].mean(axis=0))
    means = np.array([np.mean(found, axis=0) for found in colours.values()])
    distances = np.linalg.norm(means[:, None] - means[None], axis=-1)
    assert distances[~np.eye(6, dtype=bool)].min() > 40


@pytest.mark.parametrize("size", [[33, 47], [47, 33], [32, 129], [65, 65]])
def test_any_size_can_be_drawn_and_read(tmp_path: Path, size: list[int]) -> None:
    params = Params.model_validate({"root": str(tmp_path), "size": size, "train": 4, "val": 2})
    split = PLUGIN.open(params, "train")
    sample = split[0]
    assert sample.image.shape == (3, *size)
    assert sample.labels["label_ids"].shape == sample.labels["disparity"].shape == tuple(size)
    assert sample.labels["boxes"]["boxes"].canvas_size == tuple(size)
    assert len(sample.labels["boxes"]["labels"]) >= 1
    for scene in _scenes(30, *size):
        assert scene.objects
        assert all(item.mask.any() for item in scene.objects)


def test_the_fingerprint_is_of_the_drawing_alone(tmp_path: Path) -> None:
    plain = PLUGIN.describe(Params())
    assert PLUGIN.describe(Params.model_validate({"root": str(tmp_path)})) == plain
    assert PLUGIN.describe(Params.model_validate({"size": [64, 64]})) == plain
    for change, changed in (
        ({"seed": 1}, {"train", "select", "val"}),
        ({"size": 65}, {"train", "select", "val"}),
        ({"classes": 5}, {"train", "select", "val"}),
        ({"train": 1999}, {"train", "select"}),
        ({"select": 7}, {"train", "select"}),
        ({"val": 199}, {"val"}),
    ):
        other = PLUGIN.describe(Params.model_validate(change)).fingerprints
        assert {key for key in other if other[key] != plain.fingerprints[key]} == changed
    assert list(tmp_path.iterdir()) == []  # nothing was generated


def test_tiny_is_generated_below_the_given_folder(tmp_path: Path) -> None:
    params = Params.model_validate(PLUGIN.tiny(tmp_path))
    info = PLUGIN.describe(params)
    assert dict(info.splits) == {"train": 11, "select": 1, "val": 4}
    assert list(tmp_path.iterdir()) == []
    for name, count in info.splits.items():
        split = PLUGIN.open(params, name)
        assert len(split) == count
        for index in range(count):
            assert tuple(split[index].labels) == ("boxes", "label_ids", "disparity", "class")
    assert [path.parent for path in tmp_path.glob("*/annotations")] == [PLUGIN.prepare(params)]
    assert list(PLUGIN.sources(params)) == []


@pytest.mark.parametrize("wrong", [{"size": 8}, {"size": [64]}, {"size": "big"}, {"classes": 7}])
def test_impossible_parameters_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        Params.model_validate(wrong)


def test_a_cache_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    params = Params.model_validate({"root": str(tmp_path / "file"), "train": 2, "val": 1})
    with pytest.raises(DataError, match=r"file/scenes-.* set `root`.*TCC_CACHE"):
        PLUGIN.prepare(params)


def test_a_damaged_cache_names_the_file(tmp_path: Path) -> None:
    params = Params.model_validate({"root": str(tmp_path), "size": 32, "train": 4, "val": 2})
    split = PLUGIN.open(params, "val")
    split.frames[0].disparity.write_bytes(b"torn")
    with pytest.raises(DataError, match=r"000000_disparity\.png: the file is not an image"):
        split[0]
    split.frames[1].image.unlink()
    with pytest.raises(DataError, match=r"000001_leftImg8bit\.png: there is no such file"):
        split[1]


def test_the_environment_names_the_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TCC_CACHE", str(tmp_path / "here"))
    folder = PLUGIN.prepare(Params.model_validate({"size": 32, "train": 2, "val": 1}))
    assert folder.parent == tmp_path / "here"
    found = cityscapes.find_files(folder)  # in Cityscapes' own layout
    assert sorted(found["train"].disparity) == ["scenes_000000_000000", "scenes_000000_000001"]
    assert len(found["val"].label_ids) == 1


def test_a_loader_with_workers_gives_the_same_samples(params: Params) -> None:
    split = PLUGIN.open(params, "val")
    loader = torch.utils.data.DataLoader(
        split,  # pyright: ignore[reportArgumentType]
        batch_size=2,
        collate_fn=list,
        num_workers=1,
    )
    loaded = [sample for batch in loader for sample in batch]
    for index, sample in enumerate(loaded):
        assert sample.key == split[index].key
        assert torch.equal(sample.image, split[index].image)
        boxes = sample.labels["boxes"]["boxes"]
        assert boxes.canvas_size == (64, 64)
        assert torch.equal(boxes, split[index].labels["boxes"]["boxes"])


def test_a_script_without_a_main_guard_gets_one_clear_error(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        "import sys\n"
        "from tcc.datasets.scenes import _generate, Params\n"
        "from pathlib import Path\n"
        "params = Params(size=32, train=4, val=4)\n"
        "_generate.generate(Path(sys.argv[1]) / 'set', params, workers=2)\n"
    )
    result = subprocess.run(
        [sys.executable, str(script), str(tmp_path)], capture_output=True, text=True, check=False
    )
    assert result.returncode == 1
    # not always the last line: a loaded machine's resource tracker may still have its say
    assert 'not under `if __name__ == "__main__":`' in result.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["script.py"]


def test_describing_and_generating_import_no_torch(tmp_path: Path) -> None:
    code = (
        "import sys\n"
        "from pathlib import Path\n"
        "from tcc.datasets import cityscapes as streets, imagefolder, images, scenes, voc\n"
        "from tcc.formats import cityscapes, coco, image\n"
        "params = scenes.Params(train=3, val=1)\n"
        "scenes.PLUGIN.describe(params)\n"
        "scenes.PLUGIN.prepare(params)\n"
        "images.PLUGIN.describe(images.Params(root=sys.argv[1]))\n"
        "for room in (streets, imagefolder, voc):\n"
        "    made = room.PLUGIN.tiny(Path(sys.argv[2]) / room.__name__)\n"
        "    room.PLUGIN.describe(room.Params.model_validate(made))\n"
        "print(sorted({'torch', 'torchvision', 'matplotlib'} & set(sys.modules)))\n"
    )
    image_root = PLUGIN.prepare(
        Params.model_validate({"root": str(tmp_path), "size": 32, "train": 2, "val": 1})
    )
    result = subprocess.run(
        [sys.executable, "-c", code, str(image_root / "leftImg8bit/train/scenes"), str(tmp_path)],
        env={**os.environ, "TCC_CACHE": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert result.stdout.strip() == "[]"


def test_maps_that_nobody_asks_for_are_not_read(tmp_path: Path) -> None:
    params = Params.model_validate({"root": str(tmp_path), "size": 32, "train": 2, "val": 1})
    folder = PLUGIN.prepare(params)
    for package in ("gtFine", "disparity"):
        for path in (folder / package / "val").rglob("*.png"):
            path.write_bytes(b"torn")
    sample = PLUGIN.open(params, "val", {"class", "boxes"})[0]
    assert tuple(sample.labels) == ("boxes", "class")
    with pytest.raises(DataError, match=r"_gtFine_labelIds\.png"):
        PLUGIN.open(params, "val")[0]
