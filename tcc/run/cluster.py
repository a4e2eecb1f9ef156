"""Ray as a study uses it: quiet, joined or started, and left as it was found."""

from __future__ import annotations

import logging
import math
import os
import secrets
import signal
import socket
import sys
import textwrap
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import Any

import yaml

from tcc.errors import ClusterError
from tcc.plan.capacity import Node

DRIVER = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_AIR_NEW_OUTPUT": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",  # the trainable hides the GPUs itself
    "RAY_CHDIR_TO_TRIAL_DIR": "0",  # Tune's trial folders are scratch
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",  # 90 ms a trial, and the store has it all
    "TUNE_DISABLE_SIGINT_HANDLER": "1",  # Ctrl-C is ours
    "TUNE_GLOBAL_CHECKPOINT_S": "1e9",  # a restart reads the store, never Tune's snapshot
    "TUNE_PRINT_ALL_TRIAL_ERRORS": "0",
}
WORKER = {
    "TUNE_FUNCTION_THREAD_TIMEOUT_S": "60",  # a reset that gives up early would lose its trial
    "PYTHONDONTWRITEBYTECODE": "",  # compiled modules make worker starts cheap
}
LOCAL = {
    "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0",  # workers share this very environment: nothing to pack
}
AUTOSCALER_CONFIG = "~/ray_bootstrap_config.yaml"  # where `ray up` leaves it on the head node
ANSWER_WITHIN_S = 10.0
CLIENT_TRIES = 4  # Ray forks a client's server from a busy process on the head: some die of it
VITAL = ("raylet", "gcs_server")
GO_ON = "what was done is kept, the same command goes on from there"


class Cluster:
    """The Ray that this process is connected to."""

    def __init__(self, ray: Any):
        self._ray = ray
        self._nodes: list[Node] = []
        self._read_at = -math.inf

    @property
    def by_client(self) -> bool:
        """Joined by ``ray://``: this process is no part of the cluster."""
        return self._ray.util.client.ray.is_connected()

    @property
    def scratch(self) -> str:
        """Ray's folder for its session: what a killed driver leaves lies with what Ray leaves."""
        return self._ray._private.worker._global_node.get_session_dir_path()

    def nodes(self, max_age_s: float = 5.0) -> list[Node]:
        """The nodes there are, and those that the autoscaler may add where its config is known.

        Raises:
            ClusterError: the node that this process belongs to is lost; without it nothing can run.
        """
        if trouble := self.trouble():
            raise ClusterError(trouble)
        if time.monotonic() - self._read_at > max_age_s:
            alive = {node["NodeID"]: node for node in self._ray.nodes() if node["Alive"]}
            if not self.by_client and self._ray.get_runtime_context().get_node_id() not in alive:
                raise ClusterError(f"this machine's node of the Ray cluster is lost; {GO_ON}")
            self._nodes = [_node(node) for node in alive.values()] + autoscaling_nodes()
            self._read_at = time.monotonic()
        return self._nodes

    def trouble(self) -> str:
        """What is gone of the Ray that this process started, "" for nothing. Ray itself takes long
        to notice."""
        if self.by_client:
            return ""
        started = self._ray._private.worker._global_node.all_processes
        for kind in VITAL:
            if any(it.process.poll() is not None for it in started.get(kind, ())):
                return f"Ray's {kind} on this machine has died; {GO_ON}"
        return ""


@contextmanager
def connect(address: str | None) -> Iterator[Cluster]:
    """Joins the Ray at an address (or at RAY_ADDRESS), or starts one on this machine.

    A Ray that this process is already connected to is used as it is. Whatever was begun here ends
    with the block.

    Raises:
        ClusterError: the cluster cannot be reached or joined, or Ray cannot start.
    """
    address = address or os.environ.get("RAY_ADDRESS") or "local"
    with _environment(address == "local"), _silent_stdout():
        import ray

        logging.getLogger("ray").setLevel(logging.CRITICAL)
        if ray.is_initialized():
            yield Cluster(ray)
            return
        try:
            _init(ray, address)
        except Exception as error:  # no narrower one: where a node dies at its start, Ray raises it
            raise ClusterError(_why(address, error)) from error
        try:
            with _ended_by_sigterm():
                yield Cluster(ray)
        finally:
            ray.shutdown()


