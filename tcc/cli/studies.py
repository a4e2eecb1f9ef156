"""The verbs that take a spec or a study: from its plan to its report."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tcc.cli.options import (
    address_option,
    json_option,
    overrides_argument,
    running,
    spec_argument,
    store_option,
    study_argument,
)
from tcc.cli.output import FAILED, print_json, say
from tcc.errors import TccError

if TYPE_CHECKING:
    from tcc.plan.capacity import Node
    from tcc.spec import SweepSpec


@click.command()
@spec_argument
@overrides_argument
@json_option
def check(spec: Path, overrides: tuple[str, ...], as_json: bool) -> None:
    """Validate a sweep spec; lists every problem."""
    from tcc.plan import expand
    from tcc.spec import load_spec

    loaded = load_spec(spec, overrides)
    plan = expand(loaded)
    if as_json:
        found = {"study": plan.study, "valid": True, "trials": len(plan)}
        print_json(found | {"left_out": list(loaded.left_out)})
    else:
        click.echo(f"{spec}: valid, study {plan.study!r} of {len(plan)} trials")
        for line in loaded.left_out:
            click.echo(f"left out: {line}")


@click.command()
@spec_argument
@overrides_argument
@store_option
@click.option("--address", help="Ray cluster to plan for; without, this machine.")
@json_option
def plan(
    spec: Path, overrides: tuple[str, ...], store: str, address: str | None, as_json: bool
) -> None:
    """Show the trials of a spec: what is new, cached, blocked, and what it costs."""
    from tcc.plan import expand, ledger, outlook, outlook_json, plan_json, print_plan
    from tcc.spec import load_spec
    from tcc.stores import open_store

    loaded = load_spec(spec, overrides)
    planned, opened = expand(loaded), open_store(store, write=False)
    states = ledger(planned, opened)
    problems = opened.problems()  # of this study: the outlook reads others' files, too
    ahead = outlook(planned, states, opened, _nodes(address))
    if as_json:
        print_json(plan_json(planned, states, loaded.left_out) | outlook_json(ahead))
    else:
        print_plan(planned, states, ahead, left_out=loaded.left_out)
    if problems:
        from tcc.plan.distrust import distrusts

        click.echo("\n".join(f"not trusted: {it}" for it in distrusts(problems)), err=True)


@click.command()
@running
def run(
    spec: Path, overrides: tuple[str, ...], store: str, address: str | None, as_json: bool
) -> int:
    """Run what is not done yet. The same command again is the resume."""
    from tcc.spec import load_spec

    return _run(load_spec(spec, overrides), store, address, as_json)


@click.command()
@spec_argument
@overrides_argument
@store_option
@address_option
@click.option("--run", "also_run", is_flag=True, help="Run the study with what is proposed.")
@json_option
def extend(
    spec: Path, overrides: tuple[str, ...], store: str, address: str | None, also_run: bool,
    as_json: bool,
) -> int:  # fmt: skip
    """Propose λ where a verdict lacks points or overlap, and say what they cost."""
    from tcc.search._extend import extend as propose
    from tcc.search._extend import extension_json, extension_text
    from tcc.spec import load_spec
    from tcc.stores import open_store

    found = propose(load_spec(spec, overrides), open_store(store, write=False))
    if not (also_run and found.pairs):
        print_json(extension_json(found)) if as_json else click.echo(extension_text(found))
        return 0
    if not as_json:
        click.echo(extension_text(found))
    return _run(found.spec, store, address, as_json, extension_json(found))


@click.command()
@running
def evaluate(
    spec: Path, overrides: tuple[str, ...], store: str, address: str | None, as_json: bool
) -> int:
    """Make only the evaluations that finished trials lack; trains nothing."""
    from tcc.run import run_study
    from tcc.spec import load_spec
    from tcc.stores import open_store

    outcome = run_study(
        load_spec(spec, overrides),
        open_store(store),
        address=address,
        train=False,
        quiet_stdout=as_json,
    )
    print_json(outcome.to_json()) if as_json else say(outcome.summary())
    return outcome.exit_code


@click.command()
@study_argument
@store_option
@address_option
@json_option
def retry(study: str, store: str, address: str | None, as_json: bool) -> int:
    """Try again what failed or was skipped in a study."""
    from tcc.run import run_study, stored_spec
    from tcc.stores import open_store

    spec = stored_spec(study, open_store(store, write=False))
    outcome = run_study(spec, open_store(store), address=address, retry=True, quiet_stdout=as_json)
    print_json(outcome.to_json()) if as_json else say(outcome.summary())
    return outcome.exit_code


@click.command()
@spec_argument
@click.argument("trial_id")
@overrides_argument
@store_option
@json_option
def trial(spec: Path, trial_id: str, overrides: tuple[str, ...], store: str, as_json: bool) -> int:
    """Run one trial in this process, without Ray. TRIAL_ID may be its first letters."""
    from tcc.plan import expand, find_trial
    from tcc.records import FailureRecord
    from tcc.spec import load_spec
    from tcc.stores import open_store, to_json
    from tcc.trial import Printing, attempt

    planned = expand(load_spec(spec, overrides))
    chosen = find_trial(planned, trial_id)
    observer = Printing(sys.stderr if as_json else sys.stdout)
    outcome = attempt(chosen, open_store(store), observer, study=planned.study)
    if as_json:
        click.echo(to_json(outcome))
    return FAILED if isinstance(outcome, FailureRecord) else 0


@click.command()
@click.argument("study", required=False)
@store_option
@json_option
def status(study: str | None, store: str, as_json: bool) -> None:
    """Where STUDY stands: counts, running trials, failures, disk; without it, all studies."""
    from tcc import report
    from tcc.stores import open_store

    opened = open_store(store, write=False)
    found = report.studies(opened) if study is None else report.status(study, opened)
    print_json(found.to_json()) if as_json else report.print_status(found)


@click.command()
@study_argument
@store_option
@click.option("--past", metavar="DIGEST", default="", help="Of a plan that was replaced since.")
@json_option
def report(study: str, store: str, past: str, as_json: bool) -> None:
    """Draw the report of a study: curves, verdicts, tables."""
    from tcc.report import build_report, report_json
    from tcc.stores import open_store

    opened = open_store(store, write=False)
    if as_json:
        print_json(report_json(study, opened, past=past))
    else:
        click.echo(build_report(study, opened, past=past).told)


@click.command()
@study_argument
@store_option
@json_option
def sync(study: str, store: str, as_json: bool) -> int:
    """Push to Weights & Biases whatever it lacks of a study."""
    from rich.console import Console

    from tcc.report.sync import sync_study
    from tcc.stores import open_store

    result = sync_study(study, open_store(store), Console(stderr=True))
    for line in result.lines():
        click.echo(f"tcc: {line}", err=True)
    print_json(result.to_json()) if as_json else click.echo(result.summary())
    return FAILED if result.failed or result.lost else 0


def _run(
    spec: SweepSpec,
    store: str,
    address: str | None,
    as_json: bool,
    beside: Mapping[str, Any] | None = None,
) -> int:
    """Runs a study and draws its report; ``beside``: what else the JSON holds."""
    from tcc.report import build_report, mirror_report
    from tcc.run import run_study
    from tcc.stores import open_store

    opened = open_store(store)
    outcome = run_study(spec, opened, address=address, quiet_stdout=as_json)
    told = {**(beside or {}), **outcome.to_json()}
    try:
        files = build_report(outcome.study, opened)
        if files.fresh:
            mirror_report(outcome.study, opened, files)
    except TccError:  # what was run is told all the same
        lost = told | {"report": None, "address": None}
        print_json(lost) if as_json else say(outcome.summary())
        raise
    if as_json:
        print_json(told | {"report": str(files.page), "address": files.address})
    else:
        say(f"{outcome.summary()}\nreport: {files.told}")
    return outcome.exit_code


def _nodes(address: str | None) -> Sequence[Node]:
    """The nodes of a cluster; without an address, this machine as the only one."""
    if address is None:
        from tcc.plan.machine import this_machine

        return [this_machine()]
    from tcc.run.cluster import connect

    with connect(address) as cluster:
        return cluster.nodes()


VERBS = (check, plan, run, extend, evaluate, retry, trial, status, report, sync)
