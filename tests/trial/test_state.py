"""What is kept of a training in progress, and when it is not to be trusted."""

from __future__ import annotations

import errno
import logging
import os
import resource
from pathlib import Path

import pytest
import safetensors.torch
import torch
from safetensors import SafetensorError, safe_open
from torch import nn

from tcc.errors import StoreError
from tcc.stores import open_store
from tcc.trial import checkpoint, state
from tcc.trial.course import Course
from tcc.trial.state import Keeper


class Model(nn.Module):
    """A trained part and a frozen one; its second layer has no gradient."""

    def __init__(self, width: int = 4):
        super().__init__()
        self.own = nn.Sequential(nn.Conv2d(3, width, 3), nn.BatchNorm2d(width), nn.Linear(2, 2))
        self.frozen = nn.Linear(2, 2)

    def parameter_groups(self):
        return [list(self.own.parameters())]

    def trained_state(self):
        return self.own.state_dict()

    def load_trained(self, found):
        self.own.load_state_dict(found)


def trained(steps: int = 3, seed: int = 0, width: int = 4):
    """A model on its way, its optimiser and how far they came."""
    torch.manual_seed(seed)
    model = Model(width).to(memory_format=torch.channels_last)
    optimizer = torch.optim.Adam(model.own.parameters(), lr=0.1, fused=True)
    course = Course()
    for course.step in range(1, steps + 1):
        optimizer.zero_grad()
        total = model.own[:2](torch.rand(2, 3, 8, 8)).square().mean()
        total.backward()
        optimizer.step()
        course.add({"total": total.detach(), "other": 2 * total.detach()})
        course.offer(1 / course.step, model.trained_state())
    return model, optimizer, course


@pytest.fixture
def keeper(tmp_path, make_place):
    def make(trial="aa11", parents=None, **place):
        store = open_store(tmp_path / "runs")
        return Keeper(store, trial, parents or {}, make_place(**place))

    return make


def test_a_restored_training_is_the_saved_one(keeper):
    model, optimizer, course = trained()
    course.terms = {"total": 0.1 + 0.2}
    keeper().save(course, model, optimizer)
    other, its_optimizer, _ = trained(steps=1, seed=9)
    frozen = other.frozen.weight.clone()
    found = keeper().restore(other, its_optimizer)
    for name, value in model.own.state_dict().items():
        assert torch.equal(other.own.state_dict()[name], value), name
    assert torch.equal(other.frozen.weight, frozen)
    for mine, theirs in zip(other.own.parameters(), model.own.parameters(), strict=True):
        kept, expected = its_optimizer.state.get(mine, {}), optimizer.state.get(theirs, {})
        assert kept.keys() == expected.keys()
        for name, value in expected.items():
            assert torch.equal(kept[name], value)
            assert kept[name].stride() == value.stride()
            assert kept[name].dtype == value.dtype
    assert (found.step, found.history, found.names) == (3, course.history, ("total", "other"))
    assert found.terms == course.terms
    assert found.best_step == 3
    assert torch.equal(torch.stack(found.rows), torch.stack(course.rows))
    assert all(torch.equal(found.best[name], value) for name, value in course.best.items())
    found.offer(0.01, {})  # what goes on needs no state that was not kept
    assert found.stale == 0


def test_without_a_saved_state_a_course_begins(keeper):
    model, optimizer, _ = trained()
    before = model.own[0].weight.clone()
    assert keeper().restore(model, optimizer) == Course()
    assert torch.equal(model.own[0].weight, before)


@pytest.mark.parametrize(
    "damage",
    ["torn", "empty", "flipped", "step", "of another model", "of another trial", "parents"],
)
def test_a_state_that_cannot_be_trusted_is_named_and_left(keeper, damage, caplog):
    model, optimizer, course = trained(width=6 if damage == "of another model" else 4)
    keeper("bb22" if damage == "of another trial" else "aa11").save(course, model, optimizer)
    store = keeper().store
    if damage == "of another trial":
        other = store.state("bb22").read_bytes()
        store.save_state("aa11", lambda path: path.write_bytes(other))
    path = store.state("aa11")
    data = bytearray(path.read_bytes())
    if damage == "torn":
        path.write_bytes(data[:-5])
    elif damage == "empty":
        path.write_bytes(b"")
    elif damage == "flipped":
        data[-5] ^= 1
        path.write_bytes(data)
    elif damage == "step":
        assert data.count(b'"step":"3"') == 1
        path.write_bytes(data.replace(b'"step":"3"', b'"step":"7"'))
    mine, its_optimizer, _ = trained(seed=5)
    before = {name: value.clone() for name, value in mine.state_dict().items()}
    with caplog.at_level(logging.INFO, "tcc.trial"):
        parents = {"cc33": "ab"} if damage == "parents" else {}
        assert keeper(parents=parents).restore(mine, its_optimizer).step == 0
    assert str(path) in caplog.text
    assert "starting over" in caplog.text
    assert all(torch.equal(mine.state_dict()[name], value) for name, value in before.items())


