"""A made-up study as records: every kind of trial, with rates and metrics that follow a formula."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace

import pytest

from tcc.records import (
    LOOP_VERSION,
    SCHEMA,
    DatasetUse,
    EvaluationRecord,
    EvaluationSpec,
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

LAMBDA_B = (0.1, 0.3, 1.0, 3.0)
LAMBDA_E = (0.02, 0.05, 0.1, 0.3)
BETAS = (0.0, 0.1)
SCALABLE_AT = (0.3, 1.0)
METRICS = {
    "depth/rmse": ("px", False),
    "reconstruction/psnr": ("dB", True),
    "reconstruction/ms_ssim": ("", True),
}
TRAIN = TrainRecipe(
    steps=100, batch=4, accumulate=1, devices=1, lr=1e-3, warmup=0.0, decay=0.3, clip=1.0,
    precision="fp32", deterministic=False, threads=1, rate_ramp=0.5, rate_start=0.05,
    select_every=10, patience=0, crop=0, flip=False, scale=1.0,
)  # fmt: skip
PROVENANCE = Provenance(
    tcc_version="0",
    git_revision="0",
    packages={},
    machine="",
    device="cpu",
    started_at="",
    study="",
)
STEADY = tuple((step, 2.0) for step in range(10, 101, 10))


def dataset(name: str) -> DatasetUse:
    return DatasetUse(name=name, plugin=name, version=1, params={}, fingerprint=name)


def make_spec(
    kind: str,
    tasks: tuple[str, ...],
    axes: Mapping[str, float],
    *,
    seed: int = 0,
    needs: tuple[str, ...] = (),
    variant: str = "",
    trained_on: str = "scenes",
) -> TrialSpec:
    label = "-".join([kind, *tasks, *(f"{a}{x:g}" for a, x in axes.items()), variant, str(seed)])
    return TrialSpec(
        id=label if trained_on == "scenes" else f"{label}-{trained_on}",
        kind=kind,
        method="ttcc",
        tasks=tasks,
        datasets=(trained_on,),
        axes=axes,
        seed=seed,
        variant=variant,
        recipe=Recipe(
            method=PluginUse(name="ttcc", plugin="ttcc", version=1, params={}),
            tasks=(),
            datasets=(dataset(trained_on),),
            train=TRAIN,
            loop_version=LOOP_VERSION,
        ),
        needs=needs,
        evaluations=(),
        resources=Resources(),
        label=label,
    )


def make_evaluation(
    trial: str,
    bpp: Mapping[str, float],
    values: Mapping[str, float],
    *,
    on: str = "scenes",
    asked: str = "estimated",
    sources: tuple[str, ...] = ("estimated",),
) -> EvaluationRecord:
    """Coded rates are 2 % over the estimated ones."""
    rates = []
    for source in sources:
        scale = 1.02 if source == "coded" else 1.0
        streams = {name: rate * scale for name, rate in bpp.items()}
        bits = {name: rate * 4096 for name, rate in streams.items()}
        rates.append(
            Rate(bits_by_stream=bits, num_pixels=4096, bpp_by_stream=streams, source=source)
        )
    return EvaluationRecord(
        schema=SCHEMA,
        trial=trial,
        evaluation=EvaluationSpec(
            id=f"{trial}@{on}-{asked}",
            dataset=dataset(on),
            split="val",
            rate=asked,
            metrics=tuple(values),
        ),
        checkpoint_sha256="",
        rates=tuple(rates),
        metrics=tuple(
            Metric(name=n, value=v, unit=METRICS[n][0], higher_is_better=METRICS[n][1])
            for n, v in values.items()
        ),
        per_image=(),
        timings={},
        provenance=PROVENANCE,
    )


def make_record(
    spec: TrialSpec,
    *evaluations: EvaluationRecord,
    rd_cost: tuple[tuple[int, float], ...] = STEADY,
) -> TrialRecord:
    return TrialRecord(
        schema=SCHEMA,
        trial=spec,
        training=Training(
            steps=100,
            best_step=90,
            best_rd_cost=2.0,
            rd_cost=rd_cost,
            last_terms={},
            num_parameters={},
            kmac_per_pixel={},
            kmac_size=(64, 64),
            initial_weights={},
            checkpoint_sha256="",
            last_sha256="",
            parents_sha256={},
        ),
        evaluations=evaluations,
        timings={},
        provenance=PROVENANCE,
    )


def psnr(lambda_e: float) -> dict[str, float]:
    value = 30 + 3 * math.log(lambda_e * 50)
    return {"reconstruction/psnr": value, "reconstruction/ms_ssim": 0.8 + value / 400}


def make_study(
    seed: int = 0,
    lambda_b: tuple[float, ...] = LAMBDA_B,
    scalable_at: tuple[float, ...] = SCALABLE_AT,
) -> Iterator[TrialRecord]:
    """β = 0.1 makes the base 4 % dearer and the enhancement 20 % cheaper; the base saves the
    enhancement a quarter of its bits."""
    noise = 1 + 0.01 * seed
    for beta in BETAS:
        levels = {"depth/rmse": 4.0 - beta}
        spec = make_spec("uncompressed", ("depth",), {"lambda_b": 1000.0, "beta": beta}, seed=seed)
        yield make_record(spec, make_evaluation(spec.id, {"base.y": 2.0}, levels))
        for lmbda in lambda_b:
            axes = {"lambda_b": lmbda, "beta": beta}
            rate = {"base.y": 0.2 * lmbda**0.5 * (1 + 0.4 * beta), "base.z": 0.01}
            base = make_spec("base", ("depth",), axes, seed=seed)
            values = {"depth/rmse": 6 - math.log(lmbda), **psnr(0.01 * (1 + beta) * (1 + lmbda))}
            yield make_record(base, make_evaluation(base.id, rate, values))
            pair = ("depth", "reconstruction")
            direct = make_spec("direct", pair, axes, seed=seed, needs=(base.id,))
            values = psnr(0.02 * (1 + beta) * (1 + lmbda))
            yield make_record(direct, make_evaluation(direct.id, rate, values))
            if lmbda not in scalable_at:
                continue
            for lambda_e in LAMBDA_E:
                grid = {**axes, "lambda_e": lambda_e}
                own = 3 * lambda_e**0.5 * (1 - 2 * beta) * noise
                enhancement = make_spec("enhancement", pair, grid, seed=seed, needs=(base.id,))
                streams = {**rate, "enhancement.y": own}
                evaluation = make_evaluation(enhancement.id, streams, psnr(lambda_e))
                yield make_record(enhancement, evaluation)
                alone = make_spec("standalone", pair, grid, seed=seed, needs=(enhancement.id,))
                streams = {**rate, "enhancement.y": own / 0.75}
                yield make_record(alone, make_evaluation(alone.id, streams, psnr(lambda_e)))
    for lambda_e in LAMBDA_E:
        single = make_spec("single_layer", ("reconstruction",), {"lambda_e": lambda_e}, seed=seed)
        rate = {"single_layer.y": 4 * lambda_e**0.5}
        yield make_record(single, make_evaluation(single.id, rate, psnr(lambda_e)))
    pixels = make_spec("pixels", ("depth",), {}, seed=seed)
    evaluation = make_evaluation(pixels.id, {}, {"depth/rmse": 3.5})
    yield make_record(pixels, replace(evaluation, rates=()))


@pytest.fixture
def study() -> Callable[..., tuple[TrialRecord, ...]]:
    """``study(*seeds, at_every_base=False)``: all records of a study with those seeds."""

    def build(*seeds: int, at_every_base: bool = False) -> tuple[TrialRecord, ...]:
        at = LAMBDA_B if at_every_base else SCALABLE_AT
        return tuple(record for seed in seeds for record in make_study(seed, scalable_at=at))

    return build


@pytest.fixture
def zipped(study: Callable[..., tuple[TrialRecord, ...]]) -> Callable[..., list[TrialRecord]]:
    """``zipped(*seeds)``: the records that the study would have with `pairing: zip`."""
    pairs = dict(zip(LAMBDA_B, LAMBDA_E, strict=True))

    def wanted(axes: Mapping[str, float]) -> bool:
        both = {"lambda_b", "lambda_e"} <= axes.keys()
        return not both or pairs[axes["lambda_b"]] == axes["lambda_e"]

    def build(*seeds: int) -> list[TrialRecord]:
        return [item for item in study(*seeds, at_every_base=True) if wanted(item.trial.axes)]

    return build


@pytest.fixture
def make() -> type:
    """The builders of single specs, evaluations and records."""

    class Make:
        spec = staticmethod(make_spec)
        evaluation = staticmethod(make_evaluation)
        record = staticmethod(make_record)

    return Make
