"""Lets tests, and the workers that they start, import `fake_trials`; a Ray for a whole module."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from heads import Head

# Read when Ray is imported, which tests do before `connect` could say so: under `uv run pytest`
# workers would get a packed copy of the checkout.
os.environ["RAY_ENABLE_UV_RUN_RUNTIME_ENV"] = "0"
HERE = str(Path(__file__).parent)
sys.path.insert(0, HERE)


@pytest.fixture(scope="session", autouse=True)
def workers_import_fake_trials() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", HERE, prepend=os.pathsep)
        patch.setenv("RAY_AUTH_MODE", "disabled")  # or Ray writes a token into the home
        patch.delenv("RAY_ADDRESS", raising=False)
        yield


@pytest.fixture(scope="session")
def head(workers_import_fake_trials: None) -> Iterator[Head]:
    """The head of a cluster that wants a token."""
    from heads import started_head

    with started_head() as made:
        yield made


@pytest.fixture
def no_driver_left() -> Iterator[None]:
    """Ends the drivers of a test that failed."""
    from heads import end_started

    yield
    end_started()


@pytest.fixture(scope="module")
def ray_with_gpus() -> Iterator[None]:
    """A Ray of two processors and two pretended GPUs, which `run_plan` finds and leaves alone."""
    import logging

    from tcc.run.cluster import DRIVER, LOCAL, WORKER

    with pytest.MonkeyPatch.context() as patch:
        for name, value in (DRIVER | WORKER | LOCAL).items():
            patch.setenv(name, value)
        import ray

        ray.init(
            "local",
            num_cpus=2,
            num_gpus=2,
            include_dashboard=False,
            log_to_driver=False,
            logging_level=logging.CRITICAL,
        )
        yield
        assert ray.is_initialized(), "run_plan ended a Ray that was not its own"
        ray.shutdown()
