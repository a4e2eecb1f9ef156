"""Every data set, in its tiny instance, holds what it says it holds, and says when that changed."""

from __future__ import annotations

import os
import pickle
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from tcc import registry
from tcc.datasets import TRAINING, describe
from tcc.errors import DataError
from tcc.formats import image
from tcc.formats.sample import IGNORED, Sample

SPLITS = (*TRAINING, "val")


@pytest.fixture(params=registry.names("datasets"))
def name(request) -> str:
    return request.param


@pytest.fixture
def opened(name, tiny):
    """Split → its samples."""
    data = tiny(name)
    data.plugin.prepare(data.params)
    return {split: data.plugin.open(data.params, split) for split in SPLITS}


def test_describes_itself(name, tiny):
    data = tiny(name)
    info = data.plugin.describe(data.params)
    assert set(info.splits) == set(info.fingerprints) == set(SPLITS)
    assert all(info.splits.values())
    assert set(info.classes) <= set(info.labels)
    assert not set(info.absent) & set(info.labels)
    assert info.fingerprints["val"] != info.fingerprints["train"]
    # the tiny instance has every label that the data set can have
    assert not info.absent


def test_the_same_files_elsewhere_are_the_same_data(name, tiny, make_tiny):
    data, other = tiny(name), make_tiny(name)
    assert data.written != other.written
    assert other.plugin.describe(other.params) == data.plugin.describe(data.params)


def test_each_split_is_as_described(name, tiny, opened):
    data = tiny(name)
    info = data.plugin.describe(data.params)
    assert {split: len(samples) for split, samples in opened.items()} == info.splits
    for samples in opened.values():
        read = [samples[index] for index in range(len(samples))]
        assert len({sample.key for sample in read}) == len(read)
        for index, sample in enumerate(read):
            assert sample.image.dtype == torch.uint8
            assert tuple(sample.image.shape) == (3, *samples.size(index))
            assert sample.image.float().std() > 1
            assert set(sample.labels) == set(info.labels)
            for kind, label in sample.labels.items():
                _check_label(kind, label, sample, len(info.classes.get(kind, ())))
    shared = {sample.key for sample in opened["train"]} & {s.key for s in opened["select"]}
    assert not shared
    # no label kind is there in name alone
    for kind in info.labels:
        assert any(_tells(kind, sample.labels[kind]) for sample in opened["train"])


def _check_label(kind: str, label: Any, sample: Sample, classes: int) -> None:
    height, width = sample.image.shape[-2:]
    if kind in IGNORED:
        assert label.shape == (height, width)
        assert label.dtype == torch.int64
        valid = label[label != IGNORED[kind]]
        assert valid.numel()
        assert valid.min() >= 0
        assert valid.max() < (classes or 2**16)
    elif kind == "class":
        assert label.shape == ()
        assert label.dtype == torch.int64
        assert 0 <= label < classes
    else:
        boxes = label["boxes"]
        assert boxes.dtype == torch.float64
        assert tuple(boxes.canvas_size) == (height, width)
        assert boxes.shape == (len(label["labels"]), 4)
        assert ((boxes[:, 2:] - boxes[:, :2]) > 0).all()
        assert (boxes >= 0).all()
        assert (boxes <= torch.tensor([width, height, width, height])).all()
        assert label["labels"].dtype == torch.int64
        assert label["crowd"].dtype == torch.bool
        assert (label["area"] > 0).all()
        assert len(boxes) == len(label["crowd"]) == len(label["area"])
        assert (label["labels"] >= 1).all()
        if kind == "boxes":
            assert (label["labels"] <= classes).all()
        else:
            points, mirror = label["keypoints"], label["mirror"]
            assert points.dtype == torch.float32
            assert points.shape == (len(boxes), classes, 3)
            assert torch.equal(mirror[mirror], torch.arange(classes))
            assert (points[points[..., 2] == 0] == 0).all()
            seen = points[points[..., 2] > 0]
            assert (seen[:, :2] >= 0).all()
            assert (seen[:, :2] <= torch.tensor([width, height])).all()


def _tells(kind: str, label: Any) -> bool:
    """Whether a label says anything: objects, or more than one value."""
    if kind == "class":
        return True
    return len(label["boxes"]) > 0 if isinstance(label, dict) else len(label.unique()) > 1


def test_samples_and_splits_reach_other_processes(opened):
    for samples in opened.values():
        again = pickle.loads(pickle.dumps(samples))
        assert len(again) == len(samples)
        sent = pickle.loads(pickle.dumps(samples[0]))
        assert _content(again[0]) == _content(sent) == _content(samples[0])


