import itertools

import pytest
import safetensors.torch
import torch

from tcc.codec import gaussian
from tcc.codec.entropy import EntropyModel, round_ste
from tcc.codec.seeding import seeded
from tcc.codec.transforms import AnalysisTransform, SynthesisTransform

LATENT, SIDE = 4, 8
KINDS = list(itertools.product(["masked", "checkerboard", "none"], [False, True]))
kinds = pytest.mark.parametrize(("context", "hyperprior"), KINDS)


def _model(context, hyperprior, side=0, seed=0):
    with seeded(seed, "entropy model"):
        return EntropyModel(LATENT, context=context, hyperprior=hyperprior, side_features=side)


def _latents(height=5, width=6, batch=2):
    y = 3 * torch.randn(batch, LATENT, height, width)
    return y, y.round()


@kinds
@pytest.mark.parametrize("size", [(1, 1), (5, 7)])
def test_rates_are_bits_of_each_image_by_stream(context, hyperprior, size):
    model = _model(context, hyperprior, SIDE).eval()
    y, y_hat = _latents(*size, batch=3)
    side = torch.randn(3, SIDE, *size)
    trained, measured = model(y, y_hat, side), model.measure(y, y_hat, side)
    assert set(trained) == set(measured) == ({"y", "z"} if hyperprior else {"y"})
    for stream in trained:
        assert (trained[stream].shape, trained[stream].dtype) == ((3,), torch.float32)
        assert (measured[stream].shape, measured[stream].dtype) == ((3,), torch.float64)
        assert (measured[stream] > 0).all()
    assert torch.allclose(trained["y"].double(), measured["y"], rtol=0.05)
    one = model.measure(y[1:2], y_hat[1:2], side[1:2])  # images do not mix
    assert all(torch.allclose(one[stream], measured[stream][1:2]) for stream in one)


@kinds
def test_bits_are_the_sum_over_symbols_of_minus_log2_p(context, hyperprior):
    model = _model(context, hyperprior).eval()
    y, y_hat = _latents()
    z_hat = model.hyperprior(y)[0] if model.hyperprior else None
    conditioning = model.conditioning((5, 6), z_hat)
    mean, scale = model.parameters_of(y_hat, conditioning)
    assert mean.shape == scale.shape == y_hat.shape
    normal = torch.distributions.Normal(mean.double(), scale.double())
    likelihood = normal.cdf(y_hat + 0.5) - normal.cdf(y_hat - 0.5)
    expected = -torch.log2(likelihood.clamp_min(gaussian.LIKELIHOOD_MIN)).sum((1, 2, 3))
    assert torch.allclose(model(y, y_hat)["y"].double(), expected, rtol=1e-4)


@kinds
def test_symbols_of_a_pass_do_not_depend_on_later_symbols(context, hyperprior):
    """Decoding in passes sees the very parameters that the rate was computed under."""
    model = _model(context, hyperprior, SIDE).eval()
    y, y_hat = _latents(batch=1)
    z_hat = model.hyperprior(y)[0] if model.hyperprior else None
    conditioning = model.conditioning((5, 6), z_hat, torch.randn(1, SIDE, 5, 6))
    whole = model.parameters_of(y_hat, conditioning)
    decoded = torch.full_like(y_hat, 77.0)
    for cells in model.context.passes(5, 6):
        for part, all_at_once in zip(model.parameters_of(decoded, conditioning), whole):
            at_once = all_at_once[..., *cells]
            assert torch.allclose(part[..., *cells], at_once, rtol=1e-5, atol=1e-6)
        decoded[..., *cells] = y_hat[..., *cells]
    assert torch.equal(decoded, y_hat)


@pytest.mark.parametrize("context", ["masked", "checkerboard"])
def test_one_symbol_moves_exactly_the_parameters_of_later_cells(context):
    model = _model(context, False).eval()
    _, y_hat = _latents(batch=1)
    number = torch.zeros(5, 6, dtype=torch.int64)
    for index, cells in enumerate(model.context.passes(5, 6)):
        number[cells] = index
    before = torch.cat(model.parameters_of(y_hat, model.conditioning((5, 6))))
    for row, column in itertools.product(range(5), range(6)):
        changed = y_hat.clone()
        changed[0, 2, row, column] += 3
        after = torch.cat(model.parameters_of(changed, model.conditioning((5, 6))))
        moved = (after != before).any(0).any(0)
        assert (number[moved] > number[row, column]).all()
        assert moved.any() == (number[row, column] < number.max() and (row, column) != (4, 5))


@kinds
def test_without_side_information_a_conditional_model_is_the_unconditional_one(context, hyperprior):
    alone, conditional = _model(context, hyperprior), _model(context, hyperprior, SIDE)
    y, y_hat = _latents()
    alone.eval(), conditional.eval()
    for rates in (EntropyModel.forward, EntropyModel.measure):
        expected, given = rates(alone, y, y_hat), rates(conditional, y, y_hat)
        assert all(torch.equal(expected[stream], given[stream]) for stream in expected)
        zeros = rates(conditional, y, y_hat, torch.zeros(2, SIDE, 5, 6))
        assert all(torch.allclose(expected[stream], zeros[stream]) for stream in expected)
        other = rates(conditional, y, y_hat, torch.randn(2, SIDE, 5, 6))
        assert not torch.equal(expected["y"], other["y"])


