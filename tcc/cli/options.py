"""The arguments and options that several verbs take."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

spec_argument = click.argument("spec", type=click.Path(path_type=Path))
study_argument = click.argument("study")
overrides_argument = click.argument("overrides", nargs=-1, metavar="[KEY=VALUE]...")
store_option = click.option(
    "--store", default="runs", show_default=True, help="Folder or URI that holds all results."
)
address_option = click.option(
    "--address", help="Ray cluster to join; without, a local one is started."
)
out_option = click.option(
    "-o", "--out", required=True, type=click.Path(path_type=Path), help="Folder to write to."
)
watch_option = click.option(
    "--watch", is_flag=True, help="Draw the report again and again as results arrive."
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print only JSON on stdout.")


def running(verb: Callable[..., Any]) -> Callable[..., Any]:
    """What the verbs take that run the trials of a spec."""
    for add in (json_option, address_option, store_option, overrides_argument, spec_argument):
        verb = add(verb)
    return verb
