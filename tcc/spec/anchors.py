"""Codecs from outside that a spec names: each file is there, can be read, and fits the study."""

from __future__ import annotations

import pathlib

from tcc import registry
from tcc.datasets import expanded
from tcc.errors import DataError
from tcc.formats.rd import RDFile, parse_file, read_text
from tcc.spec.document import Document, Path
from tcc.spec.pairs import lacking_labels
from tcc.spec.schema import AnchorFile, ReportSpec, SweepSpec


def check_anchors(document: Document, spec: SweepSpec) -> ReportSpec:
    """Reports what is wrong with the files of ``report.anchors``. Gives the section with absolute
    paths, data sets, and what the files hold. ``spec``: with its pairs and data complete."""
    complete: list[AnchorFile] = []
    names: dict[tuple[str | None, str], pathlib.Path] = {}
    for index, anchor in enumerate(spec.report.anchors):
        at = document.path(("report", "anchors", index))
        dataset = _dataset(document, spec, at, anchor)
        try:
            path = expanded(anchor.file).absolute()
            if not (anchor.content or path.exists()):
                where = "a path is taken from the working directory"
                document.report(at, f"there is no file {str(path)!r}; {where}")
                continue
            text = read_text(path, anchor.content)
            file = parse_file(path, text)
            _check_metrics(document, spec, at, file, dataset)
        except DataError as error:
            document.report(at, str(error))
            continue
        update = {"file": str(path), "dataset": dataset, "content": text}
        complete.append(anchor.model_copy(update=update))
        other = names.get((dataset, file.name))
        if other is not None:
            document.report(
                at,
                f"{path}: its codec is named {file.name!r}, as that of {other}: give one of them "
                'another "name" (JSON) or file name (CSV)',
            )
        names[dataset, file.name] = path
    return spec.report.model_copy(update={"anchors": tuple(complete)})


def _dataset(document: Document, spec: SweepSpec, at: Path, anchor: AnchorFile) -> str | None:
    """The data set that a codec was measured on, None where that cannot be told."""
    names = tuple(document.data.get("data") or ())
    name = anchor.dataset or (names[0] if len(names) == 1 else None)
    if name is None:
        if names:
            message = f"on which data set was it measured? There is {', '.join(names)}: write "
            document.report(at, f"{message}`{{file: {anchor.file}, dataset: {names[0]}}}`")
    elif name not in names:
        document.report(at, registry.unknown("data set", name, names))
    elif name not in (measured := _measured(spec)) and measured:
        document.report(
            at,
            f"this study measures nothing on {name!r}, only on {', '.join(measured)}: add "
            f"`{{data: {name}}}` to evaluate",
        )
    return name


def _measured(spec: SweepSpec) -> list[str]:
    """The data sets that are evaluated on."""
    trained = [pair.dataset for pair in spec.pairs if pair.dataset]
    return sorted({name for it in spec.evaluate for name in ([it.data] if it.data else trained)})


def _check_metrics(
    document: Document, spec: SweepSpec, at: Path, file: RDFile, dataset: str | None
) -> None:
    """The file holds points of a metric that the study measures on its data set.

    Raises:
        DataError: it holds no rate, no metric at all, or no numbers.
    """
    named = dict.fromkeys(task for pair in spec.pairs for task in (pair.base, pair.enhancement))
    tasks = [task for task in named if task in registry.names("tasks")]
    if dataset is not None and dataset in spec.data:
        lacking = lacking_labels(tasks, spec.data[dataset].info)
        tasks = [task for task in tasks if task not in lacking]
    metrics = [f"{task}/{it.name}" for task in tasks for it in registry.load("tasks", task).metrics]
    columns = {column for metric in metrics if (column := file.column_of(metric)) is not None}
    for column in columns or file.metrics[:1] or [None]:
        file.curve(column)
    if metrics and not columns:
        document.report(
            at,
            f"{file.path}: holds {', '.join(file.metrics)}, and the study measures on {dataset!r} "
            f"{', '.join(metrics)}: name a column as one of these",
        )
