"""What a driver does between Tune's steps, on a real store and without Ray."""

from __future__ import annotations

from pathlib import Path

import pytest
from fake_trials import make_plan, make_trial

from tcc.errors import ClusterError, StoreError
from tcc.plan import ledger
from tcc.plan.capacity import Node
from tcc.records import Progress
from tcc.run import pulse as pulse_module
from tcc.run.events import Event, Outcome
from tcc.run.pulse import Pulse
from tcc.run.schedule import Schedule
from tcc.run.stopping import Ended, Stopping
from tcc.stores import Store, open_store

PLAN = make_plan(make_trial("base", gpu=2), make_trial("other"))
LARGE, SMALL = Node(name="large", cpu=2, gpu=2), Node(name="small", cpu=2, gpu=0)


class Driver:
    """All that a pulse brings together; shows what it says."""

    def __init__(self, store: Store):
        self.said: list[str] = []
        self.nodes = [LARGE, SMALL]
        self.lost = self.told = False
        self.schedule = Schedule(
            PLAN,
            store,
            ledger(PLAN, store),
            [trial.id for trial in PLAN],
            run="a-run",
            priority={"base": 2, "other": 1},
            room=lambda need: 1,
            tell=self.event,
        )
        self.stopping = Stopping(60.0, lambda: self.said.append("workers told"), self.note)
        self.pulse = Pulse(
            self.schedule, self.stopping, self, nodes=self.there, told=lambda: self.told
        )

    def there(self) -> list[Node]:
        if self.lost:
            raise ClusterError("this node is lost")
        return self.nodes

    def event(self, event: Event) -> None: ...

    def progress(self, progress: Progress) -> None: ...

    def tick(self) -> None: ...

    def note(self, text: str) -> None:
        self.said.append(text)


@pytest.fixture
def driver(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Driver:
    monkeypatch.setattr(pulse_module, "WAITS_S", 0.0)
    return Driver(open_store(tmp_path))


def test_what_no_node_holds_any_more_is_said_once_until_one_does_again(driver: Driver) -> None:
    for _ in range(2):
        assert driver.pulse.next() is not None
    driver.pulse.beat()
    assert driver.said == []
    driver.nodes = [SMALL]
    driver.pulse.beat()
    driver.pulse.beat()
    assert driver.said == [
        "waits for a node with 1 CPU and 2 GPU: there is small (2 CPU, 0 GPU); "
        "one that joins is used"
    ]
    driver.nodes = [LARGE]
    driver.pulse.beat()
    driver.nodes = []
    driver.pulse.beat()
    assert len(driver.said) == 3
    assert all("there is none" in text for text in driver.said[1:]), "both shapes wait now"


def test_an_error_of_the_store_begins_to_stop_the_run(driver: Driver) -> None:
    trial = driver.pulse.next()
    assert trial is not None
    driver.schedule.started(trial.id)
    driver.schedule.ended(trial.id, Outcome(how="store", reason="the disk is full"))
    assert driver.pulse.next() is None
    assert isinstance(driver.stopping.cause, StoreError)
    assert driver.said == [
        "workers told",
        "stopping: trials save and end, at most 60 s; Ctrl-C to end at once",
    ]
    assert driver.schedule.exhausted


def test_who_is_told_elsewhere_stops_too(driver: Driver) -> None:
    driver.told = True
    assert driver.pulse.next() is None
    assert isinstance(driver.stopping.cause, KeyboardInterrupt)


def test_a_lost_node_ends_the_run_past_whatever_catches_errors(driver: Driver) -> None:
    driver.lost = True
    with pytest.raises(Ended) as ended:
        driver.pulse.beat()
    assert not isinstance(ended.value, Exception)
    assert str(ended.value.cause) == "this node is lost"
