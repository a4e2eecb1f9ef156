"""Real rANS streams: what is decoded is what was coded, at the rate that was estimated."""

from __future__ import annotations

import math
import random
import tracemalloc
from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tcc.codec import tables
from tcc.codec.coding import LatentCoder
from tcc.codec.context import CONTEXTS
from tcc.codec.entropy import EntropyModel
from tcc.codec.gaussian import SCALE_TABLE, quantize_parameters, scale_index
from tcc.codec.rows import Rows
from tcc.codec.streams import Reader, Writer
from tcc.codec.tables import LARGEST, Tables, gaussian_tables, row_of
from tcc.errors import BitstreamError

C, S = 6, 10
STATE = (2**31).to_bytes(8, "little")  # that a stream may begin with
SIZES = [(1, 1), (1, 17), (13, 1), (2, 2), (7, 11), (16, 24)]


def model(context: str, hyperprior: bool, side: bool, seed: int = 0) -> EntropyModel:
    """Weights that spread μ and σ over the table."""
    torch.manual_seed(seed)
    entropy = EntropyModel(
        C, context=context, hyperprior=hyperprior, side_features=S if side else 0
    )
    with torch.no_grad():
        entropy.head.weight.normal_(std=1.0)
        entropy.head.bias.normal_(std=0.5)
    return entropy.eval()


def inputs(size: tuple[int, int], side: bool, seed: int = 1) -> tuple[torch.Tensor, ...]:
    draw = torch.Generator().manual_seed(seed)
    y = (
        torch.randn(1, C, *size, generator=draw)
        * torch.tensor([0.1, 1, 2, 5, 20, 400])[:, None, None]
    )
    return y, y.round(), torch.randn(1, S, *size, generator=draw) if side else None


@pytest.fixture
def threads():
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


@pytest.mark.parametrize("context", CONTEXTS)
@pytest.mark.parametrize("hyperprior", [False, True])
@pytest.mark.parametrize("side", [False, True])
def test_any_size_comes_back_exactly_on_any_number_of_threads(context, hyperprior, side, threads):
    entropy = model(context, hyperprior, side)
    for size in SIZES:
        y, y_hat, features = inputs(size, side)
        threads(1)
        stream = LatentCoder(entropy).encode(y, y_hat, features)
        for count in (1, 4):
            threads(count)
            assert torch.equal(LatentCoder(entropy).decode(stream, size, features), y_hat)


@pytest.mark.parametrize("context", CONTEXTS)
def test_the_rows_are_those_of_the_estimate(context):
    """A pass looks at some cells; all of them together must be what the whole tensor gives."""
    entropy = model(context, hyperprior=False, side=True)
    _, y_hat, side = inputs((9, 14), side=True)
    coder = LatentCoder(entropy)
    with torch.no_grad():
        conditioning = entropy.conditioning((9, 14), None, side)
        mean, scale = entropy.parameters_of(y_hat, conditioning)
    seen = {}
    rows = Rows.of

    def spy(self, latent, cells, known):
        found = rows(self, latent, cells, known)
        for index, at in enumerate(zip(cells.rows.tolist(), cells.columns.tolist(), strict=True)):
            seen[at] = found[0][index], found[1][index]
        return found

    Rows.of = spy
    try:
        coder.encode(y_hat, y_hat, side)
    finally:
        Rows.of = rows
    nearest, row = row_of((16 * mean[0]).round().long(), scale_index(scale[0]))
    assert len(seen) == 9 * 14
    agree = [
        torch.equal(nearest[:, i, j], near) and torch.equal(row[:, i, j], number)
        for (i, j), (near, number) in seen.items()
    ]
    assert sum(agree) >= len(agree) - 1  # in float32, an edge may lie between
    assert row.unique().numel() > 50


def test_a_row_s_mean_and_scale_are_the_quantised_ones():
    mean, scale = torch.randn(2000) * 30, torch.rand(2000) * 25 + 0.05
    nearest, rows = row_of((16 * mean).round().long(), scale_index(scale))
    fraction, level = torch.div(rows - 1, 64, rounding_mode="floor"), (rows - 1) % 64
    table = torch.tensor(SCALE_TABLE)
    expected = quantize_parameters(mean, scale)
    assert torch.allclose(nearest + (fraction - 8) / 16, expected[0])
    assert torch.equal(table[level], expected[1])


def test_tables_hold_all_but_what_is_escaped():
    rows = gaussian_tables().rows
    assert len(rows) == 1 + 16 * 64
    for row in rows:
        assert row.cdf[0] == 0
        assert row.cdf[-1] == 2**16
        assert all(low < high for low, high in zip(row.cdf, row.cdf[1:], strict=False))
        assert row.cdf[-1] - row.cdf[-2] <= 2  # the escape's
    assert max(len(row.cdf) for row in rows) < 200


