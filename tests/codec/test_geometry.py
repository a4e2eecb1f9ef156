import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tcc.codec.geometry import crop_to, pad_to, rescale, resize_to, scaled_size

sides = st.integers(1, 70)


@given(sides, sides, st.sampled_from([1, 4, 16, 64]))
def test_padding_reaches_the_multiple_and_cropping_undoes_it(height, width, multiple):
    x = torch.rand(2, 3, height, width)
    padded = pad_to(x, multiple)
    assert padded.shape[-2] % multiple == padded.shape[-1] % multiple == 0
    assert padded.shape[-2] - height < multiple
    assert padded.shape[-1] - width < multiple
    assert torch.equal(crop_to(padded, (height, width)), x)


def test_padding_repeats_the_border_even_far_beyond_the_image():
    padded = pad_to(torch.full((1, 3, 1, 1), 0.7), 16)
    assert padded.shape == (1, 3, 16, 16)
    assert torch.equal(padded, torch.full_like(padded, 0.7))
    rows = pad_to(torch.tensor([[[[1.0, 2.0]]]]), 4)
    assert rows[0, 0].tolist() == [[1, 2, 2, 2]] * 4


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_padding_gives_way_to_gradients_and_keeps_the_type(dtype):
    x = torch.rand(1, 1, 3, 5, dtype=dtype, requires_grad=True)
    padded = pad_to(x, 4)
    padded.sum().backward()
    assert padded.dtype == dtype
    assert x.grad is not None
    assert float(x.grad.float().sum()) == padded.numel()


@pytest.mark.parametrize(
    ("size", "scale", "expected"),
    [
        ((64, 64), 1, (64, 64)),
        ((65, 33), 0.5, (33, 17)),
        ((1, 1), 0.25, (1, 1)),
        ((30, 30), 0.1, (3, 3)),  # 0.1 · 30 is a little over 3 in floating point
        ((100, 7), 1 / 3, (34, 3)),
    ],
)
def test_scaled_sizes_are_rounded_up(size, scale, expected):
    assert scaled_size(size, scale) == expected
    assert rescale(torch.rand(1, 3, *size), scale).shape[-2:] == expected


def test_scale_one_leaves_the_image_as_it_is():
    x = torch.rand(1, 3, 9, 7)
    assert rescale(x, 1) is x


def test_rescaling_is_antialiased_and_resizing_undoes_the_size():
    checkers = torch.tensor([[0.0, 1.0], [1.0, 0.0]]).repeat(32, 32)[None, None]
    small = rescale(checkers, 0.25)
    inner = small[..., 2:-2, 2:-2]
    assert torch.allclose(inner, torch.full_like(inner, 0.5), atol=0.02)
    assert resize_to(small, (64, 64)).shape == checkers.shape
