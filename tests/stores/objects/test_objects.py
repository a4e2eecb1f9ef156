"""The object backend: what every backend promises, over a real server."""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tcc.errors import StoreError
from tcc.stores import open_store
from tcc.stores.objects import ObjectBackend, _downloads
from tcc.trial.parents import weights


def test_a_key_holds_what_was_put_last_or_nothing(backend):
    assert backend.get("a/b") is None
    assert backend.stamp("a/b") is None
    assert backend.local("a/b") is None
    assert backend.peek("a/b", 3) is None
    assert backend.touch("a/b") is False
    assert backend.get("a/b") is None
    backend.delete("a/b")
    for data in (b"first", b"", b"\0second"):
        backend.put("a/b", data)
        assert backend.get("a/b") == data
        assert backend.peek("a/b", 3) == data[:3]
        assert backend.local("a/b").read_bytes() == data
        assert backend.stamp("a/b").size == len(data)
    backend.delete("a/b")
    assert backend.get("a/b") is None
    assert backend.find("**") == []


def test_find_matches_segments_and_hides_what_starts_with_a_dot(backend):
    for key in ("t/a/x.json", "t/b/x.json", "t/b/y.json", "t/b/z/x.json", "t/b/.x.json"):
        backend.put(key, b"12")
    assert sorted(backend.find("t/*/x.json")) == ["t/a/x.json", "t/b/x.json"]
    assert sorted(backend.find("t/b/*.json")) == ["t/b/x.json", "t/b/y.json"]
    assert backend.find("t/b/.*.json") == ["t/b/.x.json"]
    assert len(backend.find("t/b/**")) == 4
    assert backend.find("none/*") == []
    assert backend.stamps("t/a/*")["t/a/x.json"].size == 2


def test_many_keys_are_read_at_once(backend):
    held = {f"t/{number}": b"%d" % number * 3 for number in range(40)}
    for key, data in held.items():
        backend.put(key, data)
    assert backend.get_many([*held, "t/none"]) == held
    assert backend.get_many(held, 2) == {key: data[:2] for key, data in held.items()}
    assert backend.get_many([]) == {}


def test_times_are_of_the_servers_clock(backend):
    before = backend.now()
    backend.put("a", b"1")
    first = backend.stamp("a")
    assert abs(first.modified - before) < 5
    assert backend.stamps("*")["a"] == first
    time.sleep(1.1)  # S3 tells whole seconds
    assert backend.touch("a")
    assert backend.stamp("a").modified > first.modified
    assert backend.get("a") == b"1"


def test_one_of_many_threads_creates(backend):
    def create(number):
        return backend.create("a/lease", str(number).encode())

    with ThreadPoolExecutor(8) as pool:
        won = list(pool.map(create, range(16)))
    assert won.count(True) == 1
    assert backend.get("a/lease") == str(won.index(True)).encode()
    backend.delete("a/lease")
    assert backend.create("a/lease", b"again")


def test_one_of_many_processes_creates(backend, uri):
    backend.now()  # a fork inherits a connection that it cannot use
    context = multiprocessing.get_context("fork")
    start, answers = context.Barrier(8), context.Queue()

    def create(number):
        start.wait()
        answers.put((ObjectBackend(uri).create("lease", b"%d" % number), number))

    processes = [context.Process(target=create, args=(number,)) for number in range(8)]
    for process in processes:
        process.start()
    got = [answers.get(timeout=30) for _ in processes]
    for process in processes:
        process.join(10)
    winners = [number for won, number in got if won]
    assert len(winners) == 1
    assert backend.get("lease") == b"%d" % winners[0]


def test_a_staged_file_becomes_the_content_when_the_block_ends(backend):
    with backend.stage("t/weights") as path:
        path.write_bytes(b"one")
        assert backend.get("t/weights") is None
    assert backend.get("t/weights") == b"one"

    def dies():
        with backend.stage("t/weights") as path:
            path.write_bytes(b"half")
            raise ValueError("no memory")

    with pytest.raises(ValueError, match="no memory"):
        dies()
    assert backend.get("t/weights") == b"one"
    assert list(path.parent.iterdir()) == []


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_a_large_upload_that_is_killed_never_shows(backend, uri, environment):
    backend.put("t/weights", b"old")
    code = f"""
from tcc.stores.objects import ObjectBackend
with ObjectBackend({uri!r}).stage("t/weights") as path:
    path.write_bytes(bytes(300_000_000))
    print("uploading", flush=True)
"""
    for delay in (0.05, 0.3, 0.6):
        command = [sys.executable, "-c", code]
        process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE)
        assert process.stdout is not None
        process.stdout.readline()
        time.sleep(delay)
        process.kill()
        process.wait(10)
        assert backend.stamp("t/weights").size in (3, 300_000_000)
        assert backend.find("**") == ["t/weights"]
    with backend.stage("t/weights") as path:
        path.write_bytes(bytes(110_000_000))
    assert backend.stamp("t/weights").size == 110_000_000
    assert backend.local("t/weights").stat().st_size == 110_000_000


def test_readers_see_whole_contents_while_it_is_replaced(backend):
    contents = [bytes([value]) * 200_000 for value in range(4)]
    backend.put("a", contents[0])
    ended = threading.Event()

    def replace():
        while not ended.is_set():
            for content in contents:
                backend.put("a", content)

    writer = threading.Thread(target=replace)
    writer.start()
    try:
        for _ in range(10):
            assert backend.get("a") in contents
    finally:
        ended.set()
        writer.join()


