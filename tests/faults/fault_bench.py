"""A study under test: its folder, its command line in processes of its own, what they left."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
from fault_notes import Note, Notes

HERE = Path(__file__).parent

STUDY = """
study: faults
data: {scenes: {train: 24, val: 6, select: 8}}
pairs: [{base: depth, enhancement: reconstruction}]
grid: {lambda_b: [0.3, 1], lambda_e: [0.3, 1], beta: [0, 0.1]}
also: [direct, standalone, single_layer, pixels]
model: {channels: [4, 6, 8], latent: 4, blocks: 1}
train: {steps: 120, batch: 4, select_every: 40, warm_start: pretrain}
wandb: {mode: disabled}
"""  # 28 trials
HALF = ("grid.lambda_b=[0.3]",)  # 16 of them
SMALL = ("grid.lambda_b=[0.3]", "grid.lambda_e=[0.3]", "also=[direct]")  # 7 of them


@dataclass(frozen=True)
class Done:
    """A command that has ended."""

    code: int
    out: str
    err: str

    @property
    def messages(self) -> list[str]:
        """What it said to its user of what went wrong."""
        return [line for line in self.err.splitlines() if line.startswith("tcc: ")]


class Command:
    """A running ``tcc …``; it leads a process group of its own, as under a terminal."""

    def __init__(self, arguments: Sequence[str], folder: Path, environment: Mapping[str, str]):
        stem = folder / f"said-{time.time_ns()}"
        self._files = [stem.with_suffix(suffix) for suffix in (".out", ".err")]
        self.begun = time.monotonic()
        with self._files[0].open("w") as out, self._files[1].open("w") as err:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "tcc", *arguments],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                cwd=folder,
                env=environment,
                start_new_session=True,
                preexec_fn=_hears_interrupts,
            )

    @property
    def running(self) -> bool:
        return self.process.poll() is None

    def signal(self, number: int, *, group: bool = False) -> None:
        """``group``: to all processes of its group, as a terminal does."""
        (os.killpg if group else os.kill)(self.process.pid, number)

    def wait(self, within_s: float = 400) -> Done:
        code = self.process.wait(within_s)
        return Done(code, *(path.read_text() for path in self._files))


def _hears_interrupts() -> None:
    """What was started in the background ignores Ctrl-C, and so would all below it."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


class Bench:
    """A folder with a spec, a store and what `injected.sitecustomize` is told and notes."""

    def __init__(self, folder: Path, *, store: Path | None = None, text: str = STUDY):
        self.folder, self.store = folder, store or folder / "runs"
        self.spec, self.faults = folder / "faults.yaml", folder / "injected"
        self.faults.mkdir(parents=True, exist_ok=True)
        self.spec.write_text(text)
        self._notes = Notes(self.faults / "notes.txt")
        self.set()

    @property
    def notes(self) -> list[Note]:
        """All that was noted so far."""
        return self._notes.read()

    def set(self, **settings: Any) -> None:
        """What `injected.sitecustomize` does from the next process, or trial, on."""
        scratch = self.faults / "settings.tmp"
        scratch.write_text(json.dumps(settings))
        scratch.replace(self.faults / "settings.json")

    def arm(self, key: str, when: str) -> None:
        """Kills the next process that is about to, or did, make a file of this name visible."""
        (self.faults / "fired.json").unlink(missing_ok=True)
        (self.faults / "armed.json").write_text(json.dumps({"key": key, "when": when}))

    def disarm(self) -> bool:
        """Whether it had fired."""
        (self.faults / "armed.json").unlink(missing_ok=True)
        return (self.faults / "fired.json").exists()

    @property
    def environment(self) -> dict[str, str]:
        own = {
            "TCC_FAULTS": str(self.faults),
            "PYTHONPATH": os.pathsep.join([str(HERE / "injected"), *_given("PYTHONPATH")]),
            "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0",  # or workers get a packed copy of the checkout
            "RAY_AUTH_MODE": "disabled",
            "PYTHONDONTWRITEBYTECODE": "",
        }
        return {k: v for k, v in os.environ.items() if k != "RAY_ADDRESS"} | own

    def start(self, *arguments: str, verb: str = "run", **environment: str) -> Command:
        """``arguments``: overrides and options."""
        subject = "faults" if verb in ("retry", "status", "report") else str(self.spec)
        line = [verb, subject, *arguments, "--store", str(self.store)]
        return Command(line, self.folder, self.environment | environment)

    def run(self, *arguments: str, verb: str = "run", within_s: float = 400) -> Done:
        return self.start(*arguments, verb=verb).wait(within_s)

    def plan(self, *overrides: str) -> list[dict[str, Any]]:
        return json.loads(self.run(*overrides, "--json", verb="plan").out)["trials"]

    def processes(self) -> list[psutil.Process]:
        """All that runs for this study, whoever its parent is by now; no zombies."""
        return [process for process in psutil.process_iter() if self._owns(process)]

    def _owns(self, process: psutil.Process) -> bool:
        try:
            return process.environ().get("TCC_FAULTS") == str(self.faults)
        except psutil.Error:
            return False

    def kill_all(self) -> int:
        """SIGKILL to all of it, as when the power goes; gives how many there were."""
        killed = sum(kill(process) for process in self.processes())
        until(lambda: not self.processes(), "killed processes end", within_s=30)
        return killed

    @contextmanager
    def ended(self) -> Iterator[None]:
        """Whatever happens within, nothing of this study runs afterwards."""
        try:
            yield
        finally:
            self.kill_all()


def kill(process: psutil.Process) -> bool:
    """SIGKILL; false where it had ended already."""
    try:
        process.send_signal(signal.SIGKILL)
    except psutil.NoSuchProcess:
        return False
    return True


def until(condition: Callable[[], Any], what: str, within_s: float = 300) -> Any:
    """Waits for a condition to hold; gives what it gave."""
    end = time.monotonic() + within_s
    while not (found := condition()):
        assert time.monotonic() < end, f"waited {within_s:.0f} s: {what}"
        time.sleep(0.05)
    return found


def _given(name: str) -> list[str]:
    """An environment variable, where it is set."""
    return [os.environ[name]] if os.environ.get(name) else []
