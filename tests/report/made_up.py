"""A made-up study with every trial kind, written through a real store.

`fabricate` gives any planned trial a smooth, plausible result, so that curves are worth drawing.
"""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image

from tcc.plan import expand, plan_to_json
from tcc.records import (
    SCHEMA,
    EvaluationRecord,
    FailureRecord,
    ImageResult,
    Metric,
    Plan,
    Provenance,
    Rate,
    RunRecord,
    Training,
    TrialRecord,
    TrialSpec,
)
from tcc.spec import parse_spec, resolved_yaml
from tcc.stores import Store, open_store

STUDY = """
study: made_up
data: {scenes: {train: 64, val: 4}}
pairs:
  - {base: depth, enhancement: reconstruction}
  - {base: depth, enhancement: segmentation}
grid: {lambda_b: [0.1, 0.3, 1], lambda_e: [0.02, 0.06, 0.2, 0.6], beta: [0, 0.1]}
also: [direct, standalone: {lambda_b: [0.3]}, single_layer, uncompressed, pixels]
train: {steps: 400}
report: {anchor: {beta: 0}, notice: "Made-up <numbers>: they mean nothing."}
"""
BROKEN = {"lambda_b": 0.1, "beta": 0.1}  # the axes of the base that fails
SIDE = 64  # pixels
METRICS = {
    "depth": (("rmse", "px", False),),
    "reconstruction": (("psnr", "dB", True), ("ms-ssim", "", True)),
    "segmentation": (("miou", "", True),),
    "detection": (("map", "", True),),
    "classification": (("top1", "", True),),
}
PROVENANCE = Provenance(
    tcc_version="0.1.0",
    git_revision="0123abcd",
    packages={"torch": "2.9.1", "compressai": "1.2.8"},
    machine="Linux x86_64, 2 cores",
    device="cpu",
    started_at="2026-11-20T12:00:00Z",
    study="made_up",
)


def checkpoint_of(trial_id: str) -> bytes:
    """A safetensors file without tensors, another one for each trial."""
    header = json.dumps({"__metadata__": {"trial": trial_id}}).encode()
    return len(header).to_bytes(8, "little") + header


def sha256(trial_id: str) -> str:
    """Of the trial's checkpoint."""
    return hashlib.sha256(checkpoint_of(trial_id)).hexdigest()


def plan_of(seeds: tuple[int, ...]) -> tuple[Plan, str]:
    """The plan and its resolved spec."""
    spec = parse_spec(STUDY.replace("beta: [0, 0.1]}", f"beta: [0, 0.1], seed: {list(seeds)}}}"))
    return expand(spec), resolved_yaml(spec)


def _rates(trial: TrialSpec) -> dict[str, float]:
    """Bits per pixel by stream; a base's are the same in all that stands on it."""
    axes = trial.axes
    if trial.kind == "pixels":
        return {}
    if trial.kind == "single_layer":
        return {"single_layer.y": 0.95 * _latent_bpp(trial) * _noise(trial.id)}
    beta = axes.get("beta", 0)  # a reconstruction base has none
    place = f"{axes['lambda_b']} {beta} {trial.seed}"
    base = 0.35 * axes["lambda_b"] ** 0.4 * (1 + 0.3 * beta) * _noise(place)
    if trial.kind not in ("enhancement", "standalone"):
        return {"base.y": base}
    saved = 0.0 if trial.kind == "standalone" else 0.08 + 0.9 * beta
    return {"base.y": base, "enhancement.y": _latent_bpp(trial) * (1 - saved) * _noise(trial.id)}


def _noise(text: str) -> float:
    """A factor within 1.5 % of 1."""
    return 0.985 + 0.03 * int(hashlib.sha256(text.encode()).hexdigest()[:4], 16) / 0xFFFF


def _latent_bpp(trial: TrialSpec) -> float:
    """What the second task's latent costs without side information."""
    return 0.8 * trial.axes["lambda_e"] ** 0.5 * (1 + 0.1 * trial.axes.get("lambda_b", 0))


def _quality(trial: TrialSpec, task: str, rates: dict[str, float]) -> float:
    """The metric that a trial reaches."""
    if trial.kind == "pixels":
        gain = 2.2
    elif trial.kind == "uncompressed":
        gain = 2.0
    elif trial.kind == "base" and task == trial.tasks[0]:
        gain = math.log1p(8 * rates["base.y"])
    elif trial.kind in ("base", "direct"):
        fresh = 0.1 if trial.kind == "direct" else 0.0
        gain = 0.35 * math.log1p(8 * rates["base.y"]) + trial.axes.get("beta", 0) + fresh
    else:
        gain = math.log1p(4 * _latent_bpp(trial))
    return {
        "depth": 9.0 - 3 * gain,
        "reconstruction": 19.0 + 6 * gain,
        "segmentation": 0.25 + 0.2 * gain,
        "detection": 0.1 + 0.15 * gain,
        "classification": 0.2 + 0.3 * gain,
    }[task]


