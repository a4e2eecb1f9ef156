"""The trial models: what trains, what stays frozen, and that arms start alike."""

from collections.abc import Callable
from itertools import islice

import pytest
import torch

from tcc import registry
from tcc.formats.sample import Batch, Sample, collate
from tcc.records import Plan, TrialSpec
from tcc.trial.data import open_split
from tcc.trial.loading import TrainingBatches
from tcc.trial.place import Place

torch.set_num_threads(1)
METHOD = registry.load("methods", "ttcc")


def make_task(trial: TrialSpec) -> Callable:
    def make(name: str):
        task = registry.load("tasks", name)
        return task.build(task.Params(), ("background", "thing"))

    return make


def parents_of(plan: Plan, trial: TrialSpec) -> dict[str, TrialSpec]:
    by_id = {item.id: item for item in plan}
    found: dict[str, TrialSpec] = {}
    for need in trial.needs:
        found |= {by_id[need].kind: by_id[need]} | parents_of(plan, by_id[need])
    return found


def built(plan: Plan, kind: str, beta: float | None = None):
    trial = next(
        item
        for item in plan
        if item.kind == kind and (beta is None or item.axes.get("beta") == beta)
    )
    return METHOD.build(trial, parents_of(plan, trial), make_task(trial))


def batch(height: int = 32, width: int = 48, seed: int = 0) -> Batch:
    generator = torch.Generator().manual_seed(seed)
    return Batch(
        keys=("a", "b"),
        image_B3HW=torch.rand(2, 3, height, width, generator=generator),
        labels={"disparity": torch.randint(0, 32768, (2, height, width), generator=generator)},
    )


def gradients(model) -> dict[str, torch.Tensor | None]:
    model.train()
    model.zero_grad(set_to_none=True)
    model.loss(batch(), 1.0)["total"].backward()
    return {name: parameter.grad for name, parameter in model.named_parameters()}


@pytest.mark.parametrize("kind", ["enhancement", "standalone", "direct"])
def test_no_gradient_reaches_the_base(tiny_plan, kind):
    found = gradients(built(tiny_plan(), kind))
    assert all(grad is None for name, grad in found.items() if name.startswith("base."))
    assert any(grad is not None for name, grad in found.items() if not name.startswith("base."))


def test_standalone_trains_the_entropy_model_alone(tiny_plan):
    found = gradients(built(tiny_plan(), "standalone"))
    trained = {name for name, grad in found.items() if grad is not None}
    assert trained
    assert all(name.startswith("codec.entropy.") for name in trained)
    assert all(
        name.startswith("codec.entropy.")
        for name in built(tiny_plan(), "standalone").trained_state()
    )


def test_at_beta_0_the_decoder_leaves_the_codec_alone(tiny_plan):
    beside = gradients(built(tiny_plan(), "base", beta=0.0))
    plan = tiny_plan("model.reconstruction_decoder=false")
    alone = gradients(built(plan, "base", beta=0.0))
    assert set(beside) - set(alone)
    for name, grad in alone.items():
        if grad is not None:
            assert torch.equal(grad, beside[name]), name


@pytest.mark.parametrize("mode", ["absolute", "relative"])
def test_the_base_is_trained_on_the_papers_loss(tiny_plan, mode):
    # L_b = λ_b·d_b + R + β·d_a, and λ_b·(d_b + β·d_a) + R in the released code's terms
    model = built(tiny_plan(f"grid.beta_mode={mode}"), "base", beta=0.1)
    found = gradients(model)
    lmbda = model.lmbda
    beta = 0.1 if mode == "absolute" else 0.1 * lmbda
    model.zero_grad(set_to_none=True)
    y = model.codec(batch())
    y_hat = y + (y.round() - y).detach()
    rate = model.codec.entropy(y, y_hat)["y"].mean() / (32 * 48)
    distortion = model.branch.distortion(y_hat, batch())
    (lmbda * distortion + rate + beta * model.auxiliary.distortion(y_hat, batch())).backward()
    for name, parameter in model.named_parameters():
        if parameter.grad is not None and not name.startswith("auxiliary."):
            assert torch.allclose(found[name], parameter.grad, rtol=1e-4, atol=1e-6), name


def test_the_decoder_trains_alike_for_every_beta(tiny_plan):
    baseline, proposed = (gradients(built(tiny_plan(), "base", beta=beta)) for beta in (0.0, 0.1))
    decoder = [
        name
        for name, grad in baseline.items()
        if name.startswith("auxiliary.") and grad is not None
    ]
    assert decoder
    assert all(torch.equal(baseline[name], proposed[name]) for name in decoder)


def test_arms_of_a_comparison_share_initial_weights(tiny_plan):
    plan = tiny_plan()
    reference = built(plan, "enhancement").state_dict()
    for kind in ("standalone", "single_layer", "pretrain"):
        own = built(plan, kind).state_dict()
        shared = [name for name in own if name.startswith(("codec.", "branch."))]
        assert shared
        for name in shared:
            assert torch.equal(own[name], reference[name]), (kind, name)
    first, second = (built(plan, "base", beta=beta).state_dict() for beta in (0.0, 0.1))
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_arms_of_a_comparison_share_the_batch_order(tiny_plan):
    def order(kind: str) -> list[tuple[str, ...]]:
        trial = next(item for item in tiny_plan() if item.kind == kind)
        batches = TrainingBatches(
            open_split(trial.recipe.datasets[0], "train"),
            trial.recipe.train,
            seed=trial.seed,
            key=METHOD.batch_key(trial),
            place=Place(device=torch.device("cpu")),
        )
        return [item.keys for item in islice(batches.stream(), 9)]  # more than an epoch

    orders = {kind: order(kind) for kind in ("enhancement", "standalone", "single_layer", "base")}
    assert orders["enhancement"] == orders["standalone"] == orders["single_layer"]
    assert orders["enhancement"] != orders["base"]


