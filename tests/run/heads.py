"""A Ray cluster's head for tests, as a user starts it, and drivers that join it."""

from __future__ import annotations

import os
import secrets
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

STARTED: list[subprocess.Popen[str]] = []
WHOLE = {"GRPC_ENABLE_FORK_SUPPORT": "0"}  # or one in a few clients' servers dies as it is forked
RAY = str(Path(sys.executable).with_name("ray"))
DRIVER = """
import sys
from fake_trials import ATTEMPT, make_plan, make_trial
from tcc.errors import TccError
from tcc.run import run_plan

store, label, count, address = (*sys.argv[1:], "", "", "")[:4]
plan = make_plan(
    make_trial("base"), make_trial("child", ("base",)), make_trial("report", label="report")
) if not label else make_plan(*(make_trial(f"t{n}", label=label) for n in range(int(count))))
try:
    outcome = run_plan(plan, store, execute=ATTEMPT, address=address or None)
    print(outcome.summary())
    sys.exit(outcome.exit_code)
except TccError as error:
    print(f"refused: {error}", file=sys.stderr)
    sys.exit(2)
except KeyboardInterrupt:
    sys.exit(130)
"""


@dataclass(frozen=True)
class Head:
    """``gcs``, ``jobs``, ``client``: addresses."""

    gcs: str
    jobs: str
    client: str
    token: str

    def start(
        self, store: Path, *, label: str = "", count: int = 0, address: str = "", token: str = ""
    ) -> subprocess.Popen[str]:
        """A driver, of ``count`` trials of a label or of a base, a child and one that reports."""
        return start(
            store,
            label=label,
            count=count,
            address=address,
            environment=self.environment(token or self.token),
        )

    def environment(self, token: str) -> dict[str, str]:
        return os.environ | {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": token}


def start(
    store: Path,
    *,
    label: str = "",
    count: int = 0,
    address: str = "",
    environment: Mapping[str, str] | None = None,
) -> subprocess.Popen[str]:
    """A driver in a process group of its own."""
    driver = subprocess.Popen(
        [sys.executable, "-c", DRIVER, str(store), label, str(count), address],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment or os.environ,
        start_new_session=True,
    )
    STARTED.append(driver)
    return driver


def end_started() -> None:
    """Ends what a test that failed has left."""
    for driver in STARTED:
        if driver.poll() is None:
            os.killpg(driver.pid, signal.SIGKILL)
            driver.communicate()
    STARTED.clear()


def wait_until(
    ready: Callable[[], object],
    within_s: float = 120,
    *,
    driver: subprocess.Popen[str] | None = None,
) -> None:
    """``driver``: without it, it will not come; if it ends, what it printed is shown."""
    until = time.monotonic() + within_s
    while not ready():
        if driver is not None and driver.poll() is not None:
            raise AssertionError("".join(driver.communicate()))
        assert time.monotonic() < until, "it did not come"
        time.sleep(0.1)


def free_port() -> int:
    """One that no worker of Ray takes: those begin at 10002 and end below 20000."""
    while True:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            if (port := probe.getsockname()[1]) >= 20000:
                return port


@contextmanager
def started_head(more: Mapping[str, str] = WHOLE) -> Iterator[Head]:
    """`ray start --head` as a user starts it, ended by its own process id; ``more``: of its
    environment."""
    gcs, jobs, client, agent = (free_port() for _ in range(4))
    token = secrets.token_hex(32)
    made = Head(
        gcs=f"127.0.0.1:{gcs}",
        jobs=f"http://127.0.0.1:{jobs}",
        client=f"ray://127.0.0.1:{client}",
        token=token,
    )
    with tempfile.TemporaryDirectory(prefix="ray-", ignore_cleanup_errors=True) as folder:
        process = subprocess.Popen(
            [
                *(RAY, "start", "--head", "--block", "--num-cpus=2", f"--temp-dir={folder}"),
                *(
                    f"--port={gcs}",
                    f"--dashboard-port={jobs}",
                    f"--ray-client-server-port={client}",
                ),
                f"--dashboard-agent-listen-port={agent}",
            ],
            env={**made.environment(token), **more},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            for port in (gcs, jobs, client):
                wait_for_port(port, process)
            yield made
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(60)


def wait_for_port(port: int, process: subprocess.Popen[bytes]) -> None:
    until = time.monotonic() + 120
    while time.monotonic() < until:
        assert process.poll() is None, "the head ended"
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        time.sleep(0.3)
    raise AssertionError(f"nobody listens at {port}")