def fabricate(trial: TrialSpec) -> TrialRecord:
    """The record of a finished trial."""
    rates, asked = _rates(trial), trial.evaluations[0]
    metrics = []
    for task in dict.fromkeys(name.partition("/")[0] for name in asked.metrics):
        quality = _quality(trial, task, rates)
        for name, unit, higher in METRICS[task]:
            value = 1 - 3 / quality if name == "ms-ssim" else quality
            name = f"{task}/{name}"
            metrics.append(Metric(name=name, value=value, unit=unit, higher_is_better=higher))
    image = ImageResult(
        key="000000",
        height=SIDE,
        width=SIDE,
        bits_by_stream={stream: bpp * SIDE**2 for stream, bpp in rates.items()},
        metrics={m.name: m.value for m in metrics if m.name.endswith("psnr")},
    )
    rate = Rate(
        bits_by_stream=image.bits_by_stream,
        num_pixels=SIDE**2,
        bpp_by_stream=rates,
        source="estimated",
    )
    evaluation = EvaluationRecord(
        schema=SCHEMA,
        trial=trial.id,
        evaluation=asked,
        checkpoint_sha256=sha256(trial.id),
        rates=(rate,),
        metrics=tuple(metrics),
        per_image=(image,),
        timings={"evaluate": 1.5},
        provenance=PROVENANCE,
    )
    falling = trial.kind == "base" and trial.axes["lambda_b"] == 1
    costs = tuple((step, 5 - step / 400 if falling else 4.0) for step in range(40, 401, 40))
    return TrialRecord(
        schema=SCHEMA,
        trial=trial,
        training=Training(
            steps=400,
            best_step=360,
            best_rd_cost=costs[-1][1],
            rd_cost=costs,
            last_terms={"total": 4.0},
            num_parameters={"base": 120_000},
            kmac_per_pixel={"codec.analysis": 3.5, "branch.synthesis": 4.0, "total": 7.5},
            kmac_size=(64, 64),
            initial_weights={trial.tasks[-1]: "random"},
            checkpoint_sha256=sha256(trial.id),
            last_sha256=sha256(trial.id),
            parents_sha256={parent: sha256(parent) for parent in trial.needs},
        ),
        evaluations=(evaluation,),
        timings={"setup": 0.2, "train": 11.0, "evaluate": 1.5, "total": 13.3},
        provenance=PROVENANCE,
    )


def run_of(started_at: str = "2026-11-20T12:00:00+00:00", **changes: object) -> RunRecord:
    """A run of two hours on three nodes."""
    run = RunRecord(
        schema=SCHEMA,
        run="host-1234",
        study="made_up",
        started_at=started_at,
        seconds=7500.0,
        expected_s=7200.0,
        bound_s=6000.0,
        cpu_hours=8.25,
        gpu_hours=1.5,
        nodes=("big (8 CPU, 1 GPU)", "big (8 CPU, 1 GPU)", "small (2 CPU, 0 GPU)"),
        counts={"done": 83, "failed": 1, "skipped": 10},
        losses=2,
        interrupted=False,
    )
    return replace(run, **changes)  # pyright: ignore[reportArgumentType]


def fill(root: Path, seeds: tuple[int, ...], *, failing: bool) -> Store:
    """A store that holds the study ``made_up``.

    With ``failing``, one base of each seed failed and all that stands on it was skipped, and the
    study had one run.
    """
    plan, spec = plan_of(seeds)
    store = open_store(root)
    store.write_study("made_up", "spec.yaml", spec)
    store.write_study("made_up", "plan.json", plan_to_json(plan))
    lost: set[str] = set()
    for trial in plan:
        broken = failing and trial.kind == "base" and trial.axes == BROKEN
        if broken or lost.intersection(trial.needs):
            lost.add(trial.id)
        else:
            folder = store.directory / "trials" / trial.id
            folder.mkdir(parents=True)
            (folder / "checkpoint.safetensors").write_bytes(checkpoint_of(trial.id))
            store.commit(fabricate(trial))
            write_previews(trial, store)
        if broken:
            store.fail(_failure(trial, store))
    if failing:
        store.write_run(run_of())
    return store


def _failure(trial: TrialSpec, store: Store) -> FailureRecord:
    return FailureRecord(
        schema=SCHEMA,
        trial=trial,
        reason="loss term <rate> is NaN & the trial ended",
        step=17,
        term="rate",
        log=str(store.log_path(trial.id)),
    )


def write_previews(trial: TrialSpec, store: Store) -> None:
    """A picture that gets coarser with the rate's fall."""
    if trial.tasks[-1] != "reconstruction" and trial.kind != "base":
        return
    ys, xs = np.mgrid[0:SIDE, 0:SIDE]
    image = np.stack([xs * 4, ys * 4, (xs + ys) * 2 % 256], -1).astype(np.uint8)
    step = max(1, round(1 / sum(_rates(trial).values())))
    coarse = image[::step, ::step].repeat(step, 0).repeat(step, 1)[:SIDE, :SIDE]
    folder = store.preview_dir(trial.id) / trial.evaluations[0].id
    folder.mkdir(parents=True)
    Image.fromarray(image).save(folder / "000000.original.png")
    Image.fromarray(coarse).save(folder / "000000.reconstruction.png")
