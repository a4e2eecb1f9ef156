"""Immutability that dataclasses alone do not give: frozen mappings and sequences."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any, NoReturn

_PLAIN = frozenset({str, int, float, bool, type(None)})  # most values: nothing to freeze, no asking


class FrozenMap(dict[str, Any]):
    """An immutable, hashable dict with sorted keys; nested mappings and lists are frozen too."""

    def __init__(self, source: Mapping[str, Any] | None = None, /):
        items = sorted((source or {}).items())
        for at, (key, value) in enumerate(items):
            if type(value) not in _PLAIN:
                items[at] = key, _freeze(value)
        super().__init__(items)

    def _refuse(self, *_: object, **__: object) -> NoReturn:
        raise TypeError("a record is frozen")

    __setitem__ = __delitem__ = __ior__ = _refuse  # pyright: ignore
    clear = pop = popitem = setdefault = update = _refuse  # pyright: ignore

    def __hash__(self) -> int:  # type: ignore[override]
        return hash(tuple(self.items()))

    def __reduce__(self) -> tuple[type[FrozenMap], tuple[dict[str, Any]]]:
        return FrozenMap, (dict(self),)


def _freeze(value: Any) -> Any:
    kind = type(value)
    if kind in _PLAIN or not _nests(kind):
        return value
    if issubclass(kind, Mapping):
        return FrozenMap(value)
    return tuple(_freeze(item) for item in value)


@cache  # an abstract base class takes its time to answer, and a study asks a million times
def _nests(kind: type) -> bool:
    return issubclass(kind, Mapping | list | tuple) and kind is not FrozenMap


class Record:
    """Freezes the mappings and sequences of a record as it is made."""

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            kind = type(value)
            if kind not in _PLAIN and kind is not tuple and _nests(kind):
                object.__setattr__(self, name, _freeze(value))