def test_initial_weights_do_not_depend_on_the_other_parts():
    full = _model("masked", True, SIDE).state_dict()
    for context, hyperprior, side in itertools.product(
        ["masked", "none"], [False, True], [0, SIDE]
    ):
        part = _model(context, hyperprior, side).state_dict()
        assert all(torch.equal(part[key], full[key]) for key in part)
    assert any(
        not torch.equal(full[k], v) for k, v in _model("masked", True, SIDE, 1).state_dict().items()
    )


def test_construction_draws_the_same_amount_whatever_the_parts():
    following = set()
    for (context, hyperprior), side in itertools.product(KINDS, [0, SIDE]):
        torch.manual_seed(5)
        EntropyModel(LATENT, context=context, hyperprior=hyperprior, side_features=side)
        following.add(float(torch.rand(())))
    assert len(following) == 1


@kinds
def test_every_trained_parameter_gets_a_gradient(context, hyperprior):
    model = _model(context, hyperprior, SIDE)
    y, _ = _latents(8, 8)
    y.requires_grad_()
    if hyperprior:
        with torch.no_grad():
            model.hyperprior.analysis[-1].weight *= 60
    rates = model(y, round_ste(y), torch.randn(2, SIDE, 8, 8))
    sum(rates.values()).sum().backward()
    for name, tensor in [("y", y), *model.named_parameters()]:
        assert tensor.grad is not None, name
        assert (tensor.grad != 0).any(), name


def test_evaluation_quantises_the_parameters_and_draws_nothing():
    model = _model("checkerboard", True).eval()
    y, y_hat = _latents(batch=1)
    state = torch.get_rng_state()
    measured = model.measure(y, y_hat)
    assert torch.equal(torch.get_rng_state(), state)
    z_hat, _ = model.hyperprior(y)
    parameters = model.parameters_of(y_hat, model.conditioning((5, 6), z_hat))
    expected = gaussian.bits(y_hat, *gaussian.quantize_parameters(*parameters)).double().sum()
    assert float(measured["y"][0]) == pytest.approx(float(expected.detach()))


def test_autocast_keeps_parameters_and_rates_in_float32():
    model = _model("masked", True, SIDE).eval()
    y, y_hat = _latents()
    side = torch.randn(2, SIDE, 5, 6)
    with torch.autocast("cpu", torch.bfloat16):
        low = model(y, y_hat, side)
    full = model(y, y_hat, side)
    for stream in full:
        assert low[stream].dtype == torch.float32
        assert torch.allclose(low[stream], full[stream], rtol=0.03)


def test_checkpoints_survive_use_and_load_strictly():
    model = _model("checkerboard", True, SIDE)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    y, y_hat = _latents()
    model(y, y_hat)
    model.eval().measure(y, y_hat)
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    other = _model("checkerboard", True, SIDE, seed=1)
    other.load_state_dict(safetensors.torch.load(safetensors.torch.save(before)))
    assert torch.equal(other.eval().measure(y, y_hat)["y"], model.measure(y, y_hat)["y"])


@kinds
def test_a_few_training_steps_lower_rate_plus_distortion(context, hyperprior):
    with seeded("toy"):
        analysis = AnalysisTransform((8, 8, 8), LATENT, 1)
        synthesis = SynthesisTransform((8, 8, 8), LATENT, 1)
        images = torch.nn.functional.interpolate(torch.rand(8, 3, 2, 2), (32, 32), mode="bilinear")
    model = _model(context, hyperprior)
    parts = torch.nn.ModuleList([analysis, synthesis, model])
    optimizer = torch.optim.Adam(parts.parameters(), lr=2e-3)
    losses = []
    for _ in range(60):
        y = analysis(images)
        y_hat = round_ste(y)
        rate_bpp = torch.stack(list(model(y, y_hat).values())).sum() / images[:, 0].numel()
        loss = 30 * (synthesis(y_hat) - images).square().mean() + rate_bpp
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert sum(losses[-5:]) < 0.7 * sum(losses[:5])


@pytest.mark.parametrize("context", ["masked", "checkerboard", "none"])
def test_an_image_in_a_padded_batch_costs_what_it_costs_alone(context):
    model = _model(context, hyperprior=False, side=SIDE).eval()
    cells = [(3, 6), (5, 4)]
    y, side = torch.zeros(2, LATENT, 5, 6), torch.zeros(2, SIDE, 5, 6)
    for index, (height, width) in enumerate(cells):
        y[index, :, :height, :width] = 3 * torch.randn(LATENT, height, width)
        side[index, :, :height, :width] = torch.randn(SIDE, height, width)
    together = model.measure(y, y.round(), side, cells)
    for index, (height, width) in enumerate(cells):
        own = y[index : index + 1, :, :height, :width]
        alone = model.measure(own, own.round(), side[index : index + 1, :, :height, :width])
        assert torch.allclose(together["y"][index], alone["y"][0], rtol=1e-6)


def test_padding_costs_nothing_in_the_hyperprior_s_stream():
    model = _model("none", hyperprior=True).eval()
    y, y_hat = _latents(8, 12)
    whole = model.measure(y, y_hat)
    cells = [(8, 12), (5, 4)]  # cells of z: 2×3 and 2×1
    own = model.measure(y, y_hat, cells=cells)
    assert own["z"][0] == whole["z"][0]
    _, z_bits = model.hyperprior(y)
    assert torch.allclose(own["z"][1], z_bits[1, :, :2, :1].sum().double(), rtol=1e-6)
    assert own["y"][1] < whole["y"][1]
