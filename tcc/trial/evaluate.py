"""Measures a trained trial on one split: rates, metrics, and a few decoded images to look at."""

from __future__ import annotations

import logging
import math
import time
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import torch
from torch import Tensor, nn

from tcc import registry
from tcc.codec.coding import LatentCoder
from tcc.codec.geometry import rescale
from tcc.errors import BitstreamError, NonFiniteError, TrialError
from tcc.formats.image import write_png
from tcc.formats.sample import Batch, pixels
from tcc.methods import Measured, TrialModel
from tcc.records import (
    SCHEMA,
    EvaluationRecord,
    EvaluationSpec,
    ImageResult,
    Metric,
    MetricInfo,
    PluginUse,
    Rate,
    TrialSpec,
)
from tcc.tasks import Accumulator
from tcc.trial import memory
from tcc.trial.coded import Cost, costs, gap_of
from tcc.trial.data import describe, labels_of, open_split
from tcc.trial.finite import predicted
from tcc.trial.loading import WholeImages
from tcc.trial.place import Place
from tcc.trial.provenance import provenance

log = logging.getLogger("tcc.trial")

PREVIEWS = 3
RECONSTRUCTION = "reconstruction"


@torch.no_grad()
def evaluate(
    model: TrialModel,
    trial: TrialSpec,
    spec: EvaluationSpec,
    *,
    checkpoint_sha256: str,
    place: Place,
    study: str,
    previews: Path | None = None,
    report: Callable[[int, int], None] | None = None,
) -> EvaluationRecord:
    """The record of one evaluation, in full precision. Rates are over the original pixels.

    Raises:
        NonFiniteError: a metric, or what was decoded or predicted, is NaN or infinite; names it,
            and the image.
        MemoryExceededError: memory does not suffice.
        TrialError: a task's headline metric applies to no image.
    """
    assert isinstance(model, nn.Module)
    started_at, clock = datetime.now(UTC), time.monotonic()
    model.eval()
    labels = labels_of(_measured_tasks(trial, spec))
    loaded = WholeImages(open_split(spec.dataset, spec.split, place.workers, labels), place)
    accumulators = _accumulators(trial, spec)
    all_coded = spec.rate == "coded"
    coders = model.coders() if all_coded or spec.coded_images else {}
    images: list[ImageResult] = []
    coded: list[Cost] = []
    for item in loaded:
        with memory.explained_whole(item, place.device):
            batch = item.to(place.device)
            left = len(batch) if all_coded else spec.coded_images - len(coded)
            measured = _measured(model, batch, coders if left > 0 else None, must=all_coded)
            of_files = costs(measured, batch.sizes)[: max(left, 0)]
            values: list[dict[str, float]] = [{} for _ in batch.keys]
            for task, accumulator in accumulators.items():
                decoded = measured.outputs[task].float()
                predictions = predicted(task, model.task_model(task), decoded, batch.keys)
                seen = _with_coded(batch, measured, task, trial.recipe.train.scale)
                for mine, found in zip(values, accumulator.update(predictions, seen), strict=True):
                    mine.update({f"{task}/{name}": value for name, value in found.items()})
        images += _image_results(batch, measured.bits_by_stream, of_files, values, all_coded)
        coded += of_files
        _refuse_non_finite(images[-len(batch) :])
        if previews is not None and RECONSTRUCTION in measured.outputs:
            _write_previews(previews, batch, measured.outputs[RECONSTRUCTION], len(images))
        if report is not None:
            report(len(images), len(loaded))
    return EvaluationRecord(
        schema=SCHEMA,
        trial=trial.id,
        evaluation=spec,
        checkpoint_sha256=checkpoint_sha256,
        rates=(_rate(images, "coded" if coded and all_coded else "estimated"),),
        metrics=_metrics(trial, spec, accumulators),
        per_image=tuple(images),
        timings={"evaluate": time.monotonic() - clock},
        provenance=provenance(study, str(place.device), started_at),
        gap=gap_of(coded),
    )


def _measured(
    model: TrialModel, batch: Batch, coders: Mapping[str, LatentCoder] | None, *, must: bool
) -> Measured:
    """``must``: false where coding is but a check of the estimate, which stands without it."""
    try:
        return model.measure(batch, coders)
    except BitstreamError as error:
        if must:
            raise TrialError(f"images {', '.join(batch.keys)}: {error}") from error
        log.warning("the estimate of %s is not checked: %s", ", ".join(batch.keys), error)
        return model.measure(batch)


