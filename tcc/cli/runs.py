"""The verbs that run trials: of a spec, of what a verdict lacks, of what failed, a single one."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from contextlib import nullcontext
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
    watch_option,
)
from tcc.cli.output import FAILED, print_json, progress, say
from tcc.errors import TccError

if TYPE_CHECKING:
    from tcc.spec import SweepSpec


@click.command()
@running
@watch_option
def run(
    spec: Path,
    overrides: tuple[str, ...],
    store: str,
    address: str | None,
    watch: bool,
    as_json: bool,
) -> int:
    """Run what is not done yet. The same command again is the resume."""
    from tcc.spec import load_spec

    return _run(load_spec(spec, overrides), store, address, as_json, watch=watch)


@click.command()
@spec_argument
@overrides_argument
@store_option
@address_option
@click.option("--run", "also_run", is_flag=True, help="Run the study with what is proposed.")
@watch_option
@json_option
def extend(
    spec: Path,
    overrides: tuple[str, ...],
    store: str,
    address: str | None,
    also_run: bool,
    watch: bool,
    as_json: bool,
) -> int:
    """Propose λ where a verdict lacks points or overlap, and say what they cost."""
    from tcc.search._extend import extend as propose
    from tcc.search._extend import extension_json, extension_text
    from tcc.spec import load_spec
    from tcc.stores import open_store

    found = propose(load_spec(spec, overrides), open_store(store, write=False))
    if not (also_run and found.pairs):
        print_json(extension_json(found)) if as_json else say(extension_text(found))
        return 0
    if not as_json:
        say(extension_text(found))
    return _run(found.spec, store, address, as_json, watch=watch, beside=extension_json(found))


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
        say(to_json(outcome))
    return FAILED if isinstance(outcome, FailureRecord) else 0


def _run(
    spec: SweepSpec,
    store: str,
    address: str | None,
    as_json: bool,
    *,
    watch: bool,
    beside: Mapping[str, Any] | None = None,
) -> int:
    """Runs a study and draws its report, with ``watch`` meanwhile too; ``beside``: what else the
    JSON holds."""
    from tcc.report import build_report, mirror_report, watching
    from tcc.run import run_study
    from tcc.stores import open_store

    opened = open_store(store)
    with watching(spec.study, opened.uri) if watch else nullcontext():
        outcome = run_study(spec, opened, address=address, quiet_stdout=as_json)
    told = {**(beside or {}), **outcome.to_json()}
    try:
        with progress() as tell:
            files = build_report(outcome.study, opened, tell=tell)
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


VERBS = (run, extend, evaluate, retry, trial)