@pytest.mark.parametrize("seed", range(3))
def test_tables_are_the_same_where_a_library_errs_otherwise(seed, monkeypatch):
    """By 1e-13 of what it gives, some hundred times what a C library may."""
    chance, erfc = random.Random(seed), math.erfc
    expected = gaussian_tables().rows
    monkeypatch.setattr(math, "erfc", lambda x: erfc(x) * (1 + chance.uniform(-1e-13, 1e-13)))
    scales = [scale * (1 + chance.uniform(-1e-13, 1e-13)) for scale in SCALE_TABLE]
    monkeypatch.setattr(tables, "SCALE_TABLE", scales)
    assert gaussian_tables.__wrapped__().rows == expected


@pytest.mark.parametrize("hyperprior", [False, True])
def test_latents_that_follow_their_model_cost_what_is_estimated(hyperprior):
    entropy = model("none", hyperprior, side=True)
    with torch.no_grad():
        entropy.head.weight.mul_(0.3)
    y, _, side = inputs((48, 64), side=True)
    with torch.no_grad():
        z_hat, _ = entropy._code_z(y)
        mean, scale = entropy.parameters_of(y, entropy.conditioning((48, 64), z_hat, side))
    y_hat = (mean + scale * torch.randn_like(mean)).round()
    estimate = sum(float(bits.sum()) for bits in entropy.measure(y, y_hat, side).values())
    stream = LatentCoder(entropy).encode(y, y_hat, side)
    assert 8 * len(stream) == pytest.approx(estimate + 64, rel=0.004)


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), LARGEST, -LARGEST])
def test_what_cannot_be_coded_is_refused(bad):
    y = torch.zeros(1, C, 2, 2)
    y[0, 1, 1, 0] = bad
    with pytest.raises(BitstreamError, match="latent y holds"):
        LatentCoder(model("none", hyperprior=False, side=False)).encode(y, y.round())


