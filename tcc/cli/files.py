"""The verbs that take files: images, scalable files, rate-distortion points."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from tcc.cli.options import json_option, out_option, store_option
from tcc.cli.output import BAD_INPUT, print_json, say

if TYPE_CHECKING:
    from tcc.trial.files.inputs import Outcome


@click.command()
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


@click.command()
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "--layer",
    type=click.Choice(["base", "enhancement", "all"]),
    default="all",
    show_default=True,
    help="What to decode; of the base alone, nothing else is read.",
)
@click.option("--checkpoint", help="The trial to decode with; without, it is looked for.")
@click.option(
    "--max-pixels",
    type=click.IntRange(min=1),
    metavar="N",
    help="Refuse files of more pixels, without a look at the rest: for files of strangers.",
)
@out_option
@store_option
@json_option
def decode(
    files: tuple[Path, ...], layer: str, checkpoint: str | None, max_pixels: int | None, out: Path,
    store: str, as_json: bool,
) -> int:  # fmt: skip
    """Decode scalable files, or all in a folder, to pictures and predictions."""
    from tcc.trial import files as coded

    limits = {} if max_pixels is None else {"max_pixels": max_pixels}
    found = coded.decode(files, out, layer=layer, store=store, checkpoint=checkpoint, **limits)
    return _told(found, as_json)


@click.command()
@click.argument("anchor", type=click.Path(path_type=Path))
@click.argument("test", type=click.Path(path_type=Path), required=False)
@click.option(
    "--metric", help="Name of the metric; needed where a file holds several. Of a table: this only."
)
@click.option("--lower-is-better", is_flag=True, help="The metric falls as quality rises.")
@click.option("--baseline", metavar="METHOD", help="Of a table; Baseline where none is given.")
@json_option
def bdrate(
    anchor: Path, test: Path | None, metric: str | None, lower_is_better: bool,
    baseline: str | None, as_json: bool,
) -> None:  # fmt: skip
    """The BD-rate of TEST against ANCHOR (CompressAI JSON or CSV), with its verdict.

    One file alone is a table of curves (CSV: figure, panel, role, dataset, metric, method, bpp,
    value): each is compared with its panel's baseline, and what was claimed of it is judged.
    """
    if test is None:
        from tcc.curves.claims import claims, claims_json, claims_text

        table = claims(anchor, baseline=baseline, metric=metric, lower=lower_is_better)
        print_json(claims_json(table)) if as_json else say(claims_text(table))
        return
    if baseline is not None:
        raise click.UsageError("--baseline is of a table; of two files the first is the anchor")
    from tcc.curves.files import bdrate_json, bdrate_text, verdict_on_files

    found = verdict_on_files(anchor, test, metric=metric, lower_is_better=lower_is_better)
    print_json(bdrate_json(found)) if as_json else say(bdrate_text(found))


def _told(outcome: Outcome, as_json: bool) -> int:
    """Prints what came of many files; the exit code."""
    if as_json:
        print_json(outcome.to_json())
    elif outcome.done:
        say(outcome.summary())
    if outcome.failed:
        say(f"tcc: {outcome.complaint()}", err=True)
    return BAD_INPUT if outcome.failed else 0


VERBS = (encode, decode, bdrate)
