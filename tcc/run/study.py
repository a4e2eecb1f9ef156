"""Runs a study: its policy proposes the trials, the store keeps what was planned, Ray runs it."""

from __future__ import annotations

from tcc import registry
from tcc.plan import plan_to_json
from tcc.run.data import prepare
from tcc.run.outcome import RunOutcome, RunSettings
from tcc.run.plan import run_plan
from tcc.search import Policy
from tcc.spec import SweepSpec, resolved_yaml
from tcc.stores import Store


def run_study(
    spec: SweepSpec,
    store: Store,
    *,
    address: str | None = None,
    train: bool = True,
    quiet_stdout: bool = False,
) -> RunOutcome:
    """Runs what a study lacks, and writes its spec and plan into the store.

    ``address``: the Ray to join, as `run_plan` takes it. ``train``: when false, only evaluations
    that trained trials lack. ``quiet_stdout``: progress goes to stderr.

    Raises:
        StoreError, ClusterError, DataError, KeyboardInterrupt: as `run_plan`.
    """
    policy: Policy = registry.load("search", spec.search.policy)
    plan = policy.propose(spec, {})
    for file, text in (("spec.yaml", resolved_yaml(spec)), ("plan.json", plan_to_json(plan))):
        if store.read_study(plan.study, file) != text:  # what is not written keeps its date
            store.write_study(plan.study, file, text)
    settings = RunSettings(
        trackers={"wandb": spec.wandb.model_dump(mode="json")}, quiet_stdout=quiet_stdout
    )
    return run_plan(
        plan, store.uri, address=address, settings=settings, train=train, prepare=prepare
    )
