import pytest
import torch

from tcc.codec.geometry import crop_to, pad_to
from tcc.codec.transforms import AnalysisTransform, SynthesisTransform

CHANNELS, LATENT, BLOCKS = (8, 12, 16), 10, 1


def _pair():
    shape = CHANNELS, LATENT, BLOCKS
    return AnalysisTransform(*shape), SynthesisTransform(*shape)


@pytest.mark.parametrize("size", [(64, 64), (1, 1), (37, 53), (16, 130)])
def test_any_size_goes_through_by_padding_and_cropping(size):
    analysis, synthesis = _pair()
    x = torch.rand(2, 3, *size)
    y = analysis(pad_to(x, 16))
    assert y.shape == (2, LATENT, -(-size[0] // 16), -(-size[1] // 16))
    assert crop_to(synthesis(y), size).shape == x.shape


@pytest.mark.parametrize("size", [(63, 64), (64, 8)])
def test_a_size_that_is_no_multiple_is_named(size):
    with pytest.raises(ValueError, match=f"{size[0]}×{size[1]}"):
        _pair()[0](torch.rand(1, 3, *size))


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_bfloat16_autocast_gives_float32_near_the_float32_result(memory_format):
    analysis, synthesis = (part.to(memory_format=memory_format) for part in _pair())
    x = torch.rand(2, 3, 32, 48).to(memory_format=memory_format)
    y = analysis(x)
    with torch.autocast("cpu", torch.bfloat16):
        y_low = analysis(x)
        out_low = synthesis(y)
    assert y_low.dtype == out_low.dtype == torch.float32
    assert torch.allclose(y_low, y, atol=0.05 * float(y.abs().max()))
    assert not torch.equal(y_low, y)  # autocast did apply
    assert torch.allclose(out_low, synthesis(y), atol=0.02)


def test_depth_follows_the_arguments():
    def count(blocks):
        return sum(
            isinstance(m, torch.nn.ReLU) for m in AnalysisTransform((4, 4, 4), 4, blocks).modules()
        )

    assert [count(blocks) for blocks in (0, 1, 3)] == [0, 6, 18]


def test_paper_size():
    parts = (cls((24, 48, 192), 192, 3) for cls in (AnalysisTransform, SynthesisTransform))
    analysis, synthesis = (sum(p.numel() for p in part.parameters()) for part in parts)
    assert abs(analysis - synthesis) < 1000  # a mirror image, up to biases
    assert 1.2e6 < analysis < 2.5e6
