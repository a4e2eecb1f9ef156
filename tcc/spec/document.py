"""A sweep file as plain data that remembers the line of every key, and the problems found in it.

Plain data are dicts, lists, text, numbers, booleans and None. A path is a tuple of keys and list
indices; what has no line of its own has that of the nearest key around it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from tcc.errors import Problem, SpecError

Path = tuple[str | int, ...]

COMMAND_LINE = 1 << 60  # stands for a line number; sorts behind those of the file


class Place(NamedTuple):
    """Where something was written: its line and the path it had there."""

    line: int
    path: Path


class Document:
    """``data`` as it is checked: what is wrong is reported and taken out, the rest goes on."""

    def __init__(self, file: str, data: dict[str, Any], lines: dict[Path, int]):
        self.file, self.data = file, data
        self._places = {path: Place(line, path) for path, line in lines.items()}
        self._problems: dict[Problem, int] = {}
        self._removed: set[Path] = set()

    def report(self, path: Path, message: str) -> None:
        """Adds a problem at a path, which its message will name."""
        line, path = self._place(path)
        self._add(line, f"{name(path)}: {message}" if path else message)

    def report_override(self, override: str, message: str) -> None:
        """Adds a problem of one ``key=value`` of the command line."""
        self._add(COMMAND_LINE, f"override {override!r}: {message}")

    def refuse(self) -> None:
        """Raises `SpecError` with every problem, in the order of the file, if there are any."""
        if self._problems:
            raise SpecError(sorted(self._problems, key=lambda it: (self._problems[it], it.message)))

    def path(self, location: Sequence[str | int]) -> Path:
        """The path in ``data`` of a location in the schema, which may have parts of its own."""
        path: Path = ()
        node: Any = self.data
        for part in location:
            if isinstance(node, dict) and len(node) == 1 and part not in node:
                (key,) = node  # the schema looks through {standalone: …}, {all: …}
                if _has(node[key], part):
                    path, node = (*path, key), node[key]
            if _has(node, part):
                path, node = (*path, part), node[part]
        return path

    def has(self, path: Path) -> bool:
        """Whether something lies at a path."""
        return not path or (self.has(path[:-1]) and _has(self.get(path[:-1]), path[-1]))

    def get(self, path: Path) -> Any:
        """What lies at a path."""
        node: Any = self.data
        for part in path:
            node = node[part]
        return node

    def set(self, path: Path, value: Any) -> None:
        """Replaces what lies at a path; its line stays."""
        self.get(path[:-1])[path[-1]] = value

    def override(self, path: Path, data: dict[str, Any]) -> None:
        """Takes over data in which the command line set what lies at a path."""
        self.data = data
        kept = {at: place for at, place in self._places.items() if at[: len(path)] != path}
        self._places = kept | {path: Place(COMMAND_LINE, path)}

    def remove(self, path: Path) -> None:
        """Takes out what lies at a path; the later items of a list move up, with their places."""
        parent, last, depth = path[:-1], path[-1], len(path) - 1
        del self.get(parent)[last]
        self._removed.add(path)
        places: dict[Path, Place] = {}
        for at, place in self._places.items():
            if at[: depth + 1] == path:
                continue
            if isinstance(last, int) and len(at) > depth and at[:depth] == parent:
                index = int(at[depth])
                at = (*parent, index - (index > last), *at[depth + 1 :])
            places[at] = place
        self._places = places

    def touched(self, path: Path) -> bool:
        """Whether what lay at a path, or a part of it, was taken out."""
        return any(gone[: len(path)] == path for gone in self._removed)

    def leaves(self) -> Iterator[tuple[Path, Any]]:
        """Each value that is neither mapping nor list, with its path."""
        yield from _leaves(self.data, ())

    def leaves_backwards(self) -> list[tuple[Path, Any]]:
        """The leaves, last first: to take one out does not move those to come."""
        return list(self.leaves())[::-1]

    def _add(self, line: int, message: str) -> None:
        where = "command line" if line == COMMAND_LINE else f"{self.file}:{line}"
        self._problems.setdefault(Problem(where=where, message=message), line)

    def _place(self, path: Path) -> Place:
        for length in range(len(path), 0, -1):
            if place := self._places.get(path[:length]):
                return Place(place.line, place.path + path[length:])
        return Place(1, path)


def interpolates(leaf: Any) -> bool:
    """Whether a value refers to another, or to the environment."""
    return isinstance(leaf, str) and "${" in leaf


def name(path: Path) -> str:
    """A path as the command line writes it: ``pairs[0].grid.beta``."""
    parts = [f"[{part}]" if isinstance(part, int) else f".{part}" for part in path]
    return "".join(parts).removeprefix(".")


def _has(node: Any, part: str | int) -> bool:
    if isinstance(node, dict):
        return part in node
    return isinstance(node, list) and isinstance(part, int) and 0 <= part < len(node)


def _leaves(node: Any, path: Path) -> Iterator[tuple[Path, Any]]:
    if isinstance(node, dict):
        for key, value in node.items():
            yield from _leaves(value, (*path, key))
    elif isinstance(node, list):
        for index, value in enumerate(node):
            yield from _leaves(value, (*path, index))
    else:
        yield path, node
