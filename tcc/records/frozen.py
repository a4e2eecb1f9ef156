"""Immutability that dataclasses alone do not give: frozen mappings and sequences."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from functools import cache
from typing import Any, NoReturn

_PLAIN = frozenset({str, int, float, bool, type(None)})  # most values: nothing to freeze, no asking
_PLAIN_NAMES = {"str", "int", "float", "bool", "None"}


class FrozenMap(dict[str, Any]):
    """An immutable, hashable dict with sorted keys; nested mappings and lists are frozen too."""

    def __init__(self, source: Mapping[str, Any] | None = None, /):
        items = sorted(source.items()) if source else ()
        dict.__init__(self, items)
        if not _PLAIN.issuperset(map(type, self.values())):
            dict.update(self, {key: _freeze(value) for key, value in items})

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
    if kind is dict:  # told at once, as nearly all are
        return FrozenMap(value)
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
        for name in _open_fields(type(self)):
            value = getattr(self, name)
            kind = type(value)
            if kind is not tuple and _nests(kind):
                object.__setattr__(self, name, _freeze(value))


@cache
def _open_fields(kind: type[Any]) -> tuple[str, ...]:
    """The fields of a record whose annotation allows more than plain values."""
    return tuple(
        field.name
        for field in fields(kind)
        if not {part.strip() for part in str(field.type).split("|")} <= _PLAIN_NAMES
    )