@pytest.mark.parametrize("scale", [1, 40, 90, 360, 2000])
def test_the_rows_of_a_wide_prior_are_sound(scale):
    def likelihood(reach):
        edges = torch.arange(-reach, reach + 2, dtype=torch.float64) - 0.5
        return torch.sigmoid(edges / scale).diff()[None]

    table = tables.prior_tables(likelihood)
    row = table.rows[1]
    assert row.cdf[0] == 0
    assert row.cdf[-1] == 2**16
    assert all(low < high for low, high in pairwise(row.cdf))
    symbols = torch.arange(-5 * scale, 5 * scale, max(1, scale // 50))
    numbers = torch.ones_like(symbols)
    writer = Writer()
    writer.write(symbols, numbers, table)
    reader = Reader(writer.close(), len(symbols))
    assert torch.equal(reader.read(numbers, table), symbols)
    reader.close()


@pytest.mark.parametrize("state", [0, 2**31 - 1, 2**63])
def test_a_stream_that_begins_with_no_state_of_the_coder_is_refused(state):
    with pytest.raises(BitstreamError, match="begins as no coder ends"):
        Reader(state.to_bytes(8, "little") + bytes(1000), 10)
    Reader(STATE + bytes(1000), 10)


@pytest.mark.parametrize("context", CONTEXTS)
def test_damaged_streams_end_in_an_error_or_other_symbols(context):
    coder = LatentCoder(model(context, hyperprior=True, side=False))
    y, y_hat, _ = inputs((8, 12), side=False)
    stream = coder.encode(y, y_hat)
    chance = random.Random(0)
    wrong = 0
    for _ in range(150):
        damaged = bytearray(stream)
        match chance.randrange(4):
            case 0:
                damaged = damaged[: chance.randrange(len(damaged))]
            case 1:
                damaged = bytearray(chance.randbytes(chance.randrange(64)))
            case 2:
                damaged[:] = bytes([chance.choice((0, 255))]) * len(damaged)
            case _:
                damaged[chance.randrange(len(damaged))] ^= 1 << chance.randrange(8)
        try:
            wrong += not torch.equal(coder.decode(bytes(damaged), (8, 12)), y_hat)
        except BitstreamError:
            wrong += 1
    assert wrong == 150


def surest(context: str, hyperprior: bool) -> EntropyModel:
    """Weights under which every symbol is what is likeliest, at the least σ."""
    entropy = model(context, hyperprior, side=False)
    with torch.no_grad():
        entropy.head.weight.zero_()
        entropy.head.bias[:C], entropy.head.bias[C:] = 0.0, -20.0
    return entropy


@pytest.mark.parametrize("context", CONTEXTS)
@pytest.mark.parametrize("hyperprior", [False, True])
def test_what_was_encoded_is_never_too_short(context, hyperprior):
    """The emptiest images: as few bits as a model can take for every symbol."""
    coder = LatentCoder(surest(context, hyperprior))
    for size in [(1, 1), (3, 50), (37, 61), (90, 170)]:
        stream = coder.encode(y := torch.zeros(1, C, *size), y)
        coder.refuse_short(stream, size)
        assert torch.equal(coder.decode(stream, size), y)
        if not hyperprior:  # of which the untrained prior takes more
            assert len(stream) < 24


@given(st.integers(0, 2**32), st.floats(-20, 3), st.integers(0, 40), st.integers(1, 30))
@settings(deadline=None, max_examples=25)
def test_no_latent_is_too_short_for_its_size(seed, log_scale, reach, side):
    draw = torch.Generator().manual_seed(seed)
    entropy = surest("none", hyperprior=bool(seed % 2))
    with torch.no_grad():
        entropy.head.bias[C:] = log_scale
    y = (reach * torch.randn(1, C, side, 2 * side, generator=draw)).round()
    coder = LatentCoder(entropy)
    stream = coder.encode(y, y)
    coder.refuse_short(stream, (side, 2 * side))
    assert torch.equal(coder.decode(stream, (side, 2 * side)), y)


@pytest.mark.parametrize("hyperprior", [False, True])
def test_too_few_bytes_for_a_size_are_refused_before_anything_is_made(hyperprior, monkeypatch):
    coder = LatentCoder(model("masked", hyperprior, side=False))
    monkeypatch.setattr(LatentCoder, "_side", lambda *_: pytest.fail("was computed with"))
    with pytest.raises(BitstreamError, match="stream of 50 bytes cannot hold 4096×4096 cells of 6"):
        coder.decode(bytes(50), (4096, 4096))
    least = math.ceil(C * 4096 * 4096 * -math.log2(65533 / 65536) / 8)
    if not hyperprior:  # there is no row whose likeliest symbol is more likely
        coder.refuse_short(bytes(least + 8), (4096, 4096))
        with pytest.raises(BitstreamError, match=r"which take 83\d at least"):
            coder.refuse_short(bytes(least - 8), (4096, 4096))


@pytest.mark.parametrize("fill", [b"\0", b"\x7f", b"\xff"])
def test_a_stream_that_runs_out_is_noticed_at_once(fill, monkeypatch):
    coder = LatentCoder(model("none", hyperprior=False, side=False))
    read = []
    real = Tables.bits

    def spy(tables, symbols, numbers):
        read.append(len(symbols))
        return real(tables, symbols, numbers)

    monkeypatch.setattr(Tables, "bits", spy)
    with pytest.raises(BitstreamError, match="ends before its symbols do"):
        coder.decode(STATE + fill * 2000, (700, 700))  # 2.9 million symbols
    assert sum(read) <= 3 * 2**15


def test_what_lies_behind_the_symbols_is_noticed():
    coder = LatentCoder(model("checkerboard", hyperprior=True, side=False))
    _, y_hat, _ = inputs((8, 12), side=False)
    stream = coder.encode(y_hat, y_hat)
    for more in (bytes(4), b"\xff" * 4, bytes(400), stream):
        with pytest.raises(BitstreamError, match="does not end where its symbols do"):
            coder.decode(stream + more, (8, 12))
    with pytest.raises(BitstreamError, match="or was coded with other weights"):
        coder.decode(stream[:-4], (8, 12))


def test_a_stream_of_a_mebibyte_takes_little_memory():
    tracemalloc.start()
    try:
        Reader(STATE + bytes(2**20), 2**26)
        assert tracemalloc.get_traced_memory()[1] < 48 * 2**20
    finally:
        tracemalloc.stop()


def test_bits_are_those_of_the_tables():
    tables = gaussian_tables()
    row = tables.rows[500]
    counts = [high - low for low, high in pairwise(row.cdf)]
    symbols = torch.arange(len(counts) - 1) + row.lowest
    numbers = torch.full_like(symbols, 500)
    expected = [16 - math.log2(count) for count in counts]
    assert tables.bits(symbols, numbers) == pytest.approx(sum(expected[:-1]))
    assert tables.bits(symbols[-1:] + 1, numbers[:1]) == pytest.approx(expected[-1] + 4)
    assert tables.bits(symbols[:1] - 1, numbers[:1]) == pytest.approx(expected[-1] + 4)
    assert float(tables.least_bits[500]) == pytest.approx(min(expected))
    assert float(tables.least_bits.min()) > 0


@pytest.mark.parametrize("mean", [1e9, -1e30, float("nan")])
def test_means_of_a_diverged_model_are_coded_all_the_same(mean):
    entropy = model("none", hyperprior=False, side=False)
    with torch.no_grad():
        entropy.head.bias[:C] = mean
    y = torch.tensor([0.0, 1.0, -7.0, LARGEST - 1, 1 - LARGEST, 2.0]).view(1, C, 1, 1)
    coder = LatentCoder(entropy)
    assert torch.equal(coder.decode(coder.encode(y, y), (1, 1)), y)
