"""What every section of a sweep file is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict


class Section(BaseModel):
    """A mapping of the spec: frozen, no key but its own."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def gathered(value: Any, own: tuple[str, ...], rest: str) -> Any:
    """A mapping whose keys that are not a section's own lie under ``rest``."""
    if not isinstance(value, Mapping):
        return value
    known = {key: item for key, item in value.items() if key in own}
    return known | {rest: {key: item for key, item in value.items() if key not in own}}
