"""What a training's record says, and what it can train on."""

from __future__ import annotations

import hashlib

import pytest
import torch

from tcc.records import FailureRecord, Plan, TrialRecord
from tcc.stores import Store, open_store
from tcc.trial import attempt


def run_all(plan: Plan, store: Store, *kinds: str) -> dict[str, TrialRecord]:
    """Runs the plan's trials (of some kinds) in order; kind → the last one's record."""
    records = {}
    for trial in plan:
        if not kinds or trial.kind in kinds:
            outcome = attempt(trial, store, study=plan.study)
            assert isinstance(outcome, TrialRecord), outcome
            records[trial.kind] = outcome
    return records


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_gpu_that_is_not_there_is_told_in_the_log(tiny_plan, tmp_path):
    plan, store = tiny_plan("resources.pretrain.gpu=0.5"), open_store(tmp_path)
    record = run_all(plan, store, "pretrain")["pretrain"]
    assert record.provenance.device == "cpu"
    assert "no CUDA device is visible" in store.log_path(record.trial.id).read_text()


def test_training_says_what_the_model_costs_and_starts_from(tiny_plan, tmp_path):
    plan = tiny_plan("data.scenes.size=[37,50]")
    records = run_all(plan, open_store(tmp_path), "pretrain", "base", "enhancement", "pixels")
    for kind, record in records.items():
        training = record.training
        assert training.kmac_size == (37, 50)
        assert training.kmac_per_pixel["total"] == pytest.approx(
            sum(value for part, value in training.kmac_per_pixel.items() if part != "total")
        )
        assert ("codec.analysis" in training.kmac_per_pixel) == (kind != "pixels")
        uses = {use.name for use in record.trial.recipe.tasks}
        assert training.initial_weights == dict.fromkeys(uses, "random")
    assert records["base"].trial.tasks == ("depth",)
    assert set(records["base"].training.initial_weights) == {"depth", "reconstruction"}


def test_weights_from_a_file_are_named_by_their_content(tiny_plan, tmp_path):
    from safetensors.torch import save_file

    from tcc import registry

    depth, weights = registry.load("tasks", "depth"), tmp_path / "weights.safetensors"
    torch.manual_seed(0)
    network = depth.build(depth.Params(width=8), ()).network
    save_file({name: x.contiguous() for name, x in network.state_dict().items()}, weights)
    change = f"tasks.depth={{width: 8, weights: {weights}}}"
    plan, store = tiny_plan(change), open_store(tmp_path / "runs")
    digest = hashlib.sha256(weights.read_bytes()).hexdigest()
    record = run_all(plan, store, "base")["base"]
    assert record.training.initial_weights["depth"] == f"sha256:{digest}"
    pixels = next(trial for trial in plan if trial.kind == "pixels")
    save_file({"other": torch.zeros(1)}, weights)
    outcome = attempt(pixels, store)
    assert isinstance(outcome, FailureRecord)
    assert "changed since this trial was planned" in outcome.reason


def test_at_a_codec_scale_what_was_coded_is_measured_too(tiny_plan, tmp_path):
    def metrics(scale: str) -> dict[str, float]:
        store = open_store(tmp_path / scale)
        record = run_all(tiny_plan(f"train.scale={scale}"), store, "pretrain")["pretrain"]
        return {metric.name: metric.value for metric in record.evaluations[0].metrics}

    assert "reconstruction/psnr_coded" not in metrics("1")
    half = metrics("1/2")
    assert half["reconstruction/psnr_coded"] > half["reconstruction/psnr"]  # scaling loses detail


def test_images_of_several_sizes_train_without_a_crop(tiny_plan, tmp_path):
    from tcc import registry

    params = registry.load("datasets", "coco").tiny(tmp_path / "coco")
    plan = tiny_plan(
        f"data={{coco: {params}}}",
        "pairs=[{base: detection, enhancement: reconstruction}]",
        "tasks.detection={width: 8, anchor_sizes: [8, 16]}",
        "train.batch=2",
    )
    kinds = ("pretrain", "base", "enhancement", "direct")
    records = run_all(plan, open_store(tmp_path / "runs"), *kinds)
    for kind, record in records.items():
        images = record.evaluations[0].per_image
        assert len({(image.height, image.width) for image in images}) > 1
        for rate in record.evaluations[0].rates:
            assert rate.num_pixels == sum(image.height * image.width for image in images)
        assert record.training.kmac_per_pixel["total"] > 0, kind
