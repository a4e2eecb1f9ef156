"""Records as sealed JSON text: a file that was cut, edited or written by another version shows.

Two lines, JSON as a whole, so that a human and `jq .record` can read it:

    {"schema": 1, "type": "TrialRecord", "sha256": "<of the record's text>",
    "record": {...}}

Floats are written as their shortest exact form and read back bit for bit.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import PurePath
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError
from pydantic_core import PydanticSerializationError

from tcc.errors import RecordError
from tcc.records import SCHEMA, EvaluationRecord
from tcc.stores._images import StoredImages, set_aside

T = TypeVar("T")

_HEAD = re.compile(
    rb'\{"schema": (\d{1,9}), "type": "(\w+)", "sha256": "([0-9a-f]{64})",\n"record": '
)
_TAIL = b"}\n"


def to_json(record: Any) -> str:
    """The sealed text of a record of `tcc.records`.

    Raises:
        RecordError: a value that would not read back equal: a non-finite number, a wrong type, or
            a record of another schema.
    """
    kind = type(record).__name__
    if getattr(record, "schema", SCHEMA) != SCHEMA:
        raise RecordError(f"{kind} of schema {record.schema} cannot be written: this is {SCHEMA}")
    try:
        plain = _adapter(type(record)).dump_python(record, warnings="error")
        text = json.dumps(plain, allow_nan=False, ensure_ascii=False, default=_plain)
    except (PydanticSerializationError, TypeError) as error:
        raise RecordError(f"{kind} cannot be written: {error}") from None
    except ValueError as error:
        where = next(_non_finite(plain, ""), None)
        raise RecordError(f"{kind} cannot be written: {where or error}") from None
    body = text.encode("utf-8", "replace")  # half a surrogate pair is not text
    digest = hashlib.sha256(body).hexdigest()
    head = f'{{"schema": {SCHEMA}, "type": "{kind}", "sha256": "{digest}",\n"record": '
    return head + body.decode() + _TAIL.decode()


def from_json(cls: type[T], text: str | bytes) -> T:
    """The record of a sealed text.

    Raises:
        RecordError: torn, edited, of another schema, or not a ``cls``; the caller names the file.
    """
    data = text if isinstance(text, bytes) else text.encode("utf-8", "replace")
    head = _HEAD.match(data)
    if head is None:
        raise RecordError("is torn or not a record file of tcc")
    schema, kind, digest = int(head[1]), head[2].decode(), head[3].decode()
    if schema != SCHEMA:
        raise RecordError(f"has schema {schema}; this version of tcc reads schema {SCHEMA}")
    body = data[head.end() : -len(_TAIL)]
    if not data.endswith(_TAIL) or hashlib.sha256(body).hexdigest() != digest:
        raise RecordError("is torn or was edited: its content does not match its sha256")
    if kind != cls.__name__:
        raise RecordError(f"holds a {kind} where a {cls.__name__} belongs")
    body, images = set_aside(body) if cls is EvaluationRecord else (body, None)
    try:
        record: T = _adapter(cls).validate_json(body)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise RecordError(f"does not fit {cls.__name__}: {where}: {first['msg']}") from None
    if images is not None:
        object.__setattr__(record, "per_image", images)
    return record


@cache  # making one takes tens of milliseconds
def _adapter(cls: type[T]) -> TypeAdapter[T]:
    return TypeAdapter(cls)


def _plain(value: object) -> object:
    if isinstance(value, PurePath):
        return str(value)
    if isinstance(value, StoredImages):
        return json.loads(value.json)
    raise TypeError(f"{value!r} of type {type(value).__name__} is not JSON")


def _non_finite(value: Any, where: str) -> Iterator[str]:
    if isinstance(value, float) and not math.isfinite(value):
        yield f"{where} is {value}, not a finite number"
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield from _non_finite(item, f"{where}.{key}" if where else str(key))
    elif isinstance(value, list | tuple):
        for index, item in enumerate(value):
            yield from _non_finite(item, f"{where}[{index}]")
