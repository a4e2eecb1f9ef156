"""Finds plug-ins by file name: `tcc/tasks/depth.py` is the task `depth`. There is no table."""

from __future__ import annotations

import difflib
import importlib
import pkgutil
from functools import cache
from typing import Any

from tcc.errors import UnknownNameError

ROOMS = {
    "tasks": "task",
    "datasets": "data set",
    "methods": "method",
    "stores": "store",
    "tracking": "tracker",
    "search": "search policy",
}


@cache
def names(room: str) -> tuple[str, ...]:
    """The plug-ins of a room, by file or folder name; what starts with `_` is none."""
    package = importlib.import_module(f"tcc.{room}")
    found = pkgutil.iter_modules(package.__path__)
    return tuple(sorted(item.name for item in found if not item.name.startswith("_")))


def load(room: str, name: str) -> Any:
    """The ``PLUGIN`` object of one plug-in.

    Raises:
        UnknownNameError: no file of the room has that name; lists what there is.
    """
    if name not in names(room):
        raise UnknownNameError(unknown(ROOMS[room], name, names(room)))
    return importlib.import_module(f"tcc.{room}.{name}").PLUGIN


def unknown(what: str, name: object, allowed: tuple[str, ...]) -> str:
    """The sentence for an unknown name: what is allowed, and the nearest valid name."""
    near = difflib.get_close_matches(str(name), allowed, n=1)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    return f"unknown {what} {name!r}: there is {', '.join(allowed)}{hint}"
