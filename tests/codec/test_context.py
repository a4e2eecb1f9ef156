import pytest
import torch

from tcc.codec.context import CONTEXTS, build_context
from tcc.errors import UnknownNameError

LATENT, HEIGHT, WIDTH = 3, 7, 6
CELLS = [(0, 0), (0, 5), (3, 2), (3, 3), (5, 1), (6, 5)]


def _moved(context, y_hat, row, column):
    """The cells whose features change, at all, when one symbol of one cell does."""
    changed = y_hat.clone()
    changed[0, 1, row, column] += 1
    return (context(changed) != context(y_hat)).any(1)[0]


def _pass_of(context):
    """The number of the pass that codes each cell."""
    number = torch.full((HEIGHT, WIDTH), -1)
    for index, cells in enumerate(context.passes(HEIGHT, WIDTH)):
        assert (number[cells] == -1).all()  # no cell twice
        number[cells] = index
    assert (number >= 0).all()  # every cell once
    return number


@pytest.mark.parametrize("name", CONTEXTS)
@pytest.mark.parametrize(("row", "column"), CELLS)
def test_a_symbol_moves_only_cells_of_later_passes(name, row, column, latent):
    context = build_context(name, LATENT)
    number = _pass_of(context)
    moved = _moved(context, latent(1, LATENT, HEIGHT, WIDTH), row, column)
    assert (number[moved] > number[row, column]).all()


def test_masked_sees_all_of_its_window_that_comes_before_in_raster_order(latent):
    context = build_context("masked", LATENT)
    y_hat = latent(1, LATENT, HEIGHT, WIDTH)
    rows, columns = torch.arange(HEIGHT)[:, None], torch.arange(WIDTH)
    for row, column in CELLS:
        near = ((rows - row).abs() <= 2) & ((columns - column).abs() <= 2)
        after = rows * WIDTH + columns > row * WIDTH + column
        assert torch.equal(_moved(context, y_hat, row, column), near & after)


def test_checkerboard_anchors_see_nothing_and_the_others_see_anchors_alone(latent):
    context = build_context("checkerboard", LATENT)
    y_hat = latent(1, LATENT, HEIGHT, WIDTH)
    rows, columns = torch.arange(HEIGHT)[:, None], torch.arange(WIDTH)
    others = _pass_of(context) == 1
    anchors = ~others
    assert torch.equal(anchors, (rows + columns) % 2 == 0)
    for row, column in CELLS:
        near = ((rows - row).abs() <= 2) & ((columns - column).abs() <= 2)
        expected = near & others if anchors[row, column] else torch.zeros_like(near)
        assert torch.equal(_moved(context, y_hat, row, column), expected)
    assert (context(y_hat)[..., anchors] == 0).all()


def test_masked_needs_few_passes():
    passes = list(build_context("masked", LATENT).passes(32, 48))
    assert len(passes) == 48 + 3 * 31


@pytest.mark.parametrize("name", CONTEXTS)
@pytest.mark.parametrize("size", [(1, 1), (1, 2), (2, 1), (1, 9), (9, 1), (4, 2), (5, 3), (3, 11)])
def test_passes_of_odd_sizes_hold_each_cell_once_and_none_is_empty(name, size):
    passes = list(build_context(name, LATENT).passes(*size))
    assert all(len(rows) == len(columns) > 0 for rows, columns in passes)
    cells = [cell for rows, columns in passes for cell in zip(rows.tolist(), columns.tolist())]
    assert sorted(cells) == [(row, column) for row in range(size[0]) for column in range(size[1])]


def test_no_context_has_no_features(latent):
    context = build_context("none", LATENT)
    assert context.out_features == 0
    assert context(latent(2, LATENT, 4, 4)).shape == (2, 0, 4, 4)


@pytest.mark.parametrize("name", ["masked", "checkerboard"])
def test_use_does_not_change_the_weights_and_masked_ones_get_no_gradient(name, latent):
    context = build_context(name, LATENT)
    before = {key: value.clone() for key, value in context.state_dict().items()}
    features = context(latent(2, LATENT, HEIGHT, WIDTH))
    assert features.shape == (2, 2 * LATENT, HEIGHT, WIDTH)
    features.square().sum().backward()
    after = context.state_dict()
    assert set(after) == {"conv.weight", "conv.bias"}
    assert all(torch.equal(before[key], after[key]) for key in before)
    weight = context.conv.weight
    seen = (weight.grad != 0).any(1).any(0)
    assert torch.equal(seen, context.conv.mask[0, 0] != 0)
    assert int(seen.sum()) == 12


def test_an_unknown_context_lists_what_there_is():
    with pytest.raises(UnknownNameError, match="checkerboard"):
        build_context("chequerboard", LATENT)
