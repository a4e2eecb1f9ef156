"""The commands of tcc. Every verb reads its arguments, calls one room and prints.

Exit codes: 0 all done; 1 some trial failed or was skipped; 2 bad input; 130 interrupted.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click

from tcc.errors import TccError

if TYPE_CHECKING:
    from tcc.plan.capacity import Node
    from tcc.trial.inputs import Outcome

FAILED, BAD_INPUT, INTERRUPTED = 1, 2, 130

spec_argument = click.argument("spec", type=click.Path(path_type=Path))
study_argument = click.argument("study")
overrides_argument = click.argument("overrides", nargs=-1, metavar="[KEY=VALUE]...")
store_option = click.option(
    "--store", default="runs", show_default=True, help="Folder or URI that holds all results."
)
out_option = click.option(
    "-o", "--out", required=True, type=click.Path(path_type=Path), help="Folder to write to."
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print only JSON on stdout.")


def main() -> NoReturn:
    """Runs the command line; whatever is wrong with the input is one message, no traceback."""
    try:
        code = cli.main(prog_name="tcc", standalone_mode=False)
    except TccError as error:
        _say(f"tcc: {error}", err=True)
        code = BAD_INPUT
    except click.ClickException as error:
        error.show()
        code = BAD_INPUT
    except (KeyboardInterrupt, click.Abort):
        _say("\ntcc: interrupted; the same command goes on from here", err=True)
        code = INTERRUPTED
    sys.exit(code or 0)


class _Verbs(click.Group):
    """Leaves an interrupt to `main`: click would write to a terminal that may be gone."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            raise click.Abort from None


@click.group(cls=_Verbs, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="tcc")
def cli() -> None:
    """Plan, run and report rate-distortion studies of scalable learned compression."""


@cli.command()
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
        _print_json(found | {"left_out": list(loaded.left_out)})
    else:
        click.echo(f"{spec}: valid, study {plan.study!r} of {len(plan)} trials")
        for line in loaded.left_out:
            click.echo(f"left out: {line}")


@cli.command()
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
        _print_json(plan_json(planned, states, loaded.left_out) | outlook_json(ahead))
    else:
        print_plan(planned, states, ahead, left_out=loaded.left_out)
    if problems:
        from tcc.plan.distrust import distrusts

        click.echo("\n".join(f"not trusted: {it}" for it in distrusts(problems)), err=True)


@cli.command()
@spec_argument
@overrides_argument
@store_option
@click.option("--address", help="Ray cluster to join; without, a local one is started.")
@json_option
def run(
    spec: Path, overrides: tuple[str, ...], store: str, address: str | None, as_json: bool
) -> int:
    """Run what is not done yet. The same command again is the resume."""
    from tcc.report import build_report, mirror_report
    from tcc.run import run_study
    from tcc.spec import load_spec
    from tcc.stores import open_store

    loaded = load_spec(spec, overrides)
    opened = open_store(store)
    outcome = run_study(loaded, opened, address=address, quiet_stdout=as_json)
    try:
        files = build_report(outcome.study, opened)
        if files.fresh:
            mirror_report(outcome.study, opened, files)
    except TccError:  # what was run is told all the same
        lost = outcome.to_json() | {"report": None, "address": None}
        _print_json(lost) if as_json else _say(outcome.summary())
        raise
    if as_json:
        _print_json(outcome.to_json() | {"report": str(files.page), "address": files.address})
    else:
        _say(f"{outcome.summary()}\nreport: {files.told}")
    return outcome.exit_code


@cli.command()
@spec_argument
@overrides_argument
@store_option
@click.option("--address", help="Ray cluster to join; without, a local one is started.")
@json_option
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
    _print_json(outcome.to_json()) if as_json else _say(outcome.summary())
    return outcome.exit_code


@cli.command()
@study_argument
@store_option
@click.option("--address", help="Ray cluster to join; without, a local one is started.")
@json_option
def retry(study: str, store: str, address: str | None, as_json: bool) -> int:
    """Try again what failed or was skipped in a study."""
    from tcc.run import run_study, stored_spec
    from tcc.stores import open_store

    spec = stored_spec(study, open_store(store, write=False))
    outcome = run_study(spec, open_store(store), address=address, retry=True, quiet_stdout=as_json)
    _print_json(outcome.to_json()) if as_json else _say(outcome.summary())
    return outcome.exit_code


@cli.command()
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


