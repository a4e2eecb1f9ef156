"""The folder backend: where a store may lie, and what it says when it may not."""

from __future__ import annotations

import itertools
import multiprocessing
import os
import tempfile
import time
from pathlib import Path

import pytest

from tcc import registry
from tcc.errors import StoreError
from tcc.stores import Backend, open_store
from tcc.stores.folder import FolderBackend


def test_every_store_plugin_is_a_backend():
    for name in registry.names("stores"):
        plugin = registry.load("stores", name)
        assert issubclass(plugin, Backend)
        assert plugin.schemes


def test_a_path_and_its_uri_open_the_same_store(tmp_path, make_record, monkeypatch):
    open_store(tmp_path / "my runs").commit(make_record())
    monkeypatch.chdir(tmp_path)
    quoted = (tmp_path / "my runs").as_uri()
    for uri in ("my runs", tmp_path / "my runs", str(tmp_path / "my runs"), quoted):
        store = open_store(uri, write=False)
        assert store.result_ids() == {"aa11"}
        assert store.uri == str(tmp_path / "my runs")


def test_the_home_is_expanded(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert open_store("~/runs").uri == str(tmp_path / "runs")


def test_opening_to_write_creates_and_to_read_does_not(tmp_path):
    open_store(tmp_path / "a" / "b")
    assert list((tmp_path / "a" / "b").iterdir()) == []
    open_store(tmp_path / "c", write=False)
    assert not (tmp_path / "c").exists()


@pytest.mark.parametrize(
    "uri, reason",
    [
        ("ftp://host/runs", "unknown URI scheme 'ftp': there is file"),
        ("file://elsewhere/runs", "names the host 'elsewhere'"),
        ("", "is empty"),
        ("/proc/runs", "cannot be written"),
    ],
)
def test_a_store_that_cannot_be_says_why(uri, reason):
    with pytest.raises(StoreError, match=reason):
        open_store(uri)


def test_a_file_is_not_a_store(tmp_path):
    (tmp_path / "runs").write_text("")
    with pytest.raises(StoreError, match="is a file"):
        open_store(tmp_path / "runs")
    with pytest.raises(StoreError, match="cannot be written"):
        open_store(tmp_path / "runs" / "below")
    assert open_store(tmp_path / "runs", write=False).result_ids() == set()


def test_a_read_only_folder_is_refused_to_writers_only(make_record):
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        store = open_store(folder)
        store.commit(make_record())
        for path in [Path(folder), *Path(folder).rglob("*")]:
            path.chmod(0o555 if path.is_dir() else 0o444)
        assert _unprivileged(_read_and_write, folder) == ({"aa11"}, "Permission denied")


def test_a_full_disk_is_a_store_error_and_leaves_no_half_file(tmp_path, monkeypatch):
    backend = FolderBackend(str(tmp_path))
    backend.put("a/b", b"old")

    def full(path, data):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(StoreError, match=r"a/b cannot be written \(No space left on device\)"):
        backend.put("a/b", b"new")
    assert backend.get("a/b") == b"old"
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["b"]


def test_content_is_on_the_disk_before_its_name_is(tmp_path, monkeypatch):
    order = []
    fsync, replace = os.fsync, Path.replace

    def note_fsync(handle):
        order.append("fsync")
        fsync(handle)

    def note_replace(path, target):
        order.append("replace")
        return replace(path, target)

    monkeypatch.setattr(os, "fsync", note_fsync)
    monkeypatch.setattr(Path, "replace", note_replace)
    FolderBackend(str(tmp_path)).put("a/b", b"x")
    assert order == ["fsync", "replace"]


def test_a_writer_killed_at_any_moment_leaves_a_whole_record(tmp_path, make_record):
    store = open_store(tmp_path)
    records = [make_record(rd_cost=float(value), images=200) for value in range(3)]
    store.commit(records[0])
    for moment in range(8):
        process = multiprocessing.get_context("fork").Process(
            target=_commit_for_ever, args=(store, records)
        )
        process.start()
        time.sleep(0.02 + 0.007 * moment)
        process.kill()
        process.join()
        assert store.record("aa11") in records
        assert store.problems() == ()


def test_find_matches_segments(tmp_path):
    backend = FolderBackend(str(tmp_path))
    for key in ("t/a/x.json", "t/b/x.json", "t/b/y.json", "t/b/z/x.json"):
        backend.put(key, b"")
    assert sorted(backend.find("t/*/x.json")) == ["t/a/x.json", "t/b/x.json"]
    assert sorted(backend.find("t/b/*.json")) == ["t/b/x.json", "t/b/y.json"]
    assert backend.find("none/*") == []


def _unprivileged(function, *arguments):
    """Calls in a forked process that permissions bind, which they do not for root."""
    context = multiprocessing.get_context("fork")
    receive, send = context.Pipe(duplex=False)

    def run():
        if os.geteuid() == 0:
            os.setuid(65534)
        send.send(function(*arguments))

    process = context.Process(target=run)
    process.start()
    answer = receive.recv() if receive.poll(30) else None
    process.join(30)
    return answer


def _read_and_write(folder):
    found = open_store(folder, write=False).result_ids()
    try:
        open_store(folder)
    except StoreError as error:
        return found, "Permission denied" if "Permission denied" in str(error) else str(error)
    return found, "written"


def _commit_for_ever(store, records):
    for record in itertools.cycle(records):
        store.commit(record)