def padded(*sizes: tuple[int, int]) -> Batch:
    """Images of several sizes, of which each follows from its own size alone, as one batch."""
    samples = []
    for height, width in sizes:
        generator = torch.Generator().manual_seed(height * 1000 + width)
        image = torch.randint(0, 256, (3, height, width), dtype=torch.uint8, generator=generator)
        disparity = torch.randint(1, 32768, (height, width), generator=generator)
        samples.append(Sample(key="a", image=image, labels={"disparity": disparity}))
    return collate(samples).to("cpu")


@pytest.mark.parametrize("changes", [(), ("model.hyperprior=true",), ("train.scale=0.5",)])
@pytest.mark.parametrize("kind", ["base", "enhancement", "standalone", "direct", "single_layer"])
def test_an_image_costs_the_same_bits_in_whatever_batch_it_is_padded(tiny_plan, kind, changes):
    model = built(tiny_plan(*changes), kind).eval()
    little, much = (model.measure(padded((39, 50), size)) for size in ((320, 304), (464, 400)))
    for stream, bits in little.bits_by_stream.items():
        assert bits[0] == pytest.approx(much.bits_by_stream[stream][0].item(), rel=1e-4), stream
        assert bits[0] < bits[1] / 10


def test_the_rate_of_a_padded_batch_is_the_mean_of_its_images_bits_per_pixel(tiny_plan):
    model = built(tiny_plan(), "single_layer").eval()
    batch = padded((39, 50), (64, 30), (32, 80))
    bits = model.measure(batch).bits_by_stream["single_layer.y"]
    pixels = torch.tensor([39 * 50, 64 * 30, 32 * 80])
    rate = model.rd_cost(batch) - model.lmbda * model.branch.distortion(
        model.codec(batch).round(), batch
    )
    assert rate.item() == pytest.approx((bits / pixels).mean().item(), abs=1e-4)


def test_cells_of_padding_hold_nothing(tiny_plan):
    model = built(tiny_plan(), "base")
    y = model.codec(padded((39, 50), (64, 30)))
    assert y.shape[-2:] == (4, 4)  # of 64 × 50 pixels
    assert y[0, :, :3].abs().min() > 0
    assert y[0, :, 3:].abs().max() == 0
    assert y[1, :, :, :2].abs().min() > 0
    assert y[1, :, :, 2:].abs().max() == 0


@pytest.mark.parametrize("size", [(17, 33), (1, 1), (16, 16), (5, 70)])
def test_rates_and_outputs_of_odd_sizes(tiny_plan, size):
    measured = built(tiny_plan(), "enhancement").eval().measure(batch(*size))
    assert set(measured.bits_by_stream) == {"base.y", "enhancement.y"}
    assert all(
        bits.shape == (2,) and bits.dtype == torch.float64
        for bits in measured.bits_by_stream.values()
    )
    assert measured.outputs["reconstruction"].shape == (2, 3, *size)


def test_side_information_changes_the_conditional_rate_alone(tiny_plan):
    plan = tiny_plan()
    enhancement, standalone = built(plan, "enhancement"), built(plan, "standalone")
    assert enhancement.tower is not None
    assert standalone.tower is None
    moved = batch(seed=1)
    for model, depends in ((enhancement, True), (standalone, False)):
        model.eval()
        y, _ = model._latents(batch())
        hats = [model.precompute(item).get("base_hat", torch.zeros(1)) for item in (batch(), moved)]
        rates = [model.codec.entropy(y, y.round(), model._side(hat * 50))["y"] for hat in hats]
        assert torch.equal(*rates) != depends


def test_frozen_outputs_that_are_kept_are_those_that_would_be_made(tiny_plan):
    from dataclasses import replace

    for kind in ("enhancement", "standalone", "direct"):
        model = built(tiny_plan(), kind).eval()
        fresh = model.rd_cost(batch())
        kept = model.rd_cost(replace(batch(), frozen=model.precompute(batch())))
        assert torch.equal(fresh, kept)


def test_a_checkpoint_of_another_size_is_refused_by_name(tiny_plan):
    from tcc.errors import CheckpointError

    state = built(tiny_plan("model.latent=6"), "base").trained_state()
    with pytest.raises(CheckpointError, match="codec"):
        built(tiny_plan(), "base").load_trained(state)
    with pytest.raises(CheckpointError, match="unexpected"):
        built(tiny_plan(), "base").load_trained({"strange.weight": torch.zeros(1)})


def test_synthesis_input_both_sees_the_base(tiny_plan):
    model = built(tiny_plan("model.synthesis_input=both"), "enhancement").eval()
    measured = model.measure(batch())
    assert model.branch.synthesis.layers[0].in_channels == 8
    assert measured.outputs["reconstruction"].shape == (2, 3, 32, 48)
