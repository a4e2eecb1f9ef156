"""Descriptions are kept while the files stay as they are, and never longer."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterable
from pathlib import Path
from typing import ClassVar

import pytest

from tcc.datasets import DatasetParams, _describe, describe
from tcc.errors import DataError
from tcc.records import DatasetInfo, FrozenMap


class Params(DatasetParams):
    """A folder, and something else that shapes a description."""

    root: str
    shade: int = 0


class Folder:
    """The least data set: tells how often it was asked."""

    version: ClassVar[int] = 1

    def __init__(self) -> None:
        self.asked = 0

    def sources(self, params: Params) -> Iterable[Path]:
        return (Path(params.root),)

    def describe(self, params: Params) -> DatasetInfo:
        self.asked += 1
        root = Path(params.root)
        if not root.is_dir():
            raise DataError(f"{root}: there is no such folder")
        names = sorted(path.name for path in root.rglob("*"))
        return DatasetInfo(
            labels=("boxes",),
            splits=FrozenMap({"train": len(names)}),
            fingerprints=FrozenMap({"train": "+".join(names)}),
            classes=FrozenMap({"boxes": ("dog", "cat")}),
            absent=FrozenMap({"keypoints": "no file"}),
        )


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TCC_CACHE", str(tmp_path / "cache"))
    _describe._tell.cache_clear()
    return tmp_path / "cache" / "descriptions"


@pytest.fixture
def params(tmp_path: Path) -> Params:
    for name in ("a.jpg", "sub/b.jpg"):
        path = tmp_path / "data" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    return Params(root=str(tmp_path / "data"))


def test_a_description_is_kept_whole(params: Params, cache: Path) -> None:
    first = describe(Folder(), params)
    again = Folder()
    kept = describe(again, params)
    assert again.asked == 0
    assert kept == first
    assert type(kept.splits) is type(first.splits)
    assert hash(kept.classes) == hash(first.classes)
    assert [path.suffix for path in cache.iterdir()] == [".json"]


def _touch(path: Path) -> None:
    state = path.stat()
    os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns + 1))


@pytest.mark.parametrize(
    "change",
    [
        lambda root: (root / "sub/c.jpg").touch(),
        lambda root: (root / "sub/b.jpg").unlink(),
        lambda root: (root / "sub/b.jpg").rename(root / "sub/c.jpg"),
        lambda root: (root / "sub/b.jpg").rename(root / "b.jpg"),
        lambda root: (root / "a.jpg").write_text("longer than before"),
        lambda root: _touch(root / "sub/b.jpg"),
        lambda root: (root / "empty").mkdir(),
        lambda root: (root / "link").symlink_to(root / "nowhere"),
    ],
    ids=["added", "removed", "renamed", "moved", "grown", "written", "folder", "broken link"],
)
def test_any_change_of_a_file_is_seen(params: Params, change) -> None:
    plugin = Folder()
    describe(plugin, params)
    change(Path(params.root))
    for _ in range(2):
        describe(plugin, params)
    assert plugin.asked == 2


def test_parameters_versions_and_places_are_kept_apart(params: Params, tmp_path: Path) -> None:
    plugin = Folder()
    describe(plugin, params)
    describe(plugin, Params(root=params.root, shade=1))
    assert plugin.asked == 2
    Path(params.root).rename(tmp_path / "other")
    (tmp_path / "data").symlink_to(tmp_path / "other")
    describe(plugin, params)
    assert plugin.asked == 3

    class Newer(Folder):
        version = 2

    newer = Newer()
    describe(newer, params)
    assert newer.asked == 1


def test_a_data_set_without_sources_is_asked_each_time(params: Params, cache: Path) -> None:
    class Generated(Folder):
        def sources(self, params: Params) -> Iterable[Path]:
            return ()

    plugin = Generated()
    describe(plugin, params)
    describe(plugin, params)
    assert plugin.asked == 2
    assert not cache.exists()


def test_errors_are_not_kept(tmp_path: Path, cache: Path) -> None:
    params = Params(root=str(tmp_path / "data"))
    for _ in range(2):
        with pytest.raises(DataError, match="data: there is no such folder"):
            describe(Folder(), params)
    assert not cache.exists()
    (tmp_path / "data").mkdir()
    assert describe(Folder(), params).splits["train"] == 0


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff", b'{"stamp": "x"}', None])
def test_a_file_that_is_not_a_description_is_not_there(
    params: Params, cache: Path, content: bytes | None
) -> None:
    info = describe(Folder(), params)
    (path,) = cache.iterdir()
    if content is None:
        kept = json.loads(path.read_bytes())
        kept["info"]["splits"] = {"train": "many"}
        content = json.dumps(kept).encode()
    path.write_bytes(content)
    plugin = Folder()
    assert describe(plugin, params) == info
    assert describe(plugin, params) == info
    assert plugin.asked == 1


def test_a_cache_that_cannot_be_written_is_told_once(
    params: Params, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "cache").write_text("not a folder")
    plugin = Folder()
    with caplog.at_level(logging.WARNING, "tcc.datasets"):
        for _ in range(3):
            assert describe(plugin, params).splits["train"] == 3
    assert plugin.asked == 3
    assert len(caplog.records) == 1
    assert "TCC_CACHE" in caplog.text


def test_a_link_to_a_folder_above_ends(params: Params) -> None:
    (Path(params.root) / "sub/up").symlink_to(params.root)
    plugin = Folder()
    describe(plugin, params)
    describe(plugin, params)
    assert plugin.asked == 1


@pytest.mark.parametrize("told", [PermissionError(13, "Permission denied", "data/x"), OSError("?")])
def test_what_the_system_refuses_is_a_data_error(
    params: Params, monkeypatch: pytest.MonkeyPatch, told: OSError
) -> None:
    def refuse(params: Params) -> DatasetInfo:
        raise told

    plugin = Folder()
    monkeypatch.setattr(plugin, "describe", refuse)
    said = (
        r"data/x: cannot be read \(Permission denied\)" if told.filename else "the data set cannot"
    )
    with pytest.raises(DataError, match=said):
        describe(plugin, params)
