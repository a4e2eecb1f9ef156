import subprocess
import sys

import torch

from tcc.codec.seeding import seeded

DRAW = "from tcc.codec.seeding import seeded\nimport torch\n"
DRAW += "with seeded(7, 'base', 0.5): print(torch.rand(3, dtype=torch.float64).tolist())"


def _draw(*key):
    with seeded(*key):
        return torch.rand(3, dtype=torch.float64)


def test_a_key_gives_the_same_numbers_whatever_was_drawn_before():
    first = _draw(1, "base")
    torch.rand(10)
    assert torch.equal(first, _draw(1, "base"))


def test_every_part_of_the_key_counts():
    draws = {tuple(_draw(*key).tolist()) for key in [(1, "a"), (2, "a"), (1, "b"), (1, "a", "b")]}
    assert len(draws) == 4


def test_the_outer_generator_goes_on_as_if_nothing_happened():
    torch.manual_seed(3)
    expected = torch.rand(4)
    torch.manual_seed(3)
    first = torch.rand(2)
    _draw(5)
    assert torch.equal(torch.cat([first, torch.rand(2)]), expected)


def test_the_outer_generator_is_given_back_after_an_error():
    torch.manual_seed(3)
    before = torch.get_rng_state()
    try:
        with seeded("x"):
            raise KeyError
    except KeyError:
        pass
    assert torch.equal(torch.get_rng_state(), before)


def test_another_process_draws_the_same():
    shown = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", DRAW], capture_output=True, text=True, check=True
    )
    assert shown.stdout.strip() == str(_draw(7, "base", 0.5).tolist())
