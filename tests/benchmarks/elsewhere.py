"""How often a decoder elsewhere would lose its way: uv run python FILE --images FOLDER.

    stream ─ decode otherwise ─► ŷ as coded?    μ, log σ of each element ─► how far they moved

A decoder is lost as soon as one element gets another row of the tables than the encoder's: when
what its machine sums otherwise takes μ over the edge of a sixteenth, or log σ over that of a level.
Steps are what μ or log σ moved by, over the width of a sixteenth or of a level; edges lie anywhere
among the values, so the sum of all steps of an image is the number of rows to be expected to
change, and where that is small, the probability that the image is lost. It is summed for

    other threads, oneDNN off; hidden channels in another order, an equal network whose sums are not
    another process, whose libraries are told to use no instructions but the oldest
    every parameter of the network off by a share of it, to see that such sums foretell rows

The arguments are those of exactness.py, whose trained models are used again with its --folder.
"""

from __future__ import annotations

import argparse
import copy
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from exactness import Study, arguments, lay_out, measured, read_pictures, running_on, tell
from torch import Tensor, nn

from tcc.codec.coding import LatentCoder
from tcc.codec.geometry import Size
from tcc.codec.rows import Cells, Known, Latent, Rows
from tcc.codec.side import SideTower

SHARES = (1e-4, 1e-6, 1e-8, 1e-10, 1e-12)
OLDEST = {
    "ATEN_CPU_CAPABILITY": "default",
    "MKL_CBWR": "COMPATIBLE",
    "MKL_ENABLE_INSTRUCTIONS": "SSE4_2",
    "DNNL_MAX_CPU_ISA": "SSE41",
    "OMP_NUM_THREADS": "3",
}


def main() -> int:
    """Each case in turn."""
    parser = arguments()
    parser.set_defaults(first=3, hyperprior=["no"], weights=["trained"])
    parser.add_argument("--decode", type=Path, help=argparse.SUPPRESS)  # in the other process
    asked = parser.parse_args()
    if asked.decode is not None:
        return decode_here(asked.decode)
    lost, cases = 0, []
    with tempfile.TemporaryDirectory(prefix="tcc-elsewhere-") as scratch:
        folder = asked.folder or Path(scratch)
        pictures = [
            picture
            for picture in read_pictures(asked.images, asked.size, asked.first)
            if not picture.odd
        ]
        study = Study(asked, lay_out(asked.images, folder / "photos"), folder, tell)
        for context in asked.context:
            for hyperprior in asked.hyperprior:
                for weights in asked.weights:
                    models = study.models(context, hyperprior == "yes", weights, pictures[0])
                    jobs = []
                    for picture in pictures:
                        coders = models.encoder.coders()
                        noted = {name: _Noting(coder) for name, coder in coders.items()}
                        measured(models.encoder, picture, noted)
                        jobs += [Job(noted[name].coder, *noted[name].seen) for name in noted]
                        tell(f"{picture.name} is coded")
                    found = compared(jobs, len(pictures), Path(scratch))
                    name = f"{context}, hyperprior {hyperprior}, {weights} weights"
                    cases.append({"case": name, "variants": [asdict(each) for each in found]})
                    lost += sum(each.lost for each in found)
                    if not asked.json:
                        print(table(name, found), flush=True)
    if asked.json:
        print(json.dumps({"latent": asked.latent, "images": len(pictures), "cases": cases}))
    return 1 if lost else 0


@dataclass
class Job:
    """A layer of an image: what was coded, (1, C, h, w), and what it was coded given."""

    coder: LatentCoder
    y: Tensor
    y_hat: Tensor
    side: Tensor | None
    stream: bytes

    @property
    def size(self) -> Size:
        return self.y_hat.shape[-2], self.y_hat.shape[-1]


class _Noting(LatentCoder):
    def __init__(self, coder: LatentCoder):
        self.coder = coder

    def through(self, y: Tensor, y_hat: Tensor, side: Tensor | None = None) -> tuple[bytes, Tensor]:
        stream = self.coder.encode(y, y_hat, side)
        self.seen = (y.clone(), y_hat.clone(), None if side is None else side.clone(), stream)
        return stream, y_hat