@cli.command()
@click.argument("study", required=False)
@store_option
@json_option
def status(study: str | None, store: str, as_json: bool) -> None:
    """Where STUDY stands: counts, running trials, failures, disk; without it, all studies."""
    from tcc import report
    from tcc.stores import open_store

    opened = open_store(store, write=False)
    found = report.studies(opened) if study is None else report.status(study, opened)
    _print_json(found.to_json()) if as_json else report.print_status(found)


@cli.command()
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
        _print_json(report_json(study, opened, past=past))
    else:
        click.echo(build_report(study, opened, past=past).told)


@cli.command()
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
    _print_json(result.to_json()) if as_json else click.echo(result.summary())
    return FAILED if result.failed or result.lost else 0


@cli.command()
@click.argument("checkpoint")
@click.argument("images", nargs=-1, required=True, type=click.Path(path_type=Path))
@out_option
@store_option
@json_option
def encode(checkpoint: str, images: tuple[Path, ...], out: Path, store: str, as_json: bool) -> int:
    """Write a scalable file of each of IMAGES, or of all in a folder.

    CHECKPOINT is a trial's id, its first letters, or the path of its folder or checkpoint.
    """
    from tcc.trial import files

    return _told(files.encode(checkpoint, images, out, store=store), as_json)


@cli.command()
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "--layer",
    type=click.Choice(["base", "enhancement", "all"]),
    default="all",
    show_default=True,
    help="What to decode; of the base alone, nothing else is read.",
)
@click.option("--checkpoint", help="The trial that wrote FILES; without, it is looked for.")
@out_option
@store_option
@json_option
def decode(
    files: tuple[Path, ...], layer: str, checkpoint: str | None, out: Path, store: str,
    as_json: bool,
) -> int:  # fmt: skip
    """Decode scalable files, or all in a folder, to pictures and predictions."""
    from tcc.trial import files as coded

    found = coded.decode(files, out, layer=layer, store=store, checkpoint=checkpoint)
    return _told(found, as_json)


@cli.command()
@click.argument("anchor", type=click.Path(path_type=Path))
@click.argument("test", type=click.Path(path_type=Path))
@click.option("--metric", help="Name of the metric; needed where a file holds several.")
@click.option("--lower-is-better", is_flag=True, help="The metric falls as quality rises.")
@json_option
def bdrate(
    anchor: Path, test: Path, metric: str | None, lower_is_better: bool, as_json: bool
) -> None:
    """The BD-rate of TEST against ANCHOR (CompressAI JSON or CSV), with its verdict."""
    from tcc.curves.files import bdrate_json, bdrate_text, verdict_on_files

    found = verdict_on_files(anchor, test, metric=metric, lower_is_better=lower_is_better)
    _print_json(bdrate_json(found)) if as_json else click.echo(bdrate_text(found))


@cli.command(name="list")
@click.argument("room", required=False)
@json_option
def list_plugins(room: str | None, as_json: bool) -> None:
    """List the plug-ins: tasks, datasets, methods, stores, tracking, search."""
    from tcc import registry

    if room is not None and room not in registry.ROOMS:
        raise click.BadParameter(registry.unknown("room", room, tuple(registry.ROOMS)))
    found = {name: registry.names(name) for name in ([room] if room else registry.ROOMS)}
    if as_json:
        _print_json(found)
    else:
        click.echo("\n".join(f"{name}: {', '.join(plugins)}" for name, plugins in found.items()))


def _nodes(address: str | None) -> Sequence[Node]:
    """The nodes of a cluster; without an address, this machine as the only one."""
    if address is None:
        from tcc.plan.machine import this_machine

        return [this_machine()]
    from tcc.run.cluster import connect

    with connect(address) as cluster:
        return cluster.nodes()


def _told(outcome: Outcome, as_json: bool) -> int:
    """Prints what came of many files; the exit code."""
    if as_json:
        _print_json(outcome.to_json())
    elif outcome.done:
        click.echo(outcome.summary())
    if outcome.failed:
        click.echo(f"tcc: {outcome.complaint()}", err=True)
    return BAD_INPUT if outcome.failed else 0


def _print_json(value: Any) -> None:
    _say(json.dumps(value, ensure_ascii=False, indent=2, allow_nan=False))


def _say(text: str, *, err: bool = False) -> None:
    """Prints, if anybody still reads: a closed pipe or terminal changes no exit code."""
    try:
        click.echo(text, err=err)
    except OSError:
        from tcc.run.outlet import nowhere

        nowhere((sys.stderr if err else sys.stdout).fileno())
