"""The commands of tcc. Every verb reads its arguments, calls one room and prints.

    runs      verbs that run trials                  options   what several verbs take
    studies   verbs that look at a spec or a study   output    how they print and end
    files     verbs that take files

Exit codes: 0 all done; 1 some trial failed or was skipped; 2 bad input; 130 interrupted.
"""

from __future__ import annotations

import sys
import warnings
from io import TextIOWrapper
from typing import Any, NoReturn

import click

from tcc.cli import files, runs, studies
from tcc.cli.options import json_option
from tcc.cli.output import BAD_INPUT, INTERRUPTED, print_json, say
from tcc.errors import TccError


def main() -> NoReturn:
    """Runs the command line; whatever is wrong with the input is one message, no traceback."""
    if not sys.warnoptions:  # what torch will give up one day is no user's business
        warnings.filterwarnings("ignore", category=FutureWarning, module=r"torch\b")
    if isinstance(sys.stdout, TextIOWrapper) and sys.stdout.errors == "strict":
        sys.stdout.reconfigure(errors="backslashreplace")  # a terminal may know fewer letters
    try:
        code = cli.main(prog_name="tcc", standalone_mode=False)
    except TccError as error:
        say(f"tcc: {error}", err=True)
        code = BAD_INPUT
    except click.ClickException as error:
        error.show()
        code = BAD_INPUT
    except (KeyboardInterrupt, click.Abort):
        say("\ntcc: interrupted; the same command goes on from here", err=True)
        code = INTERRUPTED
    sys.exit(code or 0)


class _Verbs(click.Group):
    """Leaves an interrupt to `main`: click would write to a terminal that may be gone."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            raise click.Abort from None


@click.group(
    cls=_Verbs,
    commands=[*runs.VERBS, *studies.VERBS, *files.VERBS],
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.version_option(package_name="tcc")
def cli() -> None:
    """Plan, run and report rate-distortion studies of scalable learned compression."""


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
        print_json(found)
    else:
        say("\n".join(f"{name}: {', '.join(plugins)}" for name, plugins in found.items()))