@dataclass
class Parameters:
    """Of each element in the order of coding, float64: μ and log σ in steps, within the table;
    ``rows``: its integer and its row, (2, n)."""

    means: Tensor
    scales: Tensor
    rows: Tensor


@contextmanager
def seen_parameters() -> Iterator[Callable[[], Parameters]]:
    """What the coder finds rows of meanwhile, and these."""
    means: list[Tensor] = []
    scales: list[Tensor] = []
    rows: list[Tensor] = []
    rows_of = Rows.of

    def noted(self: Rows, latent: Latent, cells: Cells, known: Known) -> tuple[Tensor, Tensor]:
        found = rows_of(self, latent, cells, known)
        steps, _ = self._exact(latent, cells, known)
        mean, scale = steps.expand(len(cells), -1).chunk(2, dim=1)
        means.append(mean.flatten())
        scales.append(scale.flatten())
        rows.append(torch.stack([part.flatten() for part in found]))
        return found

    with mock.patch.object(Rows, "of", noted):
        yield lambda: Parameters(torch.cat(means), torch.cat(scales), torch.cat(rows, dim=1))


def encoded(job: Job, coder: LatentCoder) -> Parameters:
    """The parameters of what was coded, whatever a decoder would take it for."""
    with seen_parameters() as seen:
        coder.encode(job.y, job.y_hat, job.side)
    return seen()


def decoded(job: Job, coder: LatentCoder) -> tuple[Parameters, Tensor]:
    """The parameters of a decoder, and its latent."""
    with seen_parameters() as seen:
        found = coder.decode(job.stream, job.size, job.side)
    return seen(), found


@dataclass
class Moved:
    """What a variant does to the layers of some images. ``step``: of μ and log σ the largest;
    ``expected`` and ``changed``: rows an image; ``lost``: layers not decoded as they were coded."""

    variant: str
    mean_step: float
    scale_step: float
    expected: float
    changed: float
    lost: int = 0


def compared(jobs: Sequence[Job], images: int, scratch: Path) -> list[Moved]:
    """Every variant over all layers of the images."""
    found = []
    with running_on(1):
        reference = [encoded(job, job.coder) for job in jobs]

        def add(variant: str, run: Callable[[Job], tuple[Parameters, Tensor]]) -> None:
            each = [run(job) for job in jobs]
            lost = sum(
                not torch.equal(latent, job.y_hat)
                for (_, latent), job in zip(each, jobs, strict=True)
            )
            parameters = [parameters for parameters, _ in each]
            found.append(moved(variant, reference, parameters, images, lost))
            tell(str(found[-1]))

        for count in (2, 4):
            with running_on(count):
                add(f"{count} threads", lambda job: decoded(job, job.coder))
        with torch.backends.mkldnn.flags(enabled=False):
            add("oneDNN off", lambda job: decoded(job, job.coder))
        add("hidden channels in another order", lambda job: decoded(job, reordered(job.coder)))
        others = iter(decoded_elsewhere(jobs, scratch))
        add("another process, oldest instructions", lambda _: next(others))
        for share in SHARES:
            each = [encoded(job, disturbed(job.coder, share)) for job in jobs]
            found.append(moved(f"parameters off by {share:g}", reference, each, images))
            tell(str(found[-1]))
    return found


def moved(
    variant: str, before: list[Parameters], after: list[Parameters], images: int, lost: int = 0
) -> Moved:
    pairs = list(zip(before, after, strict=True))
    means = [(a.means - b.means).abs() for b, a in pairs]
    scales = [(a.scales - b.scales).abs() for b, a in pairs]
    return Moved(
        variant=variant,
        mean_step=max(float(step.max()) for step in means),
        scale_step=max(float(step.max()) for step in scales),
        # a step of more than one is one row all the same
        expected=sum(float(s.clamp(max=1).sum()) for s in (*means, *scales)) / images,
        changed=sum(int((a.rows != b.rows).any(0).sum()) for b, a in pairs) / images,
        lost=lost,
    )


