"""What verbs print, and the codes they end with."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from rich.console import Console

FAILED, BAD_INPUT, INTERRUPTED = 1, 2, 130


def print_json(value: Any) -> None:
    """Prints plain values as JSON; see `say`."""
    say(json.dumps(value, ensure_ascii=False, indent=2, allow_nan=False))


def say(text: str, *, err: bool = False) -> None:
    """Prints, if anybody still reads: a closed pipe or terminal changes no exit code."""
    try:
        click.echo(text, err=err)
    except OSError:
        from tcc.run.outlet import nowhere

        nowhere((sys.stderr if err else sys.stdout).fileno())


def show(draw: Callable[[Console], None]) -> None:
    """Prints what is drawn on a console of this terminal; see `say`."""
    from rich.console import Console

    console = Console(highlight=False)
    with console.capture() as drawn:
        draw(console)
    say(drawn.get().rstrip("\n"))


@contextmanager
def progress() -> Iterator[Callable[[str], object]]:
    """Shows on a terminal what it is told, as long as it takes."""
    if not sys.stderr.isatty():
        yield lambda _: None
        return
    from rich.console import Console

    with Console(stderr=True).status("") as shown:
        yield shown.update
