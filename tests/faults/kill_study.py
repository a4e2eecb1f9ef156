"""Kills a study with -9 at random moments until it is done, and compares what it came to.

    python tests/faults/kill_study.py SEED [--kills 50] [--overrides …] [--folder DIR] [--json]

The study is run undisturbed first, for reference; then in other stores, one after the other until
all kills are spent. Killed are the driver, workers, the raylet, the GCS, all of them at once, and
whoever makes a chosen file of the store visible, just before or just after; a dead driver's command
is given again at once, at times twice. Exit code 0: all results are those of the undisturbed run,
and no step was trained twice but those after the last saved state.
"""

from __future__ import annotations

import argparse
import json
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import NamedTuple

import psutil
from fault_bench import Bench, Command, kill
from fault_notes import account
from fault_results import Results, differences, leftovers, results

TARGETS = {"driver": 3, "worker": 4, "raylet": 2, "gcs": 1, "all": 2, "write": 6}  # how often
KEYS = (  # of the store's files, whose writers are killed
    r"/trial\.json$",
    r"/state\.json$",
    r"/training\.safetensors$",
    r"/checkpoint\.safetensors$",
    r"/last\.safetensors$",
    r"/evaluations/\w+\.json$",
    r"/result\.json$",
    r"/leases/\d+\.json$",
    r"/studies/",
)
SAVE_EVERY_S = 0.25
HANGS_AFTER_S = 240  # without a step or an end
TWICE = 0.15  # how often the command is given twice at the same time


def shuffled(chance: random.Random) -> Iterator[str]:
    """Targets without end, each as often as `TARGETS` says in every so many."""
    while True:
        yield from chance.sample(list(TARGETS), sum(TARGETS.values()), counts=TARGETS.values())


class Undisturbed(NamedTuple):
    """What a study comes to when it is left alone."""

    results: Results
    seconds: float


@dataclass
class Figures:
    """What a seed came to."""

    seed: int
    trials: int = 0
    undisturbed_s: float = 0.0
    rounds: int = 0
    disturbed_s: float = 0.0
    kills: Counter[str] = field(default_factory=Counter)
    starts: int = 0
    ends: Counter[int] = field(default_factory=Counter)  # exit code → drivers
    steps: int = 0
    steps_again: int = 0
    wrong: list[str] = field(default_factory=list)

    @property
    def time_ratio(self) -> float:
        return self.disturbed_s / self.rounds / self.undisturbed_s if self.rounds else 0.0

    def summary(self) -> str:
        kills = ", ".join(f"{number} {target}" for target, number in sorted(self.kills.items()))
        return "\n".join(
            [
                f"seed {self.seed}: {self.trials} trials, {self.rounds} rounds",
                f"kills: {self.kills.total()} ({kills})",
                f"drivers: {self.starts}, by exit code {dict(self.ends)}",
                f"steps: {self.steps}, of which {self.steps_again} again, all after the last save",
                f"time: {self.disturbed_s:.0f} s, a round {self.time_ratio:.1f} times undisturbed",
                *(f"WRONG {line}" for line in self.wrong),
                "as undisturbed" if not self.wrong else "NOT as undisturbed",
            ]
        )


