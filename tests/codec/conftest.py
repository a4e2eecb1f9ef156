import pytest
import torch

torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


def randint_latent(*shape: int, spread: float = 3.0) -> torch.Tensor:
    """Integers as a rounded latent holds them."""
    return (spread * torch.randn(*shape)).round()


@pytest.fixture
def latent():
    return randint_latent
