"""What all tests share: quick single-threaded torch, one cache of generated data, tiny plans."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from tcc.records import Plan


@pytest.fixture(autouse=True)
def signals() -> None:
    """Signals as Python has them in the foreground: a shell ignores SIGINT for what it runs in the
    background, and Ray leaves its own handler behind."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)


@pytest.fixture(scope="session", autouse=True)
def data_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One cache folder for generated data sets, never the user's own."""
    root = tmp_path_factory.getbasetemp().parent  # shared by parallel test workers
    os.environ["TCC_CACHE"] = str(root / "tcc-cache")
    return root / "tcc-cache"


TINY_STUDY = """
study: tiny
data: {scenes: {train: 24, val: 6, select: 8}}
pairs: [{base: depth, enhancement: reconstruction}]
grid: {lambda_b: [0.3], lambda_e: [0.3], beta: [0, 0.1]}
also: [direct, standalone, single_layer, uncompressed, pixels]
model: {channels: [4, 6, 8], latent: 4, blocks: 1}
train: {steps: 6, batch: 4, warm_start: pretrain}
wandb: {mode: disabled}
"""


@pytest.fixture(scope="session")
def tiny_text() -> str:
    """The sweep file of `tiny_plan`."""
    return TINY_STUDY


@pytest.fixture
def tiny_plan(tmp_path: Path) -> Callable[..., Plan]:
    """A study of every trial kind that trains in seconds; ``changes`` are dotted overrides."""
    from tcc.plan import expand
    from tcc.spec import load_spec

    def planned(*changes: str, text: str = TINY_STUDY) -> Plan:
        path = tmp_path / "tiny.yaml"
        path.write_text(text)
        return expand(load_spec(path, changes))

    return planned
