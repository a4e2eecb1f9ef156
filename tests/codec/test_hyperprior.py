import pytest
import torch

from tcc.codec.hyperprior import Hyperprior

LATENT = 8


def _hyperprior():
    """One whose z spreads over a few integers."""
    hyperprior = Hyperprior(LATENT)
    with torch.no_grad():
        hyperprior.analysis[-1].weight *= 60
    return hyperprior


@pytest.mark.parametrize("size", [(1, 1), (4, 4), (5, 7), (2, 9)])
def test_any_latent_size_goes_through(size, latent):
    hyperprior = _hyperprior()
    z_hat, bits = hyperprior(latent(2, LATENT, *size))
    assert z_hat.shape == bits.shape == (2, LATENT, -(-size[0] // 4), -(-size[1] // 4))
    assert torch.equal(z_hat, z_hat.round())
    assert hyperprior.features(z_hat, size).shape == (2, hyperprior.out_features, *size)


def test_training_draws_noise_and_evaluation_does_not(latent):
    hyperprior, y = _hyperprior(), latent(1, LATENT, 8, 8)
    training = [hyperprior(y) for _ in range(2)]
    assert torch.equal(training[0][0], training[1][0])  # ẑ is rounded all the same
    assert not torch.equal(training[0][1], training[1][1])
    hyperprior.eval()
    assert torch.equal(hyperprior(y)[1], hyperprior(y)[1])


def test_gradients_reach_y_and_every_trained_parameter(latent):
    hyperprior, y = _hyperprior(), latent(2, LATENT, 8, 8).requires_grad_()
    z_hat, bits = hyperprior(y)
    (bits.sum() + hyperprior.features(z_hat, (8, 8)).square().sum()).backward()
    for name, tensor in [("y", y), *hyperprior.named_parameters()]:
        assert tensor.grad is not None, name
        assert (tensor.grad != 0).any(), name


def test_autocast_leaves_the_prior_in_float32(latent):
    hyperprior, y = _hyperprior().eval(), latent(1, LATENT, 8, 8)
    with torch.autocast("cpu", torch.bfloat16):
        z_hat, bits = hyperprior(y)
    assert z_hat.dtype == bits.dtype == torch.float32
    with torch.no_grad():
        _, likelihood = hyperprior.prior(z_hat)
    assert torch.allclose(bits, -torch.log2(likelihood))


def test_the_likelihood_of_an_integer_is_what_its_bits_say(latent):
    hyperprior = _hyperprior().eval()
    with torch.no_grad():
        z_hat, bits = hyperprior(latent(1, LATENT, 32, 32))
    likelihood = hyperprior.likelihood(100)
    assert likelihood.shape == (LATENT, 201)
    assert likelihood.sum(1) == pytest.approx(torch.ones(LATENT), abs=1e-3)
    of_channel = torch.arange(LATENT)[:, None, None].expand_as(z_hat[0])
    found = -torch.log2(likelihood[of_channel, z_hat[0].long() + 100])
    assert torch.allclose(found, bits[0], atol=1e-4)
