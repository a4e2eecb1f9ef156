"""Overrides of the command line and interpolation, both by OmegaConf."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import GrammarParseError, OmegaConfBaseException

from tcc.spec import yaml_nodes
from tcc.spec.document import Document, Path, interpolates


def merge(document: Document, overrides: Sequence[str]) -> None:
    """Applies ``key=value`` overrides, then puts a value for each ``${...}``."""
    _refuse_grammar(document)
    config = OmegaConf.create(document.data)
    for override in overrides:
        _override(document, config, override)
    _interpolate(document, config)


def _refuse_grammar(document: Document) -> None:
    for path, leaf in document.leaves_backwards():
        if not interpolates(leaf):
            continue
        try:
            OmegaConf.create([leaf])
        except GrammarParseError:
            document.report(path, f"{leaf!r} is no interpolation: write ${{key}} or ${{oc.env:X}}")
            document.remove(path)


def _override(document: Document, config: DictConfig, override: str) -> None:
    """``key=value`` sets a key to a YAML value, whatever was there."""
    key, separator, text = override.partition("=")
    key = key.strip()
    parts = key.replace("[", ".").replace("]", "").split(".")
    try:
        if not separator or not all(parts):
            raise ValueError("write key=value, such as train.steps=100")
        OmegaConf.update(config, key, yaml_nodes.plain(text), merge=False, force_add=True)
    except yaml_nodes.YamlError as error:
        document.report_override(override, f"the value is not YAML: {error.why}")
        return
    except (OmegaConfBaseException, ValueError, TypeError) as error:
        document.report_override(override, str(error).split("\n")[0])
        return
    path: Path = ()
    known = document.data
    for part in parts:
        path = (*path, int(part) if isinstance(known, list) else part)
        if not document.has(path):
            break
        known = document.get(path)
    document.override(path, OmegaConf.to_container(config))  # type: ignore[arg-type]


def _interpolate(document: Document, config: DictConfig) -> None:
    for path, leaf in document.leaves_backwards():
        if not interpolates(leaf):
            continue
        try:
            value: Any = config
            for part in path:
                value = value[part]
            if OmegaConf.is_config(value):
                value = OmegaConf.to_container(value, resolve=True)
        except OmegaConfBaseException as error:
            document.report(path, _reason(leaf, error))
            document.remove(path)
        else:
            document.set(path, value)


def _reason(leaf: str, error: OmegaConfBaseException) -> str:
    if missing := re.search(r"Environment variable '(.*)' not found", str(error)):
        variable = missing[1]
        return (
            f"the environment variable {variable!r} is not set: "
            f"set it, or write ${{oc.env:{variable},default}}"
        )
    return f"{leaf!r} cannot be resolved: {str(error).splitlines()[0]}"
