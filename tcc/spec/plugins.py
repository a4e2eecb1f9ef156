"""What a spec says of plug-ins, checked by the plug-ins themselves: names, parameters, data."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from tcc import datasets, registry
from tcc.datasets import Dataset
from tcc.errors import DataError, UnknownNameError
from tcc.methods import Method
from tcc.records import FrozenMap
from tcc.spec.document import Document, Path
from tcc.spec.explain import validate_params
from tcc.spec.schema import DataEntry, SweepSpec
from tcc.tasks import Task, TaskParams


def find(document: Document, path: Path, room: str, name: str) -> Any | None:
    """The plug-in of a name, None where there is none."""
    try:
        return registry.load(room, name)
    except UnknownNameError as error:
        document.report(path, str(error))
        return None


def check_method(document: Document, spec: SweepSpec) -> tuple[Method | None, Any | None]:
    """The method and its parameters."""
    method = find(document, ("method",), "methods", spec.method)
    if method is None:
        return None, None
    return method, validate_params(document, ("model",), method.Params, spec.model)


def check_data(document: Document, spec: SweepSpec) -> dict[str, DataEntry]:
    """The data sets that are there, complete."""
    checked = {name: _check_entry(document, name, entry) for name, entry in spec.data.items()}
    return {name: entry for name, entry in checked.items() if entry is not None}


def _check_entry(document: Document, name: str, entry: DataEntry) -> DataEntry | None:
    path = ("data", name)
    kind = entry.type or name
    plugin: Dataset | None = find(
        document, (*path, "type") if entry.type else path, "datasets", kind
    )
    if plugin is None:
        return None
    given = validate_params(document, path, plugin.Params, entry.params)
    if given is None or document.touched(path):
        return None
    try:
        written = _placed(kind, given.model_dump(mode="json"), plugin.Params.paths)
        info = datasets.describe(plugin, plugin.Params.model_validate(written))
    except DataError as error:
        document.report(document.path((*path, *plugin.Params.paths[:1])), str(error))
        return None
    return DataEntry.model_validate({"type": kind, **written}).described(info)


def _placed(kind: str, params: Mapping[str, Any], paths: tuple[str, ...]) -> dict[str, Any]:
    """The parameters with absolute paths, the root of the environment too: trials run in other
    working directories, and on machines with another environment. A URI stays as it is."""
    found = dict(params)
    for key in paths:
        value = found[key]
        if value is None and key == "root":
            value = os.environ.get(datasets.root_variable(kind))
        if isinstance(value, str) and value and "://" not in value:
            value = str(datasets.expanded(value).absolute())
        found[key] = value
    return found


def check_tasks(document: Document, spec: SweepSpec) -> dict[str, FrozenMap]:
    """The parameters of the tasks that the spec sets, complete."""
    checked = {}
    for name, params in spec.tasks.items():
        path = ("tasks", name)
        task: Task | None = find(document, path, "tasks", name)
        given = task and validate_params(document, path, task.Params, params)
        if given is not None:
            files = _files(document, path, given)
            checked[name] = FrozenMap({**given.model_dump(mode="json"), **files})
    return checked


def _files(document: Document, path: Path, params: TaskParams) -> dict[str, str]:
    """The parameters that are paths of files, absolute; one that is not there is reported."""
    written: dict[str, str] = {}
    for key, given in params.files().items():
        file = given.expanduser().absolute()
        written[key] = str(file)
        if not file.is_file():
            document.report(
                document.path((*path, key)),
                f"there is no file {str(file)!r}: write the path of a state dict, or a name that "
                "torchvision has weights under",
            )
    return written
