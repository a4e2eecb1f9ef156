"""Files are there whole or not at all, and what cannot be written is named as it was asked for."""

from __future__ import annotations

from pathlib import Path

import pytest

from tcc.formats import atomic

LONGEST = 255  # bytes of a file's name


def test_a_name_may_be_as_long_as_any(tmp_path: Path) -> None:
    path = tmp_path / ("n" * LONGEST)
    atomic.write_bytes(path, b"one")
    atomic.write_bytes(path, b"two")
    assert path.read_bytes() == b"two"
    assert list(tmp_path.iterdir()) == [path]
    stem = tmp_path / ("n" * (LONGEST - 5))
    assert atomic.write_json(stem, {"a": 1}).read_text() == '{\n "a": 1\n}\n'


@pytest.mark.parametrize("name", ["folder", "n" * (LONGEST + 1), "none/file"])
def test_what_cannot_be_written_is_named_itself(tmp_path: Path, name: str) -> None:
    (tmp_path / "folder").mkdir()
    with pytest.raises(OSError, match=f"{tmp_path / name}'$") as raised:
        atomic.write_bytes(tmp_path / name, b"")
    assert raised.value.filename == str(tmp_path / name)
    assert raised.value.filename2 is None
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]


def test_scratch_names_differ_and_are_hidden(tmp_path: Path) -> None:
    names = {atomic.scratch_name(tmp_path / "a").name for _ in range(100)}
    assert len(names) == 100
    assert all(name.startswith(".") and len(name) < 30 for name in names)


def test_several_files_come_together(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("old")
    with atomic.all_or_none(tmp_path) as folder:
        (folder / "a").write_text("new")
        (folder / "b").write_text("new")
        assert (tmp_path / "a").read_text() == "old"
        assert not (tmp_path / "b").exists()
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {"a": "new", "b": "new"}


@pytest.mark.parametrize("second", ["folder", "n" * (LONGEST + 1), KeyboardInterrupt])
def test_where_one_of_several_fails_what_was_there_stays(
    tmp_path: Path, second: str | type[KeyboardInterrupt]
) -> None:
    (tmp_path / "a").write_text("old")
    (tmp_path / "folder").mkdir()

    def write() -> None:
        with atomic.all_or_none(tmp_path) as folder:
            atomic.write_bytes(folder / "a", b"new")
            if not isinstance(second, str):
                raise second
            atomic.write_bytes(folder / second, b"new")

    if isinstance(second, str):
        with pytest.raises(OSError, match=f"{tmp_path / second}'$"):
            write()
    else:
        with pytest.raises(second):
            write()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "folder"]
    assert (tmp_path / "a").read_text() == "old"


def test_a_folder_that_cannot_be_written_to_is_named(tmp_path: Path) -> None:
    none = tmp_path / "none"
    with pytest.raises(FileNotFoundError, match=f"{none}'$"), atomic.all_or_none(none):
        raise AssertionError("was entered")
