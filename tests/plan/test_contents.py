"""Files of weights: their contents stand for their paths in ids."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tcc.errors import DataError
from tcc.plan.identity import file_sha256
from tcc.records import Plan

Planned = Callable[..., Plan]


@pytest.fixture
def with_weights(planned: Planned) -> Callable[[Path], dict[tuple[str, ...], str]]:
    """Kind, tasks and axes → id, of a study whose depth models start from a file."""

    def ids(weights: Path) -> dict[tuple[str, ...], str]:
        tasks = f"tasks: {{depth: {{weights: {weights}}}}}\ntrain: {{steps: 20"
        plan = planned(changes={"train: {steps: 20": tasks})
        return {(trial.kind, *trial.tasks, str(trial.axes)): trial.id for trial in plan}

    return ids


def test_the_content_of_a_file_stands_for_its_path(
    with_weights: Callable[[Path], dict[tuple[str, ...], str]], planned: Planned, tmp_path: Path
) -> None:
    one, other = tmp_path / "one.pt", tmp_path / "sub" / "other.pt"
    other.parent.mkdir()
    one.write_bytes(b"weights")
    other.write_bytes(b"weights")
    first = with_weights(one)
    assert with_weights(other) == first
    other.write_bytes(b"Weights")
    second = with_weights(other)
    without = {(trial.kind, *trial.tasks, str(trial.axes)): trial.id for trial in planned()}
    for key, id in first.items():
        untouched = key[0] in ("pretrain", "single_layer", "pixels") and "depth" not in key
        assert (second[key] == id) == untouched
        assert (without[key] == id) == untouched
    other.write_bytes(b"weights")
    assert with_weights(other) == first


def test_a_use_holds_the_hash_of_its_file(planned: Planned, tmp_path: Path) -> None:
    file = tmp_path / "depth.safetensors"
    file.write_bytes(b"abc")
    tasks = f"tasks: {{depth: {{weights: {file}}}}}\ntrain: {{steps: 20"
    plan = planned(changes={"train: {steps: 20": tasks})
    base = next(trial for trial in plan if trial.kind == "base")
    depth, reconstruction = base.recipe.tasks
    assert depth.params["weights"] == str(file)
    assert depth.contents == {"weights": hashlib.sha256(b"abc").hexdigest()}
    assert reconstruction.contents == {}


def test_a_file_is_hashed_once_unless_it_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "w.pt"
    file.write_bytes(b"abc")
    digest = hashlib.file_digest
    read: list[str] = []

    def counted(opened: Any, name: str) -> Any:
        read.append(name)
        return digest(opened, name)

    monkeypatch.setattr(hashlib, "file_digest", counted)
    assert {file_sha256(file) for _ in range(3)} == {hashlib.sha256(b"abc").hexdigest()}
    assert len(read) == 1
    file.write_bytes(b"abcd")
    assert file_sha256(file) == hashlib.sha256(b"abcd").hexdigest()
    with pytest.raises(DataError, match=r"none\.pt: cannot be read: No such file"):
        file_sha256(tmp_path / "none.pt")
