"""What an object store says when it cannot: one clear message, within bounded time."""

from __future__ import annotations

import importlib.util
import os
import signal
import socket
import threading
import time
import urllib.request

import pytest

from tcc.errors import StoreError
from tcc.stores import open_store
from tcc.stores.objects import ObjectBackend, _drivers, _remote

ACTIONS = {
    "get": lambda backend: backend.get("a"),
    "put": lambda backend: backend.put("a", b""),
    "create": lambda backend: backend.create("a", b""),
    "delete": lambda backend: backend.delete("a"),
    "stamp": lambda backend: backend.stamp("a"),
    "stamps": lambda backend: backend.stamps("trials/*/a"),
    "local": lambda backend: backend.local("a"),
    "folder": lambda backend: backend.folder("trials/a", create=True),
    "now": lambda backend: backend.now(),
    "touch": lambda backend: backend.touch("a"),
    "peek": lambda backend: backend.peek("a", 3),
    "check": lambda backend: backend.check_writable(),
}


def test_a_bucket_that_is_not_there_is_named_and_not_made():
    backend = ObjectBackend("s3://no-such-bucket/runs")
    for action in (*ACTIONS.values(), *ACTIONS.values()):
        with pytest.raises(StoreError, match="there is no bucket no-such-bucket; create it first"):
            action(backend)


def test_missing_credentials_are_named(uri, monkeypatch, tmp_path):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(StoreError, match="no credentials for it were found; set AWS_ACCESS_KEY_ID"):
        open_store(uri)


def test_refused_credentials_are_named(uri, server):
    backend = ObjectBackend(uri)
    backend.put("a", b"1")
    _authenticate(server.url, after=0)
    try:
        for action in ("get", "put", "create", "stamps", "stamp"):
            with pytest.raises(StoreError, match=r"refused the credentials .*; check AWS_ACCESS"):
                ACTIONS[action](backend)
    finally:
        _authenticate(server.url, after=10**9)
    assert backend.get("a") == b"1"


@pytest.mark.parametrize("uri, extra", [("gs://b/runs", "gcs"), ("abfs://b/runs", "azure")])
def test_a_driver_that_is_not_installed_is_named_with_its_extra(uri, extra):
    package = _drivers.DRIVERS[uri[:4].strip(":/")].package
    if importlib.util.find_spec(package):
        pytest.skip(f"{package} is installed")
    with pytest.raises(StoreError, match=rf"needs the package {package}; .*tcc\[{extra}\]"):
        open_store(uri)


@pytest.mark.parametrize("action", ["get", "put", "create", "stamps", "now"])
def test_a_server_that_is_gone_is_a_store_error_in_bounded_time(action, monkeypatch):
    monkeypatch.setattr(_remote, "PATIENCE_S", 1.0)
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{_unused_port()}")
    begun = time.monotonic()
    with pytest.raises(StoreError, match=r"did not answer within 1 s .*AWS_ENDPOINT_URL"):
        ACTIONS[action](ObjectBackend("s3://bucket/runs"))
    assert time.monotonic() - begun < 5


def test_a_server_that_accepts_and_says_nothing_is_a_store_error(monkeypatch):
    monkeypatch.setattr(_remote, "PATIENCE_S", 1.0)
    monkeypatch.setattr(_drivers, "ANSWER_S", 1)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{silent.getsockname()[1]}")
        begun = time.monotonic()
        with pytest.raises(StoreError, match="did not answer within 1 s"):
            ObjectBackend("s3://bucket/runs").get("a")
        assert time.monotonic() - begun < 10


def test_a_server_that_pauses_is_waited_for(uri, server, monkeypatch):
    monkeypatch.setattr(_drivers, "ANSWER_S", 1)
    backend = ObjectBackend(uri)
    backend.put("a", b"1")
    os.kill(server.process.pid, signal.SIGSTOP)
    awake = threading.Timer(3.0, os.kill, (server.process.pid, signal.SIGCONT))
    awake.start()
    try:
        backend.put("a", b"2")
        assert backend.create("b", b"3") is True
    finally:
        awake.join()
    assert backend.get("a") == b"2"


def test_a_creation_whose_answer_was_lost_is_known_as_ones_own(uri, server, monkeypatch):
    monkeypatch.setattr(_drivers, "ANSWER_S", 1)
    backend = ObjectBackend(uri)
    backend.now()
    os.kill(server.process.pid, signal.SIGSTOP)  # it takes the request, and answers too late
    awake = threading.Timer(2.5, os.kill, (server.process.pid, signal.SIGCONT))
    awake.start()
    try:
        assert backend.create("lease", b"mine") is True
    finally:
        awake.join()
    assert backend.create("lease", b"mine") is False


def test_a_server_that_ignores_conditions_is_refused(uri, monkeypatch):
    monkeypatch.setattr(_remote.Remote, "create", lambda self, key, data: True)
    with pytest.raises(StoreError, match="knows no If-None-Match"):
        open_store(uri)


def test_a_cache_that_cannot_be_written_is_named(uri, monkeypatch):
    monkeypatch.setenv("TCC_CACHE", "/proc/nowhere")
    store = open_store(uri)
    store.write_study("tiny", "spec.yaml", "x")
    with pytest.raises(StoreError, match=r"/proc/nowhere.*set TCC_CACHE to a folder"):
        store.log_path("aa11")


def _authenticate(url: str, after: int) -> None:
    """moto's own switch: from so many requests on, keys must be those of a user it knows."""
    request = urllib.request.Request(f"{url}/moto-api/reset-auth", data=str(after).encode())
    request.add_header("Content-Type", "text/plain")
    urllib.request.urlopen(request, timeout=10).close()


def _unused_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]