@pytest.mark.parametrize(
    "error",
    [OSError(errno.EIO, "Input/output error"), SafetensorError("Error: I/O error (os error 5)")],
)
def test_a_disk_that_cannot_be_read_starts_nothing_over(keeper, monkeypatch, error):
    model, optimizer, course = trained()
    keeper().save(course, model, optimizer)

    def refuses(*_, **__):
        raise error

    monkeypatch.setattr(state, "safe_open", refuses)
    with pytest.raises(StoreError, match=r"training\.safetensors cannot be read \(Input/output"):
        keeper().restore(model, optimizer)
    monkeypatch.undo()
    assert keeper().restore(model, optimizer).step == course.step


def test_too_many_open_files_start_nothing_over(keeper):
    model, optimizer, course = trained()
    mine = keeper()
    mine.save(course, model, optimizer)
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    lowest = os.open("/dev/null", os.O_RDONLY)
    os.close(lowest)
    resource.setrlimit(resource.RLIMIT_NOFILE, (lowest, limits[1]))
    try:
        with pytest.raises(StoreError, match="Too many open files"):
            mine.restore(model, optimizer)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)


def test_only_the_first_rank_saves(keeper):
    keeper(rank=1, ranks=2).save(*(trained()[index] for index in (2, 0, 1)))
    assert keeper().store.state("aa11") is None


def test_a_state_is_saved_when_enough_was_done_since(keeper, monkeypatch):
    model, optimizer, course = trained()
    now = [100.0]
    monkeypatch.setattr(state.time, "monotonic", lambda: now[0])
    mine = keeper()
    mine.restore(model, optimizer)
    saved = []
    write = mine.store.save_state

    def slowly(*arguments):
        write(*arguments)
        saved.append(now[0])
        now[0] += 2.0

    monkeypatch.setattr(mine.store, "save_state", slowly)
    for second in range(100, 260, 5):
        now[0] = max(now[0], float(second))
        mine.offer(course, model, optimizer, selecting=second % 20 == 0)
    # a selection saves; then each save, of two seconds, is worth forty of training
    assert saved == [120.0, 165.0, 210.0, 255.0]
    with safe_open(mine.store.state("aa11"), framework="pt") as file:
        assert file.metadata()["seconds"] == "155.0"


def test_a_file_is_what_safetensors_would_write(tmp_path):
    torch.manual_seed(0)
    tensors = {
        "b": torch.rand(3, 4),
        "ä": torch.tensor(7),
        "a.weight": torch.rand(2, 1, 3, dtype=torch.float64),
        "none": torch.empty(0, 3),
        "flag": torch.tensor([True, False, True]),
        "half": torch.rand(5).bfloat16(),
        "16": torch.rand(5).half(),
        "i": torch.arange(3, dtype=torch.int32),
        "bytes": torch.arange(3, dtype=torch.uint8),
    }
    path = tmp_path / "x.safetensors"
    for metadata in ({"trial": "aa11"}, {"trial": '"ü"'}):
        checkpoint.save(path, tensors, metadata)
        assert path.read_bytes() == safetensors.torch.save(tensors, metadata)
    assert [found.name for found in tmp_path.iterdir()] == [path.name]
    with safe_open(path, framework="pt") as file:
        assert all(torch.equal(file.get_tensor(name), x) for name, x in tensors.items())


def test_a_full_disk_is_told_as_one():
    with pytest.raises(OSError, match="No space left"):
        checkpoint.save(Path("/dev/full"), {"x": torch.ones(10000)}, {})


def test_what_is_saved_is_as_readable_as_the_files_beside_it(tmp_path):
    beside, path = tmp_path / "beside", tmp_path / "weights.safetensors"
    beside.touch()
    checkpoint.save(path, {"x": torch.ones(2)}, {})
    assert path.stat().st_mode == beside.stat().st_mode
