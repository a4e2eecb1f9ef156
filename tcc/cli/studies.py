"""The verbs that look at a spec or a study: its plan, where it stands, its report."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from tcc.cli.options import (
    json_option,
    overrides_argument,
    spec_argument,
    store_option,
    study_argument,
)
from tcc.cli.output import FAILED, print_json, progress, say, show

if TYPE_CHECKING:
    from tcc.plan.capacity import Node


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
        say(f"{spec}: valid, study {plan.study!r} of {len(plan)} trials")
        for line in loaded.left_out:
            say(f"left out: {line}")


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
        show(lambda it: print_plan(planned, states, ahead, left_out=loaded.left_out, console=it))
    if problems:
        from tcc.plan.distrust import distrusts

        say("\n".join(f"not trusted: {it}" for it in distrusts(problems)), err=True)


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
    print_json(found.to_json()) if as_json else show(lambda it: report.print_status(found, it))


@click.command()
@study_argument
@store_option
@click.option("--past", metavar="DIGEST", default="", help="Of a plan that was replaced since.")
@click.option(
    "--overlay",
    type=click.Path(path_type=Path),
    help="CSV of a paper's curves, drawn over the panels that they fit.",
)
@click.option("--watch", is_flag=True, help="Draw it again as results arrive, until all are there.")
@json_option
def report(
    study: str, store: str, past: str, overlay: Path | None, watch: bool, as_json: bool
) -> None:
    """Draw the report of a study: curves, verdicts, tables."""
    from tcc.report import EVERY_S, build_report, report_json, watch_report
    from tcc.stores import open_store

    if watch:
        if as_json:
            raise click.UsageError("--json prints one result, --watch draws many: give one of them")
        wanted = {"past": past, "overlay": overlay, "reload_s": round(EVERY_S)}
        watched = partial(build_report, study, **wanted)
        watch_report(
            lambda: watched(open_store(store, write=False)),
            lambda files: say(f"{files.told}{', more to come' * files.unfinished}"),
            EVERY_S,
        )
        return
    opened = open_store(store, write=False)
    with progress() as tell:
        draw = report_json if as_json else build_report
        found = draw(study, opened, past=past, overlay=overlay, tell=tell)
    print_json(found) if isinstance(found, dict) else say(found.told)


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
        say(f"tcc: {line}", err=True)
    print_json(result.to_json()) if as_json else say(result.summary())
    return FAILED if result.failed or result.lost else 0


def _nodes(address: str | None) -> Sequence[Node]:
    """The nodes of a cluster; without an address, this machine as the only one."""
    if address is None:
        from tcc.plan.machine import this_machine

        return [this_machine()]
    from tcc.run.cluster import connect

    with connect(address) as cluster:
        return cluster.nodes()


VERBS = (check, plan, status, report, sync)
