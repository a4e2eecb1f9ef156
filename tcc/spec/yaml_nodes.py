"""YAML as nodes: what is wrong with them as a mapping of settings, and the line of every path.

Values are read as in YAML 1.2: `1e-3` is a number; `010`, `1:30`, `no` and dates are text.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import yaml

Path = tuple[str | int, ...]

_MAP, _TEXT = "tag:yaml.org,2002:map", "tag:yaml.org,2002:str"
_MERGE = "tag:yaml.org,2002:merge"
_PLAIN = {_MAP, _TEXT, _MERGE} | {
    f"tag:yaml.org,2002:{kind}" for kind in ("seq", "int", "float", "bool", "null")
}
_OWN = {
    "tag:yaml.org,2002:float": r"[-+]?(?:\d+\.\d*|\.\d+|\d+(?=[eE]))(?:[eE][-+]?\d+)?"
    r"|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)",
    "tag:yaml.org,2002:int": r"[-+]?(?:0|[1-9]\d{0,300})",
    "tag:yaml.org,2002:bool": r"true|True|TRUE|false|False|FALSE",
}


class Loader(yaml.SafeLoader):
    """Plain data only."""


Loader.yaml_implicit_resolvers = {
    first: [
        (tag, pattern)
        for tag, pattern in resolvers
        if tag not in _OWN and not tag.endswith(":timestamp")
    ]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
for _tag, _pattern in _OWN.items():
    Loader.add_implicit_resolver(_tag, re.compile(rf"^(?:{_pattern})$"), list("-+0123456789.tTfF"))


class YamlError(Exception):
    """Text that is not YAML: ``line`` from 1, and why."""

    def __init__(self, line: int, why: str):
        self.line, self.why = line, why
        super().__init__(why)


def compose(text: str) -> yaml.Node | None:
    """The node tree of one document, None where there is none.

    Raises:
        YamlError: it is not YAML.
    """
    try:
        loader = Loader(text)
        return loader.get_single_node()
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise YamlError(line, f"character {chr(error.character)!r} is not allowed") from None  # type: ignore[arg-type]
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        why = " ".join(part for part in (error.context, error.problem) if part)
        raise YamlError(mark.line + 1 if mark else 1, why) from None
    except RecursionError:
        raise YamlError(1, "it is nested too deeply") from None


def construct(node: yaml.Node) -> Any:
    """The plain data of a node that has no `flaws`; resolves merge keys in the nodes too."""
    return Loader("").construct_document(node)


def plain(text: str) -> Any:
    """The plain data of a short text, such as a value on the command line.

    Raises:
        YamlError: it is not YAML, or not plain.
    """
    node = compose(text)
    if node is None:
        return None
    for line, message in flaws(node):
        raise YamlError(line, message)
    return construct(node)


def flaws(node: yaml.Node, above: tuple[yaml.Node, ...] = ()) -> Iterator[tuple[int, str]]:
    """(line, message) of each key that is no text or there twice, and of each foreign tag."""
    if node in above:
        yield _line(node), "an alias refers to what it is part of"
        return
    if node.tag not in _PLAIN:
        yield _line(node), f"the tag {node.tag!r} is not allowed: plain YAML only"
        return
    above = (*above, node)
    if isinstance(node, yaml.SequenceNode):
        for item in node.value:
            yield from flaws(item, above)
    if isinstance(node, yaml.MappingNode):
        seen: dict[str, int] = {}
        for key, value in node.value:
            if key.tag not in (_TEXT, _MERGE):
                yield _line(key), f"the key {_shown(key)} is not text: put it in quotes"
            elif key.value in seen:
                first = seen[key.value]
                yield _line(key), f"the key {key.value!r} is there twice, first in line {first}"
            else:
                seen[key.value] = _line(key)
            if key.tag == _MERGE and not _mergeable(value):
                yield _line(key), "the key '<<' takes an alias of a mapping"
            yield from flaws(value, above)


def locate(node: yaml.Node, path: Path = ()) -> dict[Path, int]:
    """The line, from 1, of each key and list item below a constructed node."""
    lines: dict[Path, int] = {}
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:  # merged keys come first, a key of one's own replaces them
            own = (*path, key.value)
            lines[own] = _line(key)
            lines |= locate(value, own)
    if isinstance(node, yaml.SequenceNode):
        for index, item in enumerate(node.value):
            own = (*path, index)
            lines[own] = _line(item)
            lines |= locate(item, own)
    return lines


def _mergeable(node: yaml.Node) -> bool:
    items = node.value if isinstance(node, yaml.SequenceNode) else [node]
    return all(isinstance(item, yaml.MappingNode) for item in items)


def _shown(node: yaml.Node) -> str:
    return str(node.value) if isinstance(node, yaml.ScalarNode) else "[…]"


def _line(node: yaml.Node) -> int:
    return node.start_mark.line + 1