def test_a_file_is_fetched_once_for_all_processes_of_a_machine(backend, uri):
    backend.put("t/weights", b"w" * 1000)
    context = multiprocessing.get_context("fork")
    answers = context.Queue()

    def fetch():
        path = ObjectBackend(uri).local("t/weights")
        answers.put((str(path), path.stat().st_ino))

    processes = [context.Process(target=fetch) for _ in range(4)]
    for process in processes:
        process.start()
    got = {answers.get(timeout=30) for _ in processes}
    for process in processes:
        process.join(10)
    assert len(got) == 1
    path = backend.local("t/weights")
    assert (str(path), path.stat().st_ino) in got
    assert path.name == "weights"


def test_the_cache_forgets_older_contents_and_is_bounded(backend, monkeypatch):
    backend.put("t/a", b"1" * 1000)
    old = backend.local("t/a")
    os.utime(old, (1, 1))
    backend.put("t/a", b"2" * 1000)
    new = backend.local("t/a")
    assert new.read_bytes() == b"2" * 1000
    assert not old.exists()
    os.utime(new, (2, 2))
    monkeypatch.setattr(_downloads, "MAX_BYTES", 2500)
    paths = []
    for number in range(4):
        backend.put(f"t/{number}", bytes(1000))
        paths.append(backend.local(f"t/{number}"))
        os.utime(paths[-1], (number + 10, number + 10))
    assert [path.exists() for path in (new, *paths)] == [False, False, False, True, True]
    assert backend.local("t/0").read_bytes() == bytes(1000)


def test_a_copy_that_lost_its_content_is_fetched_again(backend):
    """As a power loss leaves it: its name is there, its content is not."""
    backend.put("t/a", b"1" * 1000)
    copy = backend.local("t/a")
    for left in (b"", b"1" * 999):
        copy.write_bytes(left)
        assert backend.local("t/a").read_bytes() == b"1" * 1000
    copy.write_bytes(bytes(1000))
    assert backend.local("t/a", fresh=True).read_bytes() == b"1" * 1000
    assert backend.local("t/a").read_bytes() == b"1" * 1000
    assert backend.local("t/b", fresh=True) is None


def test_a_copy_is_on_the_disk_before_its_name_is(backend, monkeypatch):
    order = []
    fsync, replace = os.fsync, Path.replace
    monkeypatch.setattr(os, "fsync", lambda handle: order.append("content") or fsync(handle))
    monkeypatch.setattr(
        Path, "replace", lambda path, target: order.append("name") or replace(path, target)
    )
    backend.put("t/a", b"1")
    backend.local("t/a")
    assert order == ["content", "name"]


def test_a_file_that_was_just_given_out_stays_beyond_the_bound(backend, monkeypatch):
    monkeypatch.setattr(_downloads, "MAX_BYTES", 1500)
    paths = []
    for number in range(3):
        backend.put(f"t/{number}", bytes(1000))
        paths.append(backend.local(f"t/{number}"))
    assert all(path.exists() for path in paths)


@pytest.mark.parametrize("left", [b"", bytes(1000)])
def test_a_copy_that_is_spoilt_takes_no_result_back(store, finish, left):
    record = finish()
    sha256 = record.training.checkpoint_sha256
    copy = store.checkpoint("aa11")
    whole = copy.read_bytes()
    copy.write_bytes((left or b"")[: len(whole)])
    time.sleep(1.1)  # S3 tells whole seconds
    store.save_checkpoint("aa11", lambda path: path.write_bytes(whole))  # newer than its result
    assert store.checkpoint_problem("aa11", thorough=True) is None
    copy.write_bytes((left or b"")[: len(whole)])
    assert weights(store, "aa11", sha256)["w"].tolist() == [1.0] * 64
    assert store.record("aa11") == record


def test_a_tampered_object_is_not_believed(store, backend, make_record):
    store.commit(make_record())
    text = backend.get("trials/aa11/evaluations/ev1.json")
    backend.put("trials/aa11/evaluations/ev1.json", text.replace(b'"value": 0.1', b'"value": 0.2'))
    assert store.record("aa11").evaluations == ()
    assert "ev1.json is torn or was edited" in store.problems()[0]


def test_spellings_of_a_place_are_one(uri):
    assert ObjectBackend(f"{uri}/").uri == uri
    assert ObjectBackend(uri.replace("/runs", "//runs")).uri == uri
    store = open_store(uri)
    store.write_study("tiny", "spec.yaml", "x")
    assert open_store(f"{uri}/", write=False).studies() == ("tiny",)
    assert open_store(f"{uri}2", write=False).studies() == ()


def test_the_whole_bucket_can_be_a_store(uri):
    store = open_store(uri.removesuffix("/runs"))
    store.write_study("tiny", "spec.yaml", "x")
    assert store.studies() == ("tiny",)


def test_the_plugin_imports_no_driver():
    code = (
        "import sys; from tcc import registry; registry.load('stores', 'objects'); "
        "print([m for m in ('fsspec', 's3fs', 'botocore', 'aiohttp', 'torch') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=50)
    assert done.stdout.strip() == "[]", done.stderr


@pytest.mark.parametrize("uri", ["s3://", "s3:///runs", "s3://bucket/../x", "s3://bucket/x?y=1"])
def test_a_uri_that_names_no_place_is_refused(uri):
    with pytest.raises(StoreError, match="s3://BUCKET/PREFIX"):
        open_store(uri, write=False)