def _with_coded(batch: Batch, measured: Measured, task: str, scale: float) -> Batch:
    """The batch with what was decoded and the original, both at a codec scale below 1."""
    if scale == 1 or task not in measured.coded:
        return batch
    return replace(batch, coded=(measured.coded[task], rescale(batch.image_B3HW, scale)))


def _measured_tasks(trial: TrialSpec, spec: EvaluationSpec) -> list[PluginUse]:
    wanted = {name.partition("/")[0] for name in spec.metrics}
    return [use for use in trial.recipe.tasks if use.name in wanted]


def _accumulators(trial: TrialSpec, spec: EvaluationSpec) -> dict[str, Accumulator]:
    classes = describe(spec.dataset, spec.split).classes
    accumulators = {}
    for use in _measured_tasks(trial, spec):
        task = registry.load("tasks", use.plugin)
        params = task.Params.model_validate(dict(use.params))
        accumulators[use.name] = task.accumulator(params, classes.get(task.label, ()))
    return accumulators


def _image_results(
    batch: Batch,
    bits: Mapping[str, Tensor],
    coded: list[Cost],
    values: list[dict[str, float]],
    all_coded: bool,
) -> list[ImageResult]:
    """``coded``: of the first images; where all are, bits are those of files."""
    columns = {stream: value.tolist() for stream, value in bits.items()}
    spent = [
        {stream: column[index] for stream, column in columns.items()} for index in range(len(batch))
    ]
    if all_coded and coded:
        spent = [cost.coded for cost in coded]
    return [
        ImageResult(
            key=key,
            height=height,
            width=width,
            bits_by_stream=spent[index],
            metrics=values[index],
            coded_bits=sum(coded[index].coded.values()) if index < len(coded) else None,
            estimated_bits=sum(coded[index].estimated.values()) if index < len(coded) else None,
        )
        for index, (key, (height, width)) in enumerate(zip(batch.keys, batch.sizes, strict=True))
    ]


def _rate(images: list[ImageResult], source: str) -> Rate:
    bits: dict[str, float] = defaultdict(float)
    bpp: dict[str, float] = defaultdict(float)
    for image in images:
        for stream, value in image.bits_by_stream.items():
            bits[stream] += value
            bpp[stream] += value / (image.height * image.width)
    return Rate(
        bits_by_stream=bits,
        num_pixels=sum(image.height * image.width for image in images),
        bpp_by_stream={stream: value / len(images) for stream, value in bpp.items()},
        source=source,
    )


def _metrics(
    trial: TrialSpec, spec: EvaluationSpec, accumulators: Mapping[str, Accumulator]
) -> tuple[Metric, ...]:
    metrics = []
    plugins = {use.name: use.plugin for use in trial.recipe.tasks}
    for task_name, accumulator in accumulators.items():
        found = accumulator.compute()
        task = registry.load("tasks", plugins[task_name])
        if task.headline.name not in found:
            raise TrialError(
                f"{spec.dataset.name} {spec.split}: no {task_name}/{task.headline.name}, since no "
                f"image has a label of the kind {task.label!r} that counts",
                term=f"{task_name}/{task.headline.name}",
            )
        for info in task.metrics:
            name = f"{task_name}/{info.name}"
            if name in spec.metrics and info.name in found:
                metrics.append(_finite(name, info, found[info.name]))
    return tuple(metrics)


def _refuse_non_finite(images: list[ImageResult]) -> None:
    for image in images:
        for name, value in [*image.bits_by_stream.items(), *image.metrics.items()]:
            if not math.isfinite(value):
                raise NonFiniteError(f"{name} of image {image.key} is {value}", term=name)


def _finite(name: str, info: MetricInfo, value: float) -> Metric:
    if not math.isfinite(value):
        raise NonFiniteError(f"metric {name} is {value}", term=name)
    return Metric(name=name, value=value, unit=info.unit, higher_is_better=info.higher_is_better)


def _write_previews(folder: Path, batch: Batch, decoded: Tensor, seen: int) -> None:
    first = seen - len(batch)
    folder.mkdir(parents=True, exist_ok=True)
    for index in range(min(len(batch), PREVIEWS - first)):
        stem = Path(batch.keys[index]).stem
        write_png(folder / f"{stem}.original.png", pixels(batch.image_B3HW[index]))
        write_png(folder / f"{stem}.{RECONSTRUCTION}.png", pixels(decoded[index]))
