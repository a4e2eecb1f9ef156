"""Training on several devices: the numbers of one, and no process left whatever happens."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path

import pytest

from tcc.errors import BusyError, DataError, LostProcessError, NonFiniteError, TrialError
from tcc.records import FailureRecord, TrialRecord, TrialSpec
from tcc.stores import Store, _lease, open_store
from tcc.trial import attempt, devices

TWO = ("train.devices=2", "train.select_every=20")


def trained(trial: TrialSpec, store: Store, observer=None) -> TrialRecord:
    outcome = attempt(trial, store, observer)
    assert isinstance(outcome, TrialRecord), outcome.reason
    return outcome


def ranks_of(parent: int) -> list[int]:
    """The processes that another one started."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            _name, _, rest = stat.read_text().rpartition(")")
        except OSError:
            continue
        if rest.split()[1] == str(parent) and rest.split()[0] != "Z":
            found.append(int(stat.parent.name))
    return found


def wait_until(condition, seconds: float = 40.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.05)


class Acting:
    """Does something at the first values of a step."""

    def __init__(self, at: int, act):
        self.at, self.act, self.steps = at, act, []

    def progress(self, progress): ...

    def log(self, step, values):
        self.steps.append(step)
        if step == self.at and "val/rd_cost" not in values:
            self.act()

    def finished(self, outcome): ...


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_two_devices_train_as_one_that_accumulates(tiny_plan, tmp_path):
    # a base with noise, and a standalone, whose side inputs have no gradient
    found = []
    for field in ("accumulate", "devices"):
        shared = [f"train.{kind}.{field}=2" for kind in ("base", "standalone")]
        plan = tiny_plan("model.hyperprior=true", "train.steps=12", "train.select_every=4", *shared)
        store, records = open_store(tmp_path / field), {}
        for trial in plan:
            if trial.axes.get("beta", 0) == 0 and trial.kind in (
                *("pretrain", "base", "enhancement", "standalone"),
            ):
                records[trial.kind] = trained(trial, store)
        found.append((store, records))
    assert not multiprocessing.active_children()
    for kind in ("base", "standalone"):
        (store, one), (other_store, two) = ((store, records[kind]) for store, records in found)
        costs = [[cost for _, cost in record.training.rd_cost] for record in (one, two)]
        assert costs[0] == pytest.approx(costs[1], rel=1e-5)
        rows, others = list(store.metrics(one.trial.id)), list(other_store.metrics(two.trial.id))
        assert len(rows) == len(others) > 4
        for row, other in zip(rows, others, strict=True):
            assert row == pytest.approx(other, rel=1e-4)
        bpp = [record.evaluations[0].rates[0].bpp for record in (one, two)]
        assert bpp[0] == pytest.approx(bpp[1], rel=1e-4)


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_an_interrupt_saves_and_the_next_run_goes_on(tiny_plan, tmp_path):
    one, two = (
        next(t for t in tiny_plan(*changes, "train.steps=200") if t.kind == "pretrain")
        for changes in (("train.accumulate=2",), TWO)
    )
    expected = trained(one, open_store(tmp_path / "one"))
    store = open_store(tmp_path / "two")

    def end_all():  # as a scheduler does
        for pid in (*(child.pid for child in multiprocessing.active_children()), os.getpid()):
            os.kill(pid, signal.SIGTERM)

    with pytest.raises(KeyboardInterrupt):
        attempt(two, store, Acting(20, end_all))
    assert not multiprocessing.active_children()
    assert store.state(two.id) is not None
    again = Acting(0, None)
    costs = [cost for _, cost in expected.training.rd_cost]
    assert [cost for _, cost in trained(two, store, again).training.rd_cost] == pytest.approx(costs)
    assert 20 < again.steps[0] < 200
    rows = open_store(tmp_path / "one").metrics(one.id)
    assert [row["step"] for row in store.metrics(two.id)] == [row["step"] for row in rows]


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_killed_rank_ends_the_attempt_and_leaves_nobody(tiny_plan, tmp_path):
    trial = next(t for t in tiny_plan(*TWO, "train.steps=4000") if t.kind == "pretrain")
    store = open_store(tmp_path)
    last = Acting(20, lambda: max(multiprocessing.active_children(), key=lambda p: p.pid).kill())
    with pytest.raises(LostProcessError, match="device 1 was killed by SIGKILL"):
        attempt(trial, store, last)
    assert store.failure(trial.id) is None  # it goes on when it is run again
    assert not multiprocessing.active_children()


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_what_a_rank_cannot_read_is_told_in_its_own_words(tiny_plan, tmp_path):
    root = f"data.scenes.root={tmp_path}/data"
    store = open_store(tmp_path / "runs")
    trained(next(t for t in tiny_plan(root) if t.kind == "pretrain"), store)
    torn = sorted((tmp_path / "data").rglob("*leftImg8bit.png"))[0]
    torn.write_bytes(torn.read_bytes()[:100])
    outcome = attempt(next(t for t in tiny_plan(root, *TWO) if t.kind == "pretrain"), store)
    assert isinstance(outcome, FailureRecord)
    assert outcome.reason.startswith(f"{torn}: cannot be read as an image")
    assert not multiprocessing.active_children()


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_ranks_end_with_their_parent(tiny_text, tmp_path, data_cache):
    spec = tmp_path / "tiny.yaml"
    spec.write_text(tiny_text)
    code = f"""
if __name__ == "__main__":
    from tcc.plan import expand
    from tcc.spec import load_spec
    from tcc.stores import open_store
    from tcc.trial import attempt
    changes = ("train.devices=2", "train.steps=100000", "train.select_every=4")
    plan = expand(load_spec({str(spec)!r}, changes))
    trial = next(trial for trial in plan if trial.kind == "pretrain")
    attempt(trial, open_store({str(tmp_path / "runs")!r}))
"""
    script = tmp_path / "run.py"
    script.write_text(code)
    parent = subprocess.Popen([sys.executable, str(script)])
    runs = tmp_path / "runs" / "trials"
    wait_until(lambda: list(runs.glob("*/metrics.jsonl")), 120)
    ranks = ranks_of(parent.pid)
    assert len(ranks) >= 2
    parent.kill()
    parent.wait()
    wait_until(lambda: not any(Path(f"/proc/{rank}").exists() for rank in ranks))


