"""A trial and what it came to, and an environment in which no one's W&B account is touched."""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

from tcc.records import (
    LOOP_VERSION,
    SCHEMA,
    DatasetUse,
    EvaluationRecord,
    EvaluationSpec,
    FailureRecord,
    Metric,
    PluginUse,
    Provenance,
    Rate,
    Recipe,
    Resources,
    Training,
    TrainRecipe,
    TrialRecord,
    TrialSpec,
)
from tcc.tracking.wandb import WandbTracker

SCENES = DatasetUse(
    name="scenes", plugin="scenes", version=1, params={"count": 64}, fingerprint="f00d"
)
KODAK = DatasetUse(name="kodak", plugin="folder", version=1, params={}, fingerprint="f11d")


@pytest.fixture(scope="session")
def support() -> Callable[[str], ModuleType]:
    """A support module that lies beside these tests."""

    def load(name: str) -> ModuleType:
        path = Path(__file__).with_name(f"{name}.py")
        spec = importlib.util.spec_from_file_location(f"tracking_{name}", path)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[spec.name] = module
        spec.loader.exec_module(module)
        return module

    return load


@pytest.fixture
def tracker() -> WandbTracker:
    return WandbTracker()


@pytest.fixture
def read_runs(support: Callable[[str], ModuleType]) -> Callable[..., dict]:
    return support("wandb_file").read_runs


@pytest.fixture
def said(caplog: pytest.LogCaptureFixture) -> Callable[[], list[str]]:
    """What the trackers complained of so far."""
    return lambda: [it.getMessage() for it in caplog.records if it.name == "tcc.tracking"]


@pytest.fixture(autouse=True)
def clean_environment(tmp_path_factory, monkeypatch):
    for name in [name for name in os.environ if name.startswith("WANDB_")]:
        monkeypatch.delenv(name)
    home = tmp_path_factory.mktemp("home")
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("NETRC", str(home / "netrc"))
    monkeypatch.chdir(tmp_path_factory.mktemp("cwd"))


@pytest.fixture(scope="session")
def make_trial() -> Callable[..., TrialSpec]:
    def make(id: str = "aa11") -> TrialSpec:
        return TrialSpec(
            id=id,
            kind="enhancement",
            method="ttcc",
            tasks=("depth", "reconstruction"),
            datasets=("scenes",),
            axes={"lambda_b": 0.3, "lambda_e": 0.1, "beta": 0.01},
            seed=2,
            variant="",
            recipe=Recipe(
                method=PluginUse(name="ttcc", plugin="ttcc", version=1, params={"sizes": [16]}),
                tasks=(PluginUse(name="depth", plugin="depth", version=1, params={}),),
                datasets=(SCENES,),
                train=_train(),
                loop_version=LOOP_VERSION,
            ),
            needs=("bb22",),
            evaluations=(),
            resources=Resources(),
            label="enhancement λ_e=0.1",
        )

    return make


@pytest.fixture(scope="session")
def record(make_trial: Callable[..., TrialSpec]) -> TrialRecord:
    """Coded and estimated rates on one data set, an estimated one on another."""
    return TrialRecord(
        schema=SCHEMA,
        trial=make_trial(),
        training=Training(
            steps=40,
            best_step=30,
            best_rd_cost=0.5,
            rd_cost=((30, 0.5),),
            last_terms={"total": 1.0},
            num_parameters={"g_a": 1},
            kmac_per_pixel={"total": 1.5},
            kmac_size=(64, 64),
            initial_weights={"depth": "random"},
            checkpoint_sha256="c" * 64,
            last_sha256="c" * 64,
            parents_sha256={},
        ),
        evaluations=(
            _evaluation(SCENES, "coded", ("coded", "estimated"), psnr_db=30.0),
            _evaluation(KODAK, "estimated", ("estimated",), psnr_db=28.0),
        ),
        timings={},
        provenance=_provenance(),
    )


@pytest.fixture(scope="session")
def failure(make_trial: Callable[..., TrialSpec]) -> FailureRecord:
    return FailureRecord(
        schema=SCHEMA,
        trial=make_trial("ff00"),
        reason="loss is nan",
        step=3,
        term="rate",
        log="log.txt",
    )


def _evaluation(
    dataset: DatasetUse, asked: str, sources: tuple[str, ...], psnr_db: float
) -> EvaluationRecord:
    scale = {"estimated": 1.0, "coded": 2.0}
    return EvaluationRecord(
        schema=SCHEMA,
        trial="aa11",
        evaluation=EvaluationSpec(
            id=f"ev-{dataset.name}", dataset=dataset, split="val", rate=asked, metrics=()
        ),
        checkpoint_sha256="c" * 64,
        rates=tuple(
            Rate(
                bits_by_stream={},
                num_pixels=4096,
                bpp_by_stream={
                    "base.y": 0.25 * scale[source],
                    "base.z": 0.125 * scale[source],
                    "enhancement.y": 0.5 * scale[source],
                },
                source=source,
            )
            for source in sources
        ),
        metrics=(
            Metric(name="reconstruction/psnr", value=psnr_db, unit="dB", higher_is_better=True),
        ),
        per_image=(),
        timings={},
        provenance=_provenance(),
    )


def _provenance() -> Provenance:
    return Provenance(
        tcc_version="0.1.0",
        git_revision="",
        packages={},
        machine="x86_64",
        device="cpu",
        started_at="2026-11-01T00:00:00Z",
        study="tiny",
    )


def _train() -> TrainRecipe:
    return TrainRecipe(
        steps=40,
        batch=4,
        accumulate=1,
        devices=1,
        lr=1e-3,
        warmup=0.0,
        decay=0.3,
        clip=1.0,
        precision="fp32",
        deterministic=False,
        threads=1,
        rate_ramp=0.5,
        rate_start=0.05,
        select_every=10,
        patience=0,
        crop=0,
        flip=False,
        scale=1.0,
    )
