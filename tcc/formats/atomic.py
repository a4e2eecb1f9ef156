"""Files that are there whole or not at all."""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def write_bytes(path: Path, data: bytes) -> None:
    """Writes a file in one step: readers see the old content or the new, never a part."""
    scratch = scratch_name(path)
    try:
        scratch.write_bytes(data)
        scratch.replace(path)
    finally:
        scratch.unlink(missing_ok=True)


def write_json(stem: Path, content: Mapping[str, Any]) -> Path:
    """Writes ``stem``.json in one step, and gives its path."""
    path = stem.with_name(f"{stem.name}.json")
    text = json.dumps(content, ensure_ascii=False, indent=1, allow_nan=False)
    write_bytes(path, f"{text}\n".encode())
    return path


def scratch_name(path: Path) -> Path:
    """A hidden, unused name beside ``path``. Unlike `tempfile`, what is made under it keeps the
    user's own permissions, so that a shared cache stays readable for the group."""
    return path.with_name(f".{path.name}.{os.getpid()}-{secrets.token_hex(4)}")