class Deaf:
    def began(self, step, seconds): ...

    def values(self, step, values): ...


def says(line, message, then=None, after=0.0):
    """A rank that says something, perhaps, and ends in some way."""
    time.sleep(after)
    if message:
        line.send(message)
    if then:
        then()


def kills_itself():
    os.kill(os.getpid(), signal.SIGKILL)


def ends_early():
    os._exit(3)


LOST = ("failed", (TrialError("RuntimeError: connection closed by peer"), False))
NAN = ("failed", (NonFiniteError("bpp is nan", step=3, term="bpp"), True))
TORN = ("failed", (DataError("a.png: torn"), True))


@pytest.mark.parametrize(
    ("first", "second", "error", "message"),
    [
        ((LOST,), (TORN, None, 0.3), DataError, "a.png: torn"),
        ((LOST,), (None, kills_itself, 0.3), LostProcessError, "device 1 was killed by SIGKILL"),
        ((None, ends_early), (None, None, 9), TrialError, "device 0 ended with code 3"),
        ((LOST,), (None, None, 9), TrialError, "connection closed"),
        ((NAN,), (None, None, 9), NonFiniteError, "bpp is nan"),
    ],
)
def test_of_several_faults_the_cause_is_raised(monkeypatch, first, second, error, message):
    monkeypatch.setattr(devices, "GRACE_S", 1.0)
    context = multiprocessing.get_context("fork")
    with devices._ended() as ranks:
        for said in (first, second):
            line, end = context.Pipe(duplex=False)
            process = context.Process(target=says, args=(end, *said))
            ranks.append(devices._Rank(process, line))
            process.start()
            end.close()
        relay = devices._Relay(ranks, Deaf())
        with pytest.raises(error, match=message) as caught:
            _hear(relay)
    assert getattr(caught.value, "step", None) == (3 if error is NonFiniteError else None)
    assert not multiprocessing.active_children()


def _hear(relay) -> None:
    end = time.monotonic() + 5
    while time.monotonic() < end:
        relay.hear()
        relay.raise_fault()


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_rank_stores_nothing_of_a_trial_that_was_taken_over(tiny_plan, tmp_path, monkeypatch):
    trial = next(t for t in tiny_plan(*TWO, "train.steps=60") if t.kind == "pretrain")
    store, taker = open_store(tmp_path), open_store(tmp_path)
    monkeypatch.setattr(_lease, "_renewals", _lease._Renewals())  # as if this process were stopped
    monkeypatch.setattr(_lease, "RENEW_S", 600.0)
    with ExitStack() as others:

        def take_over():
            for path in tmp_path.glob("trials/*/leases/*"):
                os.utime(path, (0, 0))
            others.enter_context(taker.working_on(trial.id, "other"))
            taker.save_checkpoint(trial.id, lambda path: path.write_bytes(b"by the taker"))

        with pytest.raises(BusyError, match="was taken over by"):
            attempt(trial, store, Acting(20, take_over))
        assert taker.checkpoint(trial.id).read_bytes() == b"by the taker"
        assert taker.state(trial.id) is None
        assert taker.progress(trial.id).phase == "train"  # another's to tell
        assert taker.holder(trial.id).run == "other"
    assert not multiprocessing.active_children()
