import numpy as np
import pytest
import scipy.stats
import torch

from tcc.codec import gaussian


def _reference_bits(y, mean, scale):
    """−log2 of scipy's probabilities, by whichever tail is the smaller."""
    low, high = (y - 0.5 - mean) / scale, (y + 0.5 - mean) / scale
    flip = low > 0
    low, high = np.where(flip, -high, low), np.where(flip, -low, high)
    return -np.log2(scipy.stats.norm.cdf(high) - scipy.stats.norm.cdf(low))


def _draws(num, seed=0):
    """μ, σ over the table's range and symbols drawn from their own model."""
    rng = np.random.default_rng(seed)
    mean = rng.uniform(-10, 10, num)
    scale = np.exp(rng.uniform(np.log(gaussian.SCALE_MIN), np.log(gaussian.SCALE_MAX), num))
    return np.round(mean + scale * rng.standard_normal(num)), mean, scale


def _tensors(*arrays):
    return tuple(torch.from_numpy(array) for array in arrays)


def test_bits_are_those_of_the_normal_distribution():
    draws = _draws(5000)
    bits = gaussian.bits(*_tensors(*draws))
    assert bits.dtype == torch.float32
    np.testing.assert_allclose(bits.numpy(), _reference_bits(*draws), rtol=2e-4, atol=2e-6)


def test_both_tails_keep_their_precision():
    mean = np.zeros(22)
    y = np.concatenate([np.arange(-11, 0), np.arange(1, 12)]).astype(float)
    bits = gaussian.bits(*_tensors(y, mean, mean + 2.0))
    np.testing.assert_allclose(bits.numpy(), _reference_bits(y, mean, mean + 2.0), rtol=1e-4)


def test_the_sum_is_the_cost_of_the_whole_string():
    draws = _draws(300, seed=1)
    total = gaussian.bits(*_tensors(*draws)).double().sum()
    assert float(total) == pytest.approx(_reference_bits(*draws).sum(), rel=1e-5)


def test_probabilities_of_all_symbols_add_up_to_one():
    y = torch.arange(-400.0, 401)
    for mean, scale in [(0.0, 0.11), (0.37, 1.0), (-3.9, 20.0)]:
        bits = gaussian.bits(y, torch.full_like(y, mean), torch.full_like(y, scale))
        assert float((2**-bits).sum()) == pytest.approx(1, abs=2e-6)


def test_a_hopeless_symbol_costs_the_bound_and_its_gradient_is_finite():
    mean = torch.tensor([0.0, 5.0], requires_grad=True)
    bits = gaussian.bits(torch.tensor([1000.0, 7.0]), mean, torch.full((2,), 0.5))
    assert bits[0].item() == pytest.approx(-np.log2(gaussian.LIKELIHOOD_MIN))
    bits.sum().backward()
    assert mean.grad is not None
    assert torch.isfinite(mean.grad).all()
    assert mean.grad[1] < 0  # the mean is drawn towards the symbol


def test_low_precision_inputs_are_computed_in_float32():
    y, mean, scale = torch.tensor([3.0]), torch.tensor([2.5]), torch.tensor([1.0])
    with torch.autocast("cpu", torch.bfloat16):
        low = gaussian.bits(y.bfloat16(), mean.bfloat16(), scale.bfloat16())
    assert low.dtype == torch.float32
    assert torch.equal(low, gaussian.bits(y, mean, scale))


def test_quantised_parameters_cost_little():
    y, mean, scale = _tensors(*_draws(200_000))
    exact = gaussian.bits(y, mean, scale).double().mean()
    coded = gaussian.bits(y, *gaussian.quantize_parameters(mean, scale)).double().mean()
    overhead = float(coded / exact) - 1
    assert -1e-3 < overhead < 0.002  # measured 0.0004; a rounded μ costs far more
    rounded = gaussian.bits(y, mean.round(), gaussian.quantize_parameters(mean, scale)[1])
    assert float(rounded.double().mean() / exact) - 1 > 0.05


def test_quantised_parameters_lie_in_the_table():
    _, mean, scale = _tensors(*_draws(1000))
    coded_mean, coded_scale = gaussian.quantize_parameters(mean, scale)
    steps = coded_mean * gaussian.MEAN_STEPS
    assert torch.equal(steps, steps.round())
    assert float((coded_mean - mean).abs().max()) <= 0.5 / gaussian.MEAN_STEPS + 1e-6
    assert set(coded_scale.tolist()) <= set(torch.tensor(gaussian.SCALE_TABLE).tolist())
    again = gaussian.quantize_parameters(coded_mean, coded_scale)
    assert torch.equal(again[0], coded_mean)
    assert torch.equal(again[1], coded_scale)


def test_the_table_is_logarithmic_and_snaps_to_the_nearest_level_by_ratio():
    table = torch.tensor(gaussian.SCALE_TABLE, dtype=torch.float64)
    assert len(table) == 64
    assert float(table[0]) == gaussian.SCALE_MIN
    assert float(table[-1]) == pytest.approx(gaussian.SCALE_MAX)
    assert torch.allclose(table[1:] / table[:-1], table[1] / table[0])
    scale = torch.exp(torch.linspace(-4, 5, 1000, dtype=torch.float64))
    nearest = (scale.log()[:, None] - table.log()).abs().argmin(1)
    assert torch.equal(gaussian.scale_index(scale), nearest)


def test_rounding_is_exact_and_its_gradient_passes_straight_through():
    y = torch.cat([torch.linspace(-300, 300, 4001), torch.tensor([0.5, 1.5, -0.49999997, 1e6])])
    y.requires_grad_()
    y_hat = gaussian.round_ste(y)
    assert torch.equal(y_hat, y.round())
    weights = torch.randn_like(y)
    (y_hat * weights).sum().backward()
    assert y.grad is not None
    assert torch.equal(y.grad, weights)


def test_scale_is_kept_within_the_table_by_gradients_that_lead_back():
    low, high = gaussian.SCALE_MIN, gaussian.SCALE_MAX
    log_scale = torch.tensor([-9.0, -9.0, 0.0, 900.0, 900.0], requires_grad=True)
    bounded = gaussian.scale_of(log_scale)
    assert torch.allclose(bounded, torch.tensor([low, low, 1.0, high, high]))
    # descent raises a scale with negative gradient and lowers one with positive gradient
    bounded.backward(torch.tensor([-1.0, 1.0, 1.0, 1.0, -1.0]))
    assert log_scale.grad is not None
    assert torch.allclose(log_scale.grad, torch.tensor([-low, 0, 1, high, 0]))
