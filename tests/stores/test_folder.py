"""The folder backend: where a store may lie, and what it says when it may not."""

from __future__ import annotations

import errno
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
        ("ftp://host/runs", "unknown URI scheme 'ftp': there is .*file"),
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
    with pytest.raises(StoreError, match="is a file; give a folder"):
        open_store(tmp_path / "runs", write=False)
    assert open_store(tmp_path / "none", write=False).result_ids() == set()


def test_a_read_only_folder_is_refused_to_writers_only(make_record):
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        store = open_store(folder)
        store.commit(make_record())
        for path in [Path(folder), *Path(folder).rglob("*")]:
            path.chmod(0o555 if path.is_dir() else 0o444)
        assert _unprivileged(_read_and_write, folder) == ({"aa11"}, "Permission denied")


def test_content_is_on_the_disk_before_its_name_is_and_then_the_name(tmp_path, monkeypatch):
    order = []
    fsync, replace, link = os.fsync, Path.replace, Path.hardlink_to

    def note_fsync(handle):
        order.append("folder" if Path(f"/proc/self/fd/{handle}").is_dir() else "content")
        fsync(handle)

    def note_replace(path, target):
        order.append("name")
        return replace(path, target)

    def note_link(path, target):
        order.append("name")
        return link(path, target)

    monkeypatch.setattr(os, "fsync", note_fsync)
    monkeypatch.setattr(Path, "replace", note_replace)
    monkeypatch.setattr(Path, "hardlink_to", note_link)
    backend = FolderBackend(str(tmp_path))
    backend.put("a/b", b"x")
    backend.create("a/c", b"x")
    assert order == ["content", "name", "folder"] * 2
    backend.put("a/b", b"y", durable=False)
    backend.create("a/d", b"y", durable=False)
    assert order[6:] == ["name"] * 2


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
    for key in ("t/a/x.json", "t/b/x.json", "t/b/y.json", "t/b/z/x.json", "t/b/.x.json.0.tmp"):
        backend.put(key, key.encode())
    for pattern, found in {
        "t/*/x.json": ["t/a/x.json", "t/b/x.json"],
        "t/b/*.json": ["t/b/x.json", "t/b/y.json"],
        "t/b/*": ["t/b/x.json", "t/b/y.json"],
        "t/b/.*.tmp": ["t/b/.x.json.0.tmp"],
        "t/b/x.json": ["t/b/x.json"],
        "t/b/**": ["t/b/.x.json.0.tmp", "t/b/x.json", "t/b/y.json", "t/b/z/x.json"],
        "t/*": [],
        "none/*": [],
        "t/a/x.json/*": [],
        "**": ["t/a/x.json", *backend.find("t/b/**")],
    }.items():
        assert sorted(backend.find(pattern)) == sorted(found), pattern
    stamps = backend.stamps("t/**")
    assert all(stamp == backend.stamp(key) for key, stamp in stamps.items())
    assert all(stamp.size == len(key) for key, stamp in stamps.items())


def test_a_stamp_is_of_now(tmp_path):
    backend = FolderBackend(str(tmp_path))
    assert backend.stamp("a/b") is None
    assert not backend.touch("a/b")
    assert backend.peek("a/b", 2) is None
    assert list(tmp_path.iterdir()) == []
    backend.put("a/b", b"123")
    assert backend.stamp("a") is None
    assert backend.peek("a/b", 2) == b"12"
    first = backend.stamp("a/b")
    assert first.size == 3
    assert first.modified == pytest.approx(backend.now(), abs=2)
    os.utime(tmp_path / "a" / "b", (1e9, 1e9))
    assert backend.stamp("a/b").modified == 1e9
    assert backend.touch("a/b")
    assert backend.stamp("a/b").modified >= first.modified
    assert backend.get("a/b") == b"123"
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


@pytest.mark.parametrize("seconds", [-300.0, 300.0])
def test_a_clock_that_is_set_makes_no_lease_old(tmp_path, monkeypatch, seconds):
    backend, real = FolderBackend(str(tmp_path)), time.time
    monkeypatch.setattr(time, "time", lambda: real() + seconds)
    backend.now()
    monkeypatch.setattr(time, "time", real)
    backend.put("a", b"1")
    assert backend.now() == pytest.approx(backend.stamp("a").modified, abs=2)


@pytest.mark.parametrize("times", [1, 2])
@pytest.mark.parametrize("name", ["get", "peek", "stamp"])
def test_a_file_that_is_stale_is_opened_once_more_and_then_absent(
    tmp_path, monkeypatch, name, times
):
    """Over NFS, whose server forgets a file that was replaced or deleted by another machine."""
    backend, opened = FolderBackend(str(tmp_path)), []
    backend.put("a", b"123")
    ask = (lambda: backend.peek("a", 3)) if name == "peek" else lambda: getattr(backend, name)("a")
    expected = ask()

    def stale(real):
        def once(*arguments, **how):
            opened.append(1)
            if len(opened) <= times:
                raise OSError(errno.ESTALE, "Stale file handle")
            return real(*arguments, **how)

        return once

    for place, what in ((Path, "read_bytes"), (Path, "open"), (os, "fstat")):
        monkeypatch.setattr(place, what, stale(getattr(place, what)))
    assert ask() == (expected if times == 1 else None)
    assert len(opened) >= 2


def test_a_try_to_write_leaves_nothing(tmp_path, monkeypatch):
    write = Path.write_bytes

    def full(path, data):
        write(path, data[:1])
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(StoreError, match="the disk is full"):
        open_store(tmp_path / "runs")
    assert list((tmp_path / "runs").iterdir()) == []


@pytest.mark.parametrize("links", [True, False])
def test_one_of_many_creates_a_key(tmp_path, links, monkeypatch):
    if not links:  # as on a file system without them
        monkeypatch.setattr(Path, "hardlink_to", _refuse)
    context = multiprocessing.get_context("fork")
    barrier, queue = context.Barrier(8), context.Queue()
    processes = [
        context.Process(target=_create_all, args=(str(tmp_path), name, barrier, queue))
        for name in range(8)
    ]
    for process in processes:
        process.start()
    won = dict(queue.get(timeout=30) for _ in processes)
    for process in processes:
        process.join()
    backend = FolderBackend(str(tmp_path))
    for number in range(20):
        (winner,) = (name for name, numbers in won.items() if number in numbers)
        assert backend.get(f"k/{number}") == f"by {winner}".encode()
    assert len(list((tmp_path / "k").iterdir())) == 20
    assert not backend.create("k/0", b"again", durable=False)


def test_an_answer_that_was_lost_is_found_out(tmp_path, monkeypatch):
    """Over NFS a link may be made, its answer lost, and the try that follows be refused."""
    link = Path.hardlink_to

    def twice(path, target):
        link(path, target)
        return link(path, target)

    monkeypatch.setattr(Path, "hardlink_to", twice)
    backend = FolderBackend(str(tmp_path))
    assert backend.create("a", b"x")
    monkeypatch.setattr(Path, "hardlink_to", link)
    assert not backend.create("a", b"y")
    assert backend.get("a") == b"x"


def _refuse(path, target):
    raise PermissionError(1, "Operation not permitted")


def _create_all(root, name, barrier, queue):
    backend = FolderBackend(root)
    won = set()
    for number in range(20):
        barrier.wait()
        if backend.create(f"k/{number}", f"by {name}".encode()):
            won.add(number)
    queue.put((name, won))


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
