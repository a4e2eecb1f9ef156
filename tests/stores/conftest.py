"""Records with awkward numbers, and a store to put them in."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tcc.records import (
    LOOP_VERSION,
    SCHEMA,
    DatasetUse,
    EvaluationRecord,
    EvaluationSpec,
    FailureRecord,
    ImageResult,
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
from tcc.stores import Store, open_store

TRAIN = TrainRecipe(
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
    scale=1 / 3,
)
DATASET = DatasetUse(
    name="scenes", plugin="scenes", version=1, params={"root": "a b/ü"}, fingerprint="f00d"
)
METHOD = PluginUse(name="ttcc", plugin="ttcc", version=1, params={"sizes": [16, 24], "gain": 3.0})
PROVENANCE = Provenance(
    tcc_version="0.1.0",
    git_revision="",
    packages={"torch": "2.9"},
    machine="x86_64",
    device="cpu",
    started_at="2026-11-01T00:00:00Z",
    study="tiny",
)
CHECKPOINT = "c" * 64


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return open_store(tmp_path / "runs")


@pytest.fixture(scope="session")
def make_trial() -> Callable[..., TrialSpec]:
    def make(id: str = "aa11") -> TrialSpec:
        return TrialSpec(
            id=id,
            kind="base",
            method="ttcc",
            tasks=("depth", "reconstruction"),
            datasets=("scenes",),
            axes={"lambda_b": 0.1 + 0.2, "beta": 5e-324},
            seed=0,
            variant="",
            recipe=Recipe(
                method=METHOD,
                tasks=(PluginUse(name="depth", plugin="depth", version=2, params={}),),
                datasets=(DATASET,),
                train=TRAIN,
                loop_version=LOOP_VERSION,
            ),
            needs=(),
            evaluations=(_evaluation_spec("ev1"),),
            resources=Resources(),
            label="base λ_b=0.3",
        )

    return make


@pytest.fixture(scope="session")
def make_evaluation() -> Callable[..., EvaluationRecord]:
    def make(
        trial: str = "aa11", id: str = "ev1", checkpoint: str = CHECKPOINT, images: int = 2
    ) -> EvaluationRecord:
        return EvaluationRecord(
            schema=SCHEMA,
            trial=trial,
            evaluation=_evaluation_spec(id),
            checkpoint_sha256=checkpoint,
            rates=(
                Rate(
                    bits_by_stream={"base.y": 1234.5678901234567},
                    num_pixels=4096,
                    bpp_by_stream={"base.y": 1 / 7},
                    source="estimated",
                ),
            ),
            metrics=(Metric(name="depth/rmse", value=0.1, unit="px", higher_is_better=False),),
            per_image=tuple(
                ImageResult(
                    key=f"{index:05}",
                    height=64,
                    width=63,
                    bits_by_stream={"base.y": index / 3},
                    metrics={"depth/rmse": index * 1e-17},
                )
                for index in range(images)
            ),
            timings={"evaluate": 0.25},
            provenance=PROVENANCE,
        )

    return make


@pytest.fixture(scope="session")
def make_record(
    make_trial: Callable[..., TrialSpec], make_evaluation: Callable[..., EvaluationRecord]
) -> Callable[..., TrialRecord]:
    def make(id: str = "aa11", rd_cost: float = 1 / 3, images: int = 2) -> TrialRecord:
        return TrialRecord(
            schema=SCHEMA,
            trial=make_trial(id),
            training=Training(
                steps=40,
                best_step=30,
                best_rd_cost=rd_cost,
                rd_cost=((10, 1e300), (20, -0.0), (30, rd_cost)),
                last_terms={"total": 2 / 3},
                num_parameters={"g_a": 123},
                kmac_per_pixel={"codec.analysis": 1 / 3, "total": 1 / 3},
                kmac_size=(64, 64),
                initial_weights={"depth": "random"},
                checkpoint_sha256=CHECKPOINT,
                last_sha256="d" * 64,
                parents_sha256={},
            ),
            evaluations=(make_evaluation(id, images=images),),
            timings={"train": 1e-9},
            provenance=PROVENANCE,
        )

    return make


@pytest.fixture
def failure(make_trial: Callable[..., TrialSpec]) -> FailureRecord:
    return FailureRecord(
        schema=SCHEMA,
        trial=make_trial(),
        reason="loss is nan",
        step=3,
        term="rate",
        log="trials/aa11/log.txt",
    )


def _evaluation_spec(id: str) -> EvaluationSpec:
    return EvaluationSpec(
        id=id, dataset=DATASET, split="val", rate="estimated", metrics=("depth/rmse",)
    )
