"""Specs that are right but for what a test puts in."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tcc.errors import SpecError
from tcc.spec import load_spec

GOOD = """\
study: some
data:
  scenes: {train: 16, val: 4, select: 4}
pairs:
  - {base: depth, enhancement: reconstruction}
grid:
  lambda_b: [0.1, 1]
  lambda_e: [0.1, 1]
  beta: [0, 0.1]
"""


@pytest.fixture
def good() -> str:
    """The text of a small, valid spec."""
    return GOOD


@pytest.fixture
def write(tmp_path: Path) -> Callable[[str], Path]:
    """Writes a text to a file; gives its path."""

    def written(text: str) -> Path:
        path = tmp_path / "spec.yaml"
        path.write_text(text, encoding="utf-8")
        return path

    return written


@pytest.fixture
def problems(write: Callable[[str], Path]) -> Callable[..., list[str]]:
    """What is wrong with a spec: ``line: message``, or ``command line: message``."""

    def found(text: str, *overrides: str) -> list[str]:
        path = write(text)
        with pytest.raises(SpecError) as caught:
            load_spec(path, overrides)
        return [str(item).replace(f"{path}:", "").strip() for item in caught.value.problems]

    return found