def test_only_the_asked_labels_are_read_and_nothing_else_changes(name, tiny, opened):
    data = tiny(name)
    for split, whole in opened.items():
        every = _content(whole[0])[2]
        for asked in ((), *((kind,) for kind in every)):
            samples = data.plugin.open(data.params, split, asked)
            assert len(samples) == len(whole)
            key, pixels, labels = _content(samples[0])
            assert (key, pixels) == _content(whole[0])[:2]
            assert labels == {kind: every[kind] for kind in asked}
            assert samples.size(0) == whole.size(0)
        with pytest.raises(DataError, match=f"data set {name} has no smell"):
            data.plugin.open(data.params, split, ("smell",))


def test_a_description_is_kept_where_it_is_read_from_files(name, make_tiny, monkeypatch):
    data = make_tiny(name)
    asked = []
    plain = data.plugin.describe
    monkeypatch.setattr(data.plugin, "describe", lambda params: asked.append(0) or plain(params))
    first = describe(data.plugin, data.params)
    assert describe(data.plugin, data.params) == first == plain(data.params)
    assert len(asked) == (1 if list(data.plugin.sources(data.params)) else 2)


def test_a_change_of_any_file_is_seen(name, make_tiny):
    data = make_tiny(name)
    before = describe(data.plugin, data.params)
    samples = _all_content(data)
    seen = set()
    files = _files(data)
    for path in files:
        kept = path.read_bytes()
        _change(path)
        after = describe(data.plugin, data.params)
        for split, content in _all_content(data).items():
            if after.fingerprints[split] != before.fingerprints[split]:
                seen |= {split, path}
            else:
                assert content == samples[split], f"{path} changed samples of {split} unseen"
        path.write_bytes(kept)
        assert describe(data.plugin, data.params) == before
    # what shapes no sample is only a list of the images
    assert {path.suffix for path in files if path not in seen} <= {".txt"}
    assert not files or seen >= set(SPLITS)


def test_an_unreadable_folder_is_told_from_a_missing_one(name):
    plugin = registry.load("datasets", name)
    with tempfile.TemporaryDirectory() as place:  # not pytest's own, which only its owner enters
        Path(place).chmod(0o755)
        params = plugin.Params.model_validate(plugin.tiny(Path(place) / "data"))
        before = describe(plugin, params)
        if not list(plugin.sources(params)):
            return
        folders = sorted(path for path in Path(place).rglob("*") if path.is_dir())
        found = {}
        for folder in folders:
            with _locked(folder):
                found[folder] = _described(plugin, params)
        assert found[folders[0]] != before  # the root's
        for folder, told in found.items():
            if told != before:  # else nothing of it is needed
                assert str(folder) in str(told)
                assert "Permission denied" in str(told)


def _described(plugin: Any, params: Any) -> Any:
    """The description, or why there is none."""
    try:
        return describe(plugin, params)
    except DataError as error:
        return str(error)


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """For a superuser, whom no lock stops, as another user."""
    superuser = os.geteuid() == 0
    folder.chmod(0)
    try:
        if superuser:
            os.seteuid(65534)
        yield
    finally:
        if superuser:
            os.seteuid(0)
        folder.chmod(0o755)


def _files(data: Any) -> list[Path]:
    """All files of a data set, unless it is generated from its parameters."""
    if not list(data.plugin.sources(data.params)):
        return []
    return sorted(path for path in data.folder.rglob("*") if path.is_file())


def _change(path: Path) -> None:
    """Makes an image larger, anything else a line longer."""
    size = path.stat().st_size
    if path.name.lower().endswith(image.SUFFIXES):
        with Image.open(path) as old:
            larger = Image.new(old.mode, (old.width + 8, old.height + 8))
            form = old.format
        larger.save(path, form)
    else:
        with path.open("a") as file:
            file.write("\n")
    assert path.stat().st_size != size


def _all_content(data: Any) -> dict[str, Any]:
    """Split → its samples to compare, or why they cannot be read."""
    found: dict[str, Any] = {}
    for split in SPLITS:
        try:
            samples = data.plugin.open(data.params, split)
            found[split] = [_content(samples[index]) for index in range(len(samples))]
        except DataError as error:
            found[split] = str(error)
    return found


def _content(value: Any) -> Any:
    """A sample to compare: tensors as their values."""
    if isinstance(value, Sample):
        return value.key, _content(value.image), _content(dict(value.labels))
    if isinstance(value, dict):
        return {key: _content(item) for key, item in value.items()}
    return tuple(value.shape), value.dtype, value.as_subclass(torch.Tensor).numpy().tobytes()
