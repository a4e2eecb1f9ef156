"""Signals that come more than once."""

from __future__ import annotations

import time

SAME_WITHIN_S = 1.0  # `uv run` passes on a signal that its whole process group got: it comes twice


def is_another(first: float) -> bool:
    """Whether a signal that comes now is another one than that of ``first``, on the monotonic
    clock: within a second it is the same."""
    return time.monotonic() - first > SAME_WITHIN_S