def _init(ray: Any, address: str) -> None:
    options: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.CRITICAL}
    if address == "local":
        options["include_dashboard"] = False
    else:
        host, _, port = address.removeprefix("ray://").rpartition(":")
        if host and port.isdecimal():  # Ray itself would try for minutes
            socket.create_connection((host, int(port)), timeout=ANSWER_WITHIN_S).close()
        own = {name: value for name, value in os.environ.items() if name.startswith("TCC_")}
        options["runtime_env"] = {"env_vars": DRIVER | WORKER | own}
    with _silent_stderr():
        for more in reversed(range(CLIENT_TRIES if address.startswith("ray://") else 1)):
            try:
                ray.init(address, **options)
                return
            except ConnectionError:
                if not more:
                    raise


@contextmanager
def _environment(local: bool) -> Iterator[None]:
    """What Ray reads when it is imported and when it starts; put back as it was."""
    wanted = DRIVER | (WORKER | LOCAL if local else {})
    if local and "RAY_AUTH_MODE" not in os.environ and "ray" not in sys.modules:
        # Ray would write a token into the home, which then turns authentication on elsewhere.
        wanted |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}
    before = {name: os.environ.get(name) for name in wanted}
    os.environ.update(wanted)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def autoscaling_nodes() -> list[Node]:
    """The node types of the cluster launcher's config, where this machine is its head."""
    path = Path(AUTOSCALER_CONFIG).expanduser()
    if not path.is_file():
        return []
    try:
        config = yaml.safe_load(path.read_text(encoding="utf-8"))
        most = int(config.get("max_workers", 0))
        types = config["available_node_types"].items()
        return [_node_type(name, kind, most) for name, kind in types]
    except (OSError, yaml.YAMLError, AttributeError, KeyError, TypeError, ValueError) as error:
        raise ClusterError(f"{path} is not a Ray cluster config: {error}") from error


def _node(node: dict[str, Any]) -> Node:
    resources = node["Resources"]
    return Node(
        name=f"node {node['NodeManagerAddress']}",
        cpu=resources.get("CPU", 0.0),
        gpu=resources.get("GPU", 0.0),
    )


def _node_type(name: str, kind: dict[str, Any], most: int) -> Node:
    resources = kind.get("resources") or {}
    return Node(
        name=f"node type {name}",
        cpu=float(resources.get("CPU", 0)),
        gpu=float(resources.get("GPU", 0)),
        count=min(int(kind.get("max_workers", most)), most),
    )


def _why(address: str, error: BaseException) -> str:
    reason = textwrap.shorten(str(error), 300) or type(error).__name__
    if address == "local":
        return f"Ray could not be started on this machine: {reason}"
    return (
        f"no Ray cluster could be joined at {address!r}: {reason}\n"
        "give the address of a running head (host:port, ray://host:port or auto), with "
        "RAY_AUTH_MODE=token and its RAY_AUTH_TOKEN where it wants one, or leave out --address to "
        "start Ray on this machine"
    )


@contextmanager
def _silent_stdout() -> Iterator[None]:
    """Keeps what Ray prints of dead workers, which its own settings do not silence, from stdout."""
    with Path(os.devnull).open("w") as nowhere, redirect_stdout(nowhere):
        yield


@contextmanager
def _silent_stderr() -> Iterator[None]:
    """Keeps what Ray's C++ says of every second that it waits from stderr: an error says it all."""
    sys.stderr.flush()
    kept = os.dup(2)
    try:
        with Path(os.devnull).open("w") as nowhere:
            os.dup2(nowhere.fileno(), 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)


@contextmanager
def _ended_by_sigterm() -> Iterator[None]:
    """Lets SIGTERM end a study as Ctrl-C does. Ray has put its own handler in place by now."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
