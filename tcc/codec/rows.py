"""The row of the tables that each latent is coded with: the same for encoder and decoder.

    ŷ of cells before ─┐                                           far from all edges ─► row
    features of side ──┼─► network, float32 ─► μ, log σ in steps ──┤
    features of ẑ ─────┘                                           near one ─► again, float64

Rows are those of float64: another order of sums, on other threads or another machine, changes some
1e-15 of a parameter, and only one that lies so near to the edge of a step would move to another
row. float32 only saves time. Its sums are wrong by some 1e-6, in any order, so it decides where no
edge lies within a margin that is wider than its error, and every cell with a parameter nearer to
an edge is computed again. So rows are the same whichever cells are looked at together, on
whichever device.

The margin guesses the error from the norms of weights and inputs, and is checked: where float64,
of those cells and some more, differs by more than half of it (odd weights, or products of less than
float32), all cells are computed again.

Shape legend: C latent channels, F features of an input, H hidden, h w latent cells, n of a pass.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tcc.codec.context import KERNEL, ContextModel
from tcc.codec.entropy import EntropyModel
from tcc.codec.gaussian import MEAN_STEPS, SCALE_LEVELS, SCALE_MIN, SCALE_RATIO
from tcc.codec.geometry import Size
from tcc.codec.tables import LARGEST, row_of
from tcc.codec.transforms import LATENT_GAIN

_ONEDNN = torch.backends.mkldnn.is_available() and hasattr(torch.ops.mkldnn, "_linear_pointwise")
_REACH = KERNEL // 2
_MARGIN = 1.0  # guesses; under drawn weights no error of 10⁵ was above 0.4, the median is 0.03
_CHECKED = 64  # one cell of so many is computed again, however far it lies from all edges
_RUN = 128  # products that float32 adds up at a time: the longer a sum, the larger its error
_FEW = 64  # cells; fewer take as long in float32, as most of it is reading the weights
_WHOLE = 32  # cells; oneDNN keeps what it prepared for every number of cells that it has seen


@dataclass(frozen=True, slots=True)
class Cells:
    """Cells of one pass: row and column of each, int64 (n); ``blind``: they see no others."""

    rows: Tensor
    columns: Tensor
    blind: bool

    def __len__(self) -> int:
        return len(self.rows)

    def at(self, chosen: Tensor) -> Cells:
        """Some of them."""
        return Cells(self.rows[chosen], self.columns[chosen], self.blind)


class Latent:
    """ŷ as far as it is known, float32, with a border as wide as a context reaches."""

    def __init__(self, size: Size, channels: int, device: torch.device):
        height, self._width = (side + 2 * _REACH for side in size)
        self._values = torch.zeros(height * self._width, channels, device=device)

    def fill(self, y_hat: Tensor) -> None:
        """ŷ: (1, C, h, w)."""
        self._inner().copy_(y_hat[0].permute(1, 2, 0))

    def put(self, cells: Cells, symbols: Tensor) -> None:
        """symbols: (n, C)."""
        self._values[self._places(cells)] = symbols.float()

    def get(self, cells: Cells) -> Tensor:
        """(n, C)."""
        return self._values.index_select(0, self._places(cells))

    def around(self, cells: Cells, down: Tensor, right: Tensor) -> Tensor:
        """What each cell sees at those places of its kernel, (n, places · C)."""
        places = self._places(cells)[:, None] + (down - _REACH) * self._width + right - _REACH
        return self._values.index_select(0, places.flatten()).view(len(cells), -1)

    def whole(self) -> Tensor:
        """(1, C, h, w)."""
        return self._inner().permute(2, 0, 1)[None].contiguous()

    def _inner(self) -> Tensor:
        """Without the border, (h, w, C)."""
        values = self._values.view(-1, self._width, self._values.shape[1])
        return values[_REACH:-_REACH, _REACH:-_REACH]

    def _places(self, cells: Cells) -> Tensor:
        return (cells.rows + _REACH) * self._width + cells.columns + _REACH


class Known:
    """What is known before the first symbol of ŷ: input → features, given as (1, F, h, w)."""

    def __init__(self, features: Mapping[str, Tensor]):
        self._width = next((given.shape[3] for given in features.values()), 0)
        self.features = {
            name: given[0].flatten(1).t().contiguous() for name, given in features.items()
        }
        self.hidden: Tensor | None = None  # what float64 makes of them all, once it was needed

    def at(self, cells: Cells) -> dict[str, Tensor]:
        """Input → (n, F)."""
        places = self.places(cells)
        return {name: given.index_select(0, places) for name, given in self.features.items()}

    def places(self, cells: Cells) -> Tensor:
        """Of the cells among all h · w, (n)."""
        return cells.rows * self._width + cells.columns


class Rows:
    """Of the latents of one entropy model, which is given in float64."""

    def __init__(self, entropy: EntropyModel):
        self._exact = _Network(entropy, torch.float64)
        self._fast = _Network(entropy, torch.float32)

    def of(self, latent: Latent, cells: Cells, known: Known) -> tuple[Tensor, Tensor]:
        """n and the row of each element, both int64 (n, C); ``latent`` has the cells before."""
        find = self._few if len(cells) < _FEW else self._many
        with torch.autocast(cells.rows.device.type, enabled=False):
            mean, level = find(latent, cells, known).expand(len(cells), -1).chunk(2, dim=1)
        return row_of(mean, level)

    def _few(self, latent: Latent, cells: Cells, known: Known) -> Tensor:
        """Steps, int64 (n or 1, 2C)."""
        if known.hidden is None:
            known.hidden, _ = self._exact.hidden(known.features)
        alone = len(known.hidden) == 1
        hidden = known.hidden if alone else known.hidden[known.places(cells)]
        return _rounded(self._exact.steps(hidden, hidden.new_zeros(1, 1), latent, cells)[0])

    def _many(self, latent: Latent, cells: Cells, known: Known) -> Tensor:
        filled = cells.at(_filled(len(cells), cells.rows.device))
        found, guess = (given[: len(cells)] for given in self._fast(latent, filled, known))
        margin = _MARGIN * guess
        again = ~((found - found.floor() - 0.5).abs() > margin).all(1)  # nor is NaN beyond it
        again[::_CHECKED] = True
        again = again.nonzero()[:, 0]
        exact, _ = self._exact(latent, cells.at(again), known)
        if bool(((exact - found[again]).abs() <= margin[again] / 2).all()):
            steps = _rounded(found)
            steps[again] = _rounded(exact)
            return steps
        return _rounded(self._exact(latent, cells, known)[0])


class _Network:
    """The layers between features and parameters, in one precision.

    What it gives are steps of the tables and a guess of their errors, (n or 1, 2C) each: the first
    half are sixteenths of μ, the other levels of σ, within the table's ends.
    """

    def __init__(self, entropy: EntropyModel, dtype: torch.dtype):
        first, conv, second = entropy.hidden
        assert isinstance(first, nn.LeakyReLU)
        assert isinstance(second, nn.LeakyReLU)
        assert isinstance(conv, nn.Conv2d)
        self._dtype, self._slopes = dtype, (first.negative_slope, second.negative_slope)
        self._bias = entropy.hidden_bias.flatten()[None].to(dtype)
        self._inputs = {
            name: _Layer(layer.get_parameter("weight").flatten(1), None, dtype)
            for name, layer in entropy.inputs.items()
        }
        self._context = _context(entropy.context, dtype)
        self._middle = _Layer(conv.weight.flatten(1), conv.bias, dtype)
        self._head = _head(entropy.head, dtype)
        channels = entropy.head.out_channels // 2
        ends = torch.tensor([[-LARGEST, 0.0], [LARGEST, SCALE_LEVELS - 1.0]])
        ends[:, 0] *= MEAN_STEPS
        self._lowest, self._highest = ends.to(self._bias).repeat_interleave(channels, dim=1)

    def __call__(self, latent: Latent, cells: Cells, known: Known) -> tuple[Tensor, Tensor]:
        return self.steps(*self.hidden(known.at(cells)), latent, cells)

    def hidden(self, features: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
        """What the features (n, F) add up to, (n or 1, H), and a guess of its error."""
        total, guess = self._bias, self._bias.new_zeros(1, 1)
        for name, given in features.items():
            more, error = self._inputs[name](given.to(self._dtype), 0.0)
            total, guess = more.add_(total), guess + error
        return total, guess

    def steps(
        self, hidden: Tensor, guess: Tensor, latent: Latent, cells: Cells
    ) -> tuple[Tensor, Tensor]:
        """Of what `hidden` gives, and the context."""
        if self._context is not None and not cells.blind:
            layer, down, right = self._context
            seen = latent.around(cells, down, right).to(self._dtype)
            more, error = self._inputs["context"](*layer(seen, 0.0))
            hidden, guess = more.add_(hidden), guess + error
        first, second = self._slopes
        middle, guess = self._middle(F.leaky_relu(hidden, first), guess)
        steps, guess = self._head(F.leaky_relu(middle, second, inplace=True), guess)
        return steps.clamp_(self._lowest, self._highest), guess


class _Layer:
    """x (n, in) and a guess of its errors → y (n, out) and a guess of y's.

    Errors of different sums are taken for independent, each as large as the rounding of a number
    like |weights| · |x|; the norms are largest ones over a layer, or each output's own.
    """

    def __init__(self, weight: Tensor, bias: Tensor | None, dtype: torch.dtype, own: bool = False):
        norms = weight.norm(dim=1) if bias is None else torch.hypot(weight.norm(dim=1), bias)
        self._norms = (norms if own else norms.max()).to(dtype)
        self._unit = torch.finfo(dtype).eps / 2
        self._run = _RUN if dtype == torch.float32 else weight.shape[1]
        self._weights = [part.to(dtype).contiguous() for part in weight.split(self._run, dim=1)]
        self._bias = None if bias is None else bias.to(dtype)

    def __call__(self, x: Tensor, guess: Tensor | float) -> tuple[Tensor, Tensor]:
        size = x.norm(dim=1, keepdim=True) + 2  # the bias is rounded, too, and what it is added to
        y = functools.reduce(Tensor.add_, map(_product, x.split(self._run, dim=1), self._weights))
        if self._bias is not None:
            y += self._bias
        return y, (guess + self._unit * size) * self._norms


def _product(x: Tensor, weight: Tensor) -> Tensor:
    """(n, in), (out, in) → (n, out); oneDNN's is twice as fast as torch's BLAS on some machines."""
    if _ONEDNN and x.dtype == torch.float32 and x.device.type == "cpu":
        return torch.ops.mkldnn._linear_pointwise(x, weight, None, "none", [], "")
    return F.linear(x, weight)


def _context(context: ContextModel, dtype: torch.dtype) -> tuple[_Layer, Tensor, Tensor] | None:
    """One product over the places of the kernel that its mask lets be seen, and these."""
    conv = getattr(context, "conv", None)
    if conv is None:
        return None
    down, right = conv.mask[0, 0].nonzero(as_tuple=True)
    weight = conv.weight[:, :, down, right] / LATENT_GAIN  # (2C, C, places)
    return _Layer(weight.transpose(1, 2).flatten(1), conv.bias, dtype), down, right


def _head(head: nn.Conv2d, dtype: torch.dtype) -> _Layer:
    """The last layer, giving steps."""
    assert head.bias is not None
    channels, level = len(head.bias) // 2, math.log(SCALE_RATIO)
    scale = head.bias.new_tensor([MEAN_STEPS * LATENT_GAIN, 1 / level]).repeat_interleave(channels)
    shift = head.bias.new_tensor([0.0, -math.log(SCALE_MIN) / level]).repeat_interleave(channels)
    weight, bias = scale[:, None] * head.weight.flatten(1), scale * head.bias + shift
    return _Layer(weight, bias, dtype, own=True)


def _filled(count: int, device: torch.device) -> Tensor:
    """0 … count − 1, the last one again up to a multiple of `_WHOLE`."""
    return torch.arange(-(-count // _WHOLE) * _WHOLE, device=device).clamp_(max=count - 1)


def _rounded(steps: Tensor) -> Tensor:
    return steps.nan_to_num().round_().long()