class Tormentor:
    """Runs one study to its end in one store, with kills at random moments."""

    def __init__(
        self,
        bench: Bench,
        overrides: Sequence[str],
        figures: Figures,
        *,
        targets: Iterator[str],
        chance: random.Random,
        tell: Callable[[str], None],
    ):
        self.bench, self.overrides, self.figures = bench, overrides, figures
        self.targets, self.chance, self.tell = targets, chance, tell
        self.drivers: list[Command] = []

    def run(self, kills: int) -> int:
        """Ends when the study is done; gives how many of the kills were spent."""
        begun, spent, done = time.monotonic(), 0, False
        self._start()
        self._plan_next()
        while not done:
            time.sleep(0.05)
            done = self._reap()
            if not done and not self.drivers:
                self._start()
            if spent < kills and self._due() and (target := self._strike()):
                spent += 1
                self.figures.kills[target] += 1
                self.tell(f"{time.monotonic() - begun:6.1f} s  kill {spent}: {target}")
                self._plan_next()
            if time.monotonic() - self._moved() > HANGS_AFTER_S:
                self.figures.wrong.append(f"no step and no end for {HANGS_AFTER_S} s")
                self.bench.kill_all()
        self.bench.disarm()
        for driver in self.drivers:
            self._ended(driver)
        self.figures.disturbed_s += time.monotonic() - begun
        return spent

    def _start(self) -> None:
        for _ in range(2 if self.chance.random() < TWICE else 1):
            self.drivers.append(self.bench.start(*self.overrides))
            self.figures.starts += 1
        self.started = time.time()

    def _reap(self) -> bool:
        """Whether a driver said that the study is done."""
        ended = [driver for driver in self.drivers if not driver.running]
        self.drivers = [driver for driver in self.drivers if driver.running]
        return 0 in [self._ended(driver) for driver in ended]

    def _ended(self, driver: Command) -> int:
        done = driver.wait()
        self.figures.ends[done.code] += 1
        self.tell(f"a driver ended: {done.code} {done.err.strip()[-300:]}")
        stopped = done.code == 2 and len(done.messages) == 1 and "Traceback" not in done.err
        if not stopped and done.code not in (0, -signal.SIGKILL):
            self.figures.wrong.append(f"exit code {done.code}: {(done.err or done.out)[-2000:]}")
        return done.code

    def _plan_next(self) -> None:
        """The next kill: soon after steps were made, or at any time, which may be a start."""
        self.target = next(self.targets)
        self.wait_for_steps = self.chance.random() < 0.8
        self.delay_s = self.chance.uniform(0.2, 6.0)
        self.planned, self.armed = time.time(), False

    def _due(self) -> bool:
        since = self.planned
        if self.wait_for_steps:
            after = [n.at for n in self.bench.notes if n.what == "step" and n.at > since]
            if not after:
                return False
            since = after[0]
        return time.time() - since > self.delay_s

    def _strike(self) -> str:
        """Kills the target; "" where there is none now."""
        match self.target:
            case "write":
                return self._strike_writer()
            case "all":
                return self.target if self.bench.kill_all() else ""
            case "driver":
                alive = [driver.process.pid for driver in self.drivers if driver.running]
                victims = [process for process in self._alive() if process.pid in alive]
            case "worker":
                victims = [p for p in self._alive() if _runs_trials(p)]
            case "raylet":
                victims = [p for p in self._alive() if _title(p).endswith("/raylet")]
            case _:
                victims = [p for p in self._alive() if _title(p).endswith("/gcs_server")]
        return self.target if victims and kill(self.chance.choice(victims)) else ""

    def _strike_writer(self) -> str:
        if not self.armed:
            self.key, when = self.chance.choice(KEYS), self.chance.choice(("before", "after"))
            self.bench.arm(self.key, when)
            self.armed, self.armed_at = True, time.time()
        elif (self.bench.faults / "fired.json").exists():
            return f"write {self.key}"
        elif time.time() - self.armed_at > 10:
            self.armed = False
            return f"write {self.key}" if self.bench.disarm() else ""
        return ""

    def _alive(self) -> list[psutil.Process]:
        return self.bench.processes()

    def _moved(self) -> float:
        """When something moved last, on the monotonic clock."""
        noted = self.bench.notes
        last = max(noted[-1].at if noted else 0.0, self.started)
        return time.monotonic() - (time.time() - last)


def _runs_trials(process: psutil.Process) -> bool:
    title = _title(process)
    return title.startswith("ray::") and "IDLE" not in title and "Agent" not in title


def _title(process: psutil.Process) -> str:
    try:
        line = process.cmdline()
    except psutil.Error:
        return ""
    return line[0] if line else ""


def kill_study(
    seed: int,
    folder: Path,
    *,
    kills: int = 50,
    overrides: Sequence[str] = (),
    reference: Undisturbed | None = None,
    tell: Callable[[str], None] = lambda line: None,
) -> Figures:
    """``reference``: what the undisturbed study comes to; None: it is run here."""
    figures = Figures(seed=seed)
    chance, targets = random.Random(seed), shuffled(random.Random(seed))
    expected, figures.undisturbed_s = reference or undisturbed(folder / "undisturbed", overrides)
    tell(f"undisturbed: {len(expected)} trials in {figures.undisturbed_s:.0f} s")
    spent = 0
    while spent < kills or not figures.rounds:
        bench = Bench(folder / f"round-{figures.rounds}")
        bench.set(save_every_s=SAVE_EVERY_S)
        with bench.ended():
            tormentor = Tormentor(
                bench, overrides, figures, targets=targets, chance=chance, tell=tell
            )
            spent += tormentor.run(kills - spent)
            figures.rounds += 1
            last = bench.run(*overrides)
            ids = [trial["id"] for trial in bench.plan(*overrides)]
        figures.trials = len(ids)
        found = account(bench.notes)
        figures.steps += found.steps
        figures.steps_again += found.again
        figures.wrong += found.wrong + differences(results(bench.store), expected, ids)
        figures.wrong += [f"left behind: {name}" for name in leftovers(bench.store)]
        if last.code != 0 or "running" in last.out:
            figures.wrong.append(f"a run of the finished study: {last}")
    return figures


def undisturbed(folder: Path, overrides: Sequence[str] = ()) -> Undisturbed:
    """Runs the study where nothing happens to it."""
    bench = Bench(folder)
    bench.set(save_every_s=SAVE_EVERY_S)
    begun = time.monotonic()
    with bench.ended():
        done = bench.run(*overrides, within_s=1200)
    assert done.code == 0, done
    return Undisturbed(results(bench.store), time.monotonic() - begun)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("seed", type=int)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--overrides", nargs="*", default=[], help="of the study, key=value")
    parser.add_argument("--folder", type=Path, help="for the stores; default: a temporary one")
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="tcc-kills-") as scratch:
        folder = asked.folder or Path(scratch)
        tell = lambda line: print(line, file=sys.stderr, flush=True)  # noqa: E731
        found = kill_study(
            asked.seed, folder, kills=asked.kills, overrides=asked.overrides, tell=tell
        )
    figures = asdict(found) | {"time_ratio": found.time_ratio}
    print(json.dumps(figures, indent=2) if asked.json else found.summary())
    return 1 if found.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
