"""Validation by pydantic, its errors put in tcc's words and at the lines of the file."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from tcc import registry
from tcc.spec.document import Document, Path
from tcc.spec.schema import SweepSpec
from tcc.spec.values import short


def validate(document: Document) -> SweepSpec:
    """The spec of a document without what is wrong in it, which is reported.

    Raises:
        SpecError: nothing is left to check.
    """
    while True:
        try:
            return SweepSpec.model_validate(document.data)
        except ValidationError as error:
            wrong: set[Path] = set()
            for item in error.errors():
                wrong.add(_report(document, (), item, SweepSpec, wrong))
        if () in wrong:
            document.refuse()
        for path in sorted(wrong, reverse=True):  # items of a list from its end
            if document.has(path):
                document.remove(path)


def validate_params(
    document: Document, path: Path, cls: type[BaseModel], params: Mapping[str, Any]
) -> Any | None:
    """The parameters of a plug-in, None where they are wrong. As from JSON, in strict mode: a list
    may become a tuple and text a path, but text never becomes a number."""
    text = json.dumps(params)
    try:
        return cls.model_validate_json(text, strict=True)
    except ValidationError as error:
        errors = [item for item in error.errors() if not _list_refused(item)]
    if not errors:
        try:
            return cls.model_validate_json(text)
        except ValidationError as error:
            errors = error.errors()
    for item in _telling(document, path, errors):
        _report(document, path, item, cls, set())
    return None


def _telling(
    document: Document, prefix: Path, errors: Sequence[ErrorDetails]
) -> Iterator[ErrorDetails]:
    """Of a value that may be of several types, only the errors of the one that it has; the first
    where it has none."""
    typed = [error["type"].endswith("_type") for error in errors]
    places = [document.path((*prefix, *error["loc"])) for error in errors]
    for index, (error, place) in enumerate(zip(errors, places, strict=True)):
        nearer = any(
            other[: len(place)] == place and (other != place or not typed[at] or at < index)
            for at, other in enumerate(places)
            if at != index
        )
        if not (typed[index] and nearer):
            yield error


def _list_refused(error: ErrorDetails) -> bool:
    """Behind a validator of the plug-in's own, strict mode takes no list for a tuple."""
    return error["type"] in ("tuple_type", "set_type") and isinstance(error["input"], list)


def _report(
    document: Document, prefix: Path, error: ErrorDetails, model: type[BaseModel], wrong: set[Path]
) -> Path:
    """Reports one error, unless it only follows from those at the paths that are ``wrong`` already;
    gives the path to take out."""
    location = error["loc"]
    if error["type"] == "missing" and isinstance(location[-1], str):
        key, path = location[-1], document.path((*prefix, *location[:-1]))
        if not document.touched((*path, key)):
            document.report(path, f"the key {key!r} is missing")
        return path
    path = document.path((*prefix, *location))
    lost = document.touched(path) or any(other[: len(path)] == path for other in wrong)
    if not (error["type"] == "too_short" and lost):
        document.report(path, _words(error, model))
    return path


def _words(error: ErrorDetails, model: type[BaseModel]) -> str:
    value, message = error["input"], error["msg"]
    match error["type"]:
        case "extra_forbidden":
            allowed = _fields(model, error["loc"][:-1])
            return registry.unknown("key", error["loc"][-1], allowed)
        case "literal_error":
            return registry.unknown("value", value, tuple(_quoted(message)))
        case "tcc":
            return message
        case "value_error":
            return message.removeprefix("Value error, ")
        case "too_short":
            return "is empty"
        case "model_type" | "model_attributes_type" | "dict_type" | "mapping_type":
            return f"is {short(value)}: it must be a mapping, `key: value`"
        case "missing":  # of a tuple
            return f"is {short(value)}: it must have more values"
        case _:
            must = re.sub(r"^(Input|String|Value) should ", "it must ", message)
            return f"is {short(value)}: {must[0].lower()}{must[1:]}"


def _quoted(message: str) -> list[str]:
    return re.findall(r"'([^']*)'", message)


def _fields(model: type[BaseModel], location: Sequence[str | int]) -> tuple[str, ...]:
    """The keys that a section allows; ``location`` is that of pydantic, from ``model`` on. A field
    left out of dumps is none: it gathers the keys that a section lets the user name."""
    models = [model]
    for part in location:
        inner = [
            found
            for outer in models
            if part in outer.model_fields
            for found in _models(outer.model_fields[str(part)].annotation)
        ]
        models = inner or models
    fields = {name: field for found in models for name, field in found.model_fields.items()}
    return tuple(sorted(name for name, field in fields.items() if not field.exclude))


def _models(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for argument in get_args(annotation):
        yield from _models(argument)
