"""From a sweep file to a `SweepSpec`, and back to text."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import yaml

from tcc.spec.check import check
from tcc.spec.document import Document
from tcc.spec.explain import validate
from tcc.spec.read import parse, read
from tcc.spec.schema import SweepSpec


def load_spec(path: str | Path, overrides: Sequence[str] = ()) -> SweepSpec:
    """The spec of a YAML file, with ``key=value`` overrides; relative paths in it are taken from
    the working directory.

    Raises:
        SpecError: holds every problem, each with file:line, the value and what is allowed.
    """
    return _checked(read(path, overrides))


def parse_spec(text: str, name: str = "spec") -> SweepSpec:
    """`load_spec` of a text, such as the resolved spec in a store; ``name`` stands for the file."""
    return _checked(parse(text, name))


def read_settings(text: str, name: str = "spec") -> SweepSpec:
    """A resolved spec without a look at plug-ins and data, which may be gone since: for reports.

    Raises:
        SpecError: the text is no resolved spec.
    """
    document = parse(text, name)
    spec = validate(document)
    document.refuse()
    return spec


def resolved_yaml(spec: SweepSpec) -> str:
    """The spec as canonical YAML: every default and parameter in full, paths absolute. `load_spec`
    gives the same spec from it."""
    plain = _escaped(spec.model_dump(mode="json"))
    return yaml.safe_dump(plain, sort_keys=False, allow_unicode=True, default_flow_style=None)


def _checked(document: Document) -> SweepSpec:
    spec = check(document, validate(document))
    document.refuse()
    return spec


def _escaped(value: object) -> object:
    """Text that looks like an interpolation and is none (any more)."""
    if isinstance(value, dict):
        return {key: _escaped(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_escaped(item) for item in value]
    return value.replace("${", r"\${") if isinstance(value, str) else value
