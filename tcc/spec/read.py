"""Reads a sweep file into a document: YAML first, then overrides and interpolation."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import yaml

from tcc.errors import Problem, SpecError
from tcc.spec import yaml_nodes
from tcc.spec.document import Document, interpolates


def read(file: str | Path, overrides: Sequence[str] = ()) -> Document:
    """The document of a sweep file.

    Raises:
        SpecError: the file cannot be read, is not YAML, or is no mapping of settings.
    """
    try:
        text = Path(file).read_text(encoding="utf-8-sig")
    except OSError as error:
        raise _refusal(str(file), f"cannot be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise _refusal(str(file), f"is not UTF-8 text (byte {error.start})") from None
    return parse(text, str(file), overrides)


def parse(text: str, file: str, overrides: Sequence[str] = ()) -> Document:
    """`read` of a text; ``file`` is what problems call it."""
    try:
        node = yaml_nodes.compose(text)
    except yaml_nodes.YamlError as error:
        raise _refusal(f"{file}:{error.line}", f"is not YAML: {error.why}") from None
    if node is None:
        raise _refusal(file, "is empty: a spec has at least study, data, pairs and grid")
    if not isinstance(node, yaml.MappingNode):
        line = node.start_mark.line + 1
        raise _refusal(f"{file}:{line}", "is not a mapping: write `key: value` lines")
    if flaws := list(yaml_nodes.flaws(node)):
        raise SpecError(Problem(where=f"{file}:{line}", message=text) for line, text in flaws)
    data = yaml_nodes.construct(node)  # before `locate`: it merges the keys of `<<`
    document = Document(file, data, yaml_nodes.locate(node))
    if overrides or any(interpolates(leaf) for _, leaf in document.leaves()):
        from tcc.spec.merge import merge  # OmegaConf takes a tenth of a second to import

        merge(document, overrides)
    _refuse_values(document)
    return document


def _refusal(where: str, message: str) -> SpecError:
    return SpecError([Problem(where=where, message=message)])


def _refuse_values(document: Document) -> None:
    for path, leaf in document.leaves_backwards():
        if leaf == "???":
            document.report(path, "its value is left open (???): give one")
        elif isinstance(leaf, float) and not math.isfinite(leaf):
            document.report(path, f"{leaf} is not a finite number")
        else:
            continue
        document.remove(path)
