"""A real S3-compatible server on loopback, and buckets in it."""

from __future__ import annotations

import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tcc.errors import StoreError
from tcc.stores import Store, objects, open_store
from tcc.stores.objects import ObjectBackend

_START_S = 30.0


class Server:
    """moto's server in a process of its own; what it holds ends with it."""

    def __init__(self) -> None:
        self.port = _free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.process = self._start()

    def make_bucket(self) -> str:
        """Makes an empty bucket and gives its name."""
        name = f"bucket-{uuid.uuid4().hex[:12]}"
        request = urllib.request.Request(f"{self.url}/{name}", method="PUT")
        request.add_header(
            "Authorization", "AWS4-HMAC-SHA256 Credential=x/1/us-east-1/s3/aws4_request"
        )
        urllib.request.urlopen(request, timeout=10).close()
        return name

    def end(self) -> None:
        """Ends the server at once, as a power loss would."""
        self.process.kill()
        self.process.wait(10)

    def again(self) -> None:
        """A new server at the same address, with nothing in it."""
        self.process = self._start()

    def _start(self) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(self.port)]
        null = subprocess.DEVNULL
        process = subprocess.Popen(command, stdout=null, stderr=null)
        end = time.monotonic() + _START_S
        while time.monotonic() < end:
            try:
                urllib.request.urlopen(self.url, timeout=5).close()
                return process
            except OSError:
                assert process.poll() is None, "moto's server ended by itself"
                time.sleep(0.1)
        process.kill()
        raise AssertionError("moto's server did not start")


def _free_port() -> int:
    import socket

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


@pytest.fixture(scope="session")
def server() -> Iterator[Server]:
    started = Server()
    yield started
    started.end()


@pytest.fixture(autouse=True)
def environment(
    server: Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Iterator[dict[str, str]]:
    """What a user sets, for this process and those it starts."""
    given = {
        "AWS_ENDPOINT_URL": server.url,
        "AWS_ACCESS_KEY_ID": "tester",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
        "TCC_CACHE": str(tmp_path / "cache"),
    }
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    yield {**os.environ, **given}
    for site in objects._sites.values():
        with suppress(StoreError, OSError):  # or this process would try it when it ends
            site.working.send()
    objects._sites.clear()


@pytest.fixture
def uri(server: Server) -> str:
    return f"s3://{server.make_bucket()}/runs"


@pytest.fixture
def store(uri: str) -> Store:
    """In the place of the folder's, for the tests that hold for both."""
    return open_store(uri)


@pytest.fixture
def backend(uri: str) -> ObjectBackend:
    return ObjectBackend(uri)


@pytest.fixture
def elsewhere(tmp_path: Path, environment: dict[str, str]) -> Callable[..., str]:
    """Runs Python code in another process with another cache, as on another machine; gives what it
    printed. ``uri`` is what the code may read as ``URI``."""

    def run(code: str, uri: str, cache: str = "other") -> str:
        done = subprocess.run(
            [sys.executable, "-c", f"from tcc.stores import open_store\nURI = {uri!r}\n{code}"],
            env=environment | {"TCC_CACHE": str(tmp_path / cache)},
            capture_output=True,
            text=True,
            timeout=50,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run
