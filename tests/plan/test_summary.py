"""A plan as JSON, as a file, on the terminal; and how fast it is made."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from tcc.errors import RecordError, TccError
from tcc.plan import find_trial, ledger, outlook, plan_from_json, plan_json, plan_to_json, tree
from tcc.plan.capacity import Node
from tcc.records import FrozenMap, Plan

Planned = Callable[..., Plan]
Store = Any  # the MemoryStore of conftest.py
SMOKE = Path(__file__).parents[2] / "sweeps" / "smoke.yaml"


def test_plan_json(planned: Planned, store: Store) -> None:
    plan = planned()
    store.finish(plan.trials[0])
    found = json.loads(json.dumps(plan_json(plan, ledger(plan, store))))
    assert [*found] == ["study", "counts", "trials", "left_out"]
    assert found["left_out"] == []
    assert plan_json(plan, ledger(plan, store), ("x on y: z",))["left_out"] == ["x on y: z"]
    assert found["counts"]["total"] == len(plan) == len(found["trials"])
    assert sum(found["counts"]["by_kind"].values()) == len(plan)
    assert found["counts"]["by_state"]["cached"] == 1
    assert [*found["trials"][0]] == [
        "id", "kind", "tasks", "datasets", "axes", "seed", "needs", "state", "label"
    ]  # fmt: skip
    enhancement = next(item for item in found["trials"] if item["kind"] == "enhancement")
    assert enhancement["axes"] == {"beta": 0.0, "lambda_b": 0.1, "lambda_e": 0.1}


def test_a_plan_survives_its_file(planned: Planned) -> None:
    plan = planned()
    again = plan_from_json(plan_to_json(plan))
    assert again == plan
    assert isinstance(again.trials[0].recipe.method.params, FrozenMap)
    assert hash(again) == hash(plan)


def test_a_torn_or_foreign_file_is_refused(planned: Planned) -> None:
    text = plan_to_json(planned())
    for wrong in ("", "{}", text[:-100], text.replace('"seed": 0', '"seed": 1', 1)):
        with pytest.raises(RecordError):
            plan_from_json(wrong)


def test_a_plan_that_misses_a_parent_is_refused(planned: Planned) -> None:
    plan = planned()
    orphans = Plan(study="x", trials=tuple(trial for trial in plan if trial.needs))
    with pytest.raises(RecordError, match="is needed and not there"):
        plan_from_json(plan_to_json(orphans))


def test_find_trial(planned: Planned) -> None:
    plan = planned()
    wanted = plan.trials[3]
    assert find_trial(plan, wanted.id) == wanted
    shortest = next(
        wanted.id[:n]
        for n in range(1, 17)
        if sum(trial.id.startswith(wanted.id[:n]) for trial in plan) == 1
    )
    assert find_trial(plan, shortest) == wanted
    with pytest.raises(TccError, match="no trial of study 'some' has an id that begins with 'xyz'"):
        find_trial(plan, "xyz")
    with pytest.raises(TccError, match="no trial"):
        find_trial(plan, "")
    shared = next(trial.id[0] for trial in plan if sum(t.id[0] == trial.id[0] for t in plan) > 1)
    with pytest.raises(TccError, match=f"trials begin with {shared!r}"):
        find_trial(plan, shared)


def test_the_tree_shows_every_trial_once(planned: Planned, store: Store) -> None:
    plan = planned()
    base = next(trial for trial in plan if trial.kind == "base")
    store.finish(base)
    console = Console(width=200, file=io.StringIO())
    states = ledger(plan, store)
    ahead = outlook(plan, states, store, [Node(name="here", cpu=2, gpu=0)])
    tree.print_plan(plan, states, ahead, left_out=["x on [y]: z"], console=console)
    text = console.file.getvalue()  # type: ignore[attr-defined]
    drawn = text.split("left out")[0].splitlines()[1:]
    counts = [line.split(" × ")[0].split()[-1] for line in drawn if " × " in line]
    assert sum(map(int, counts)) + len(drawn) - len(counts) == len(plan)
    assert any(f"{base.label}  cached" in line for line in drawn)
    assert f"{len(plan)} trials" in text
    assert "no like one was measured yet" in text
    assert "\nleft out x on [y]: z\n" in text


def test_the_smoke_plan_imports_no_torch_and_is_quick() -> None:
    code = (
        "import json, sys, time; begun = time.process_time()\n"
        "from tcc.plan import expand, ledger, outlook, outlook_json, plan_json\n"
        "from tcc.plan.machine import this_machine; from tcc.spec import load_spec\n"
        "from tcc.stores import open_store\n"
        "plan = expand(load_spec(sys.argv[1])); store = open_store('no/such/store', write=False)\n"
        "states = ledger(plan, store); ahead = outlook(plan, states, store, [this_machine()])\n"
        "json.dumps(plan_json(plan, states) | outlook_json(ahead))\n"
        "names = ('torch', 'torchvision', 'compressai', 'ray', 'wandb', 'rich', 'omegaconf')\n"
        "print([name for name in names if name in sys.modules], time.process_time() - begun)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(SMOKE)], capture_output=True, text=True, check=True
    )
    imported, seconds = done.stdout.strip().rsplit(" ", 1)
    assert imported == "[]"
    assert float(seconds) < 1.0