def decoded_elsewhere(jobs: Sequence[Job], scratch: Path) -> list[tuple[Parameters, Tensor]]:
    """By another process whose libraries use other instructions and threads."""
    path = scratch / "jobs.pt"
    torch.save(list(jobs), path)
    command = [sys.executable, __file__, "--images", ".", "--decode", str(path)]
    subprocess.run(command, env=os.environ | OLDEST, check=True)
    return [(Parameters(*parts), latent) for *parts, latent in torch.load(path)]


def decode_here(path: Path) -> int:
    """Of `decoded_elsewhere`, in the other process."""
    each = [decoded(job, job.coder) for job in torch.load(path, weights_only=False)]
    torch.save([(found.means, found.scales, found.rows, latent) for found, latent in each], path)
    return 0


@torch.no_grad()
def reordered(coder: LatentCoder, seed: int = 0) -> LatentCoder:
    """An equal coder, each hidden layer of which has its channels in another order."""
    draw = torch.Generator().manual_seed(seed)
    other = copy.deepcopy(coder)
    entropy = other.entropy
    _, conv, _ = entropy.hidden
    order = torch.randperm(conv.in_channels, generator=draw)
    entropy.hidden_bias.copy_(entropy.hidden_bias[order])
    for part in entropy.inputs.values():
        part.weight.copy_(part.weight[order])
    conv.weight.copy_(conv.weight[:, order])
    swap(conv, entropy.head, draw)
    if "context" in entropy.inputs:
        swap(entropy.context.conv, entropy.inputs["context"], draw)
    if entropy.hyperprior is not None:
        first, _, second, _, last = entropy.hyperprior.synthesis
        swap(first, second, draw)
        swap(second, last, draw)
        swap(last, entropy.inputs["hyperprior"], draw)
    tower = other._tower
    for block in tower.modules() if isinstance(tower, SideTower) else ():
        if isinstance(branch := getattr(block, "branch", None), nn.Sequential):
            first, _, second, _, last = branch
            swap(first, second, draw)
            swap(second, last, draw)
    other._rows = Rows(entropy)
    return other


def swap(conv: Any, following: Any, draw: torch.Generator) -> None:
    """Puts the channels between two convolutions in another order."""
    order = torch.randperm(conv.out_channels, generator=draw)
    out = 1 if isinstance(conv, nn.ConvTranspose2d) else 0
    conv.weight.copy_(conv.weight.index_select(out, order))
    if conv.bias is not None:
        conv.bias.copy_(conv.bias[order])
    into = 0 if isinstance(following, nn.ConvTranspose2d) else 1
    following.weight.copy_(following.weight.index_select(into, order))


@torch.no_grad()
def disturbed(coder: LatentCoder, share: float, seed: int = 0) -> LatentCoder:
    """The coder with normal noise on every parameter that a decoder uses for μ and σ."""
    draw = torch.Generator().manual_seed(seed)
    other = copy.deepcopy(coder)
    parts = {"entropy": other.entropy, "tower": other._tower}
    for part in parts.values():
        for name, value in [] if part is None else part.named_parameters():
            if not name.startswith(("hyperprior.analysis", "hyperprior.prior")):
                noise = torch.randn(value.shape, generator=draw, dtype=value.dtype)
                value.mul_(1 + share * noise)
    other._rows = Rows(other.entropy)
    return other


def table(name: str, found: Sequence[Moved]) -> str:
    lines = [
        name,
        f"{'':38}{'step of μ':>11}{'of log σ':>11}{'rows expected':>15}{'changed':>10}{'lost':>6}",
    ]
    lines += [
        f"{each.variant:38}{each.mean_step:11.1e}{each.scale_step:11.1e}{each.expected:15.1e}"
        f"{each.changed:10.3g}{each.lost:6}"
        for each in found
    ]
    worst = max(each.expected for each in found if not each.variant.startswith("parameters"))
    lines.append(f"an image is lost with probability {worst:.0e} at most\n")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
