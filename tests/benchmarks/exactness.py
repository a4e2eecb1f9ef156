"""Codes images with whole models, to the bit and to the byte: uv run python FILE --images FOLDER.

    image ─ measure ─► Ŷ_b, Ŷ_e ─► N.tcc ─┬─ both layers ─► Ŷ_b, Ŷ_e?    on 1 and on 4 threads
                     estimate             └─ base alone ──► Ŷ_b?         with the base's trial

Every image of the folder, and crops of odd sizes, is written as a file with a base and an
enhancement and read back by models that were loaded anew. Of each context, with and without
hyperprior, there are models of random weights, whose heads are drawn so that μ and σ spread over
the table, and models of two real trials, a classification base with a reconstruction decoder and a
reconstruction enhancement, trained on crops of the images.

Exit code 1: a latent is not what was coded, a file has more than 24 bytes beside its payloads, or
the files of a trained model are more than 1 % above the estimate in the mean of the images.
"""

from __future__ import annotations

import argparse
import copy
import json
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import mean
from typing import Any

import torch
from torch import Tensor

from tcc import registry
from tcc.codec import container
from tcc.codec.coding import LatentCoder
from tcc.codec.container import Container, ModelId
from tcc.codec.gaussian import scale_of
from tcc.codec.geometry import Size
from tcc.codec.transforms import LATENT_GAIN
from tcc.formats import image
from tcc.formats.sample import Batch, Sample, collate, image_tensor
from tcc.methods import TrialModel
from tcc.plan import expand
from tcc.records import Plan, TrialRecord, TrialSpec
from tcc.spec import parse_spec
from tcc.stores import open_store
from tcc.trial import attempt
from tcc.trial.files import stored

ODD_SIZES = ((1, 1), (1, 17), (13, 1), (31, 37), (127, 61), (97, 211), (16, 257), (113, 16))
LARGEST_OVERHEAD = 24  # bytes of a file beside its payloads
LARGEST_GAP = 1.0  # percent of the estimate, in the mean of the images
MEAN_STD, LOG_SCALE_STD = 2.0, 1.0  # of μ and log σ under random weights
LATENT_TIMES = 3  # initial analysis transforms give hardly more than zeros

STUDY = """
study: exactness
data: {{photos: {{type: imagefolder, root: {root}, select: 2}}}}
pairs: [{{base: classification, enhancement: reconstruction}}]
grid: {{lambda_b: [{lambda_b}], lambda_e: [{lambda_e}], beta: [{beta}], seed: [{seed}]}}
model: {{channels: {channels}, latent: {latent}, context: {context}, hyperprior: {hyperprior}}}
train: {{steps: {steps}, batch: {batch}, crop: {crop}, flip: true, lr: {lr}, select_every: {steps}}}
evaluate: [{{split: select, rate: estimated, coded_images: 0}}]
report: {{anchor: {{beta: {beta}}}}}
wandb: {{mode: disabled}}
"""

Tell = Callable[[str], None]


def main(given: Sequence[str] | None = None) -> int:
    """Each case in turn."""
    asked = arguments().parse_args(given)
    with tempfile.TemporaryDirectory(prefix="tcc-exactness-") as scratch:
        folder = asked.folder or Path(scratch)
        pictures = read_pictures(asked.images, asked.size, asked.first)
        study = Study(asked, lay_out(asked.images, folder / "photos"), folder, tell)
        cases = []
        for context in asked.context:
            for hyperprior in asked.hyperprior:
                for weights in asked.weights:
                    models = study.models(context, hyperprior == "yes", weights, pictures[0])
                    case = Case(context, hyperprior == "yes", weights, initial=models.initial)
                    cases.append(coded(case, models, pictures, folder / "files", asked.threads))
                    tell(case.summary())
    told = {"latent": asked.latent, "steps": asked.train_steps, "threads": asked.threads}
    if asked.json:
        told["cases"] = [asdict(case) | {"faults": case.faults()} for case in cases]
        print(json.dumps(told, indent=1))
    else:
        print("\n".join(line for case in cases for line in (case.table(), case.summary(), "")))
    return 1 if any(case.faults() for case in cases) else 0


def arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__.partition(":")[0])
    add = parser.add_argument
    add("--images", type=Path, required=True, help="folder of images, such as Kodak")
    add("--size", type=int, nargs=2, help="pixels, H W, that images are cut to; default: whole")
    add("--first", type=int, help="so many images of the folder; default: all")
    add("--context", nargs="+", default=["checkerboard", "masked"])
    add("--hyperprior", nargs="+", choices=["no", "yes"], default=["no", "yes"])
    add("--weights", nargs="+", choices=["random", "trained"], default=["random", "trained"])
    add("--latent", type=int, default=192, help="channels C")
    add("--channels", type=int, nargs=3, default=(24, 48, 192), help="of the inner stages")
    add("--train-steps", type=int, default=200)
    add("--batch", type=int, default=1)
    add(
        "--crop",
        type=int,
        default=256,
        help="pixels a side",
    )
    add("--lr", type=float, default=1e-3)
    add("--lambda-b", type=float, default=0.1)
    add("--beta", type=float, default=0.05)
    add("--lambda-e", type=float, default=0.3)
    add("--threads", type=int, nargs="+", default=[1, 4], help="of torch; files come from each")
    add("--seed", type=int, default=0)
    add("--folder", type=Path, help="for trials and files; default: a temporary one")
    add("--json", action="store_true")
    return parser


def tell(line: str) -> None:
    """Progress."""
    print(f"{time.strftime('%H:%M:%S')} {line}", file=sys.stderr, flush=True)


@dataclass(frozen=True)
class Picture:
    """``pixels``: uint8 (3, H, W); ``odd``: a crop that only must come back."""

    name: str
    pixels: Tensor
    odd: bool = False

    @property
    def size(self) -> Size:
        return self.pixels.shape[-2], self.pixels.shape[-1]

    @property
    def batch(self) -> Batch:
        return collate([Sample(key=self.name, image=self.pixels, labels={})]).to("cpu")


def read_pictures(folder: Path, size: Sequence[int] | None, first: int | None) -> list[Picture]:
    """The images of a folder, then crops of its first."""
    height, width = size or (None, None)
    found = [
        Picture(path.name, image_tensor(image.read_rgb(path))[:, :height, :width].contiguous())
        for path in image.list_images(folder)[:first]
    ]
    whole = found[0].pixels
    odd = [
        Picture(f"{height}×{width}", whole[:, 40 : 40 + height, 60 : 60 + width].contiguous(), True)
        for height, width in ODD_SIZES
    ]
    return found + odd


def lay_out(images: Path, folder: Path) -> Path:
    """The images as a data set of two classes, by links."""
    for index, path in enumerate(image.list_images(images)):
        for split in ("train", "val"):
            place = folder / split / ("even", "odd")[index % 2] / path.name
            place.parent.mkdir(parents=True, exist_ok=True)
            if not place.is_symlink():
                place.symlink_to(path.resolve())
    return folder


@dataclass
class Models:
    """Those that encode, decode both layers, and decode the base alone; loaded apart."""

    ids: tuple[ModelId, ...]
    encoder: TrialModel
    decoder: TrialModel
    base: TrialModel
    initial: dict[str, list[float]]  # σ before training, as `Case.scales`


class Study:
    """Makes the models of each case; what was trained stays in the folder's store."""

    def __init__(self, asked: argparse.Namespace, root: Path, folder: Path, tell: Tell):
        self._asked, self._root, self._tell = asked, root, tell
        self._store = open_store(folder / "runs")

    def plan(self, context: str, hyperprior: bool) -> Plan:
        asked = self._asked
        fields = {name: getattr(asked, name) for name in ("latent", "batch", "crop", "lr", "seed")}
        fields |= {name: getattr(asked, name) for name in ("lambda_b", "lambda_e", "beta")}
        text = STUDY.format(
            root=json.dumps(str(self._root)),
            channels=list(asked.channels),
            steps=asked.train_steps,
            context=context,
            hyperprior=json.dumps(hyperprior),
            **fields,
        )
        return expand(parse_spec(text))

    def models(self, context: str, hyperprior: bool, weights: str, picture: Picture) -> Models:
        """``picture``: what σ is looked at before training, or spread over at random weights."""
        base, top = self.plan(context, hyperprior)
        assert (base.kind, top.kind) == ("base", "enhancement")
        built = random_models(base, top, picture, spread=weights == "random")
        with Scales(built[1]) as scales:
            measured(built[1], picture)
        if weights == "random":
            self._tell(f"{context}, hyperprior {hyperprior}: random weights")
            below, model = built
            ids = (ModelId.of("0" * 16, "0" * 64, layers=2),) * 2
            return Models(ids, model, copy.deepcopy(model), below, scales.quantiles())
        for trial in (base, top):
            self._train(trial)
        found = stored.find(top.id, self._store.uri)
        encoder, base_model = stored.load(found), stored.load(found.base())
        written = stored.load(stored.of_file(found.models, self._store))
        return Models(found.models, encoder, written, base_model, scales.quantiles())

    def _train(self, trial: TrialSpec) -> None:
        began = time.monotonic()
        record = attempt(trial, self._store)
        assert isinstance(record, TrialRecord), record
        last = {name: round(value, 3) for name, value in record.training.last_terms.items()}
        self._tell(f"{trial.label}: {time.monotonic() - began:.0f} s, last step {last}")


def random_models(
    base: TrialSpec, top: TrialSpec, picture: Picture, *, spread: bool
) -> tuple[TrialModel, TrialModel]:
    """The models of a base and of the enhancement on it with their initial weights; with ``spread``
    the heads of their entropy models are drawn for that picture."""
    method = registry.load("methods", base.method)
    made = []
    for trial, parents in ((base, {}), (top, {"base": base})):
        model: Any = method.build(trial, parents, tasks_of(trial)).eval()
        if made:
            model.load_parents({"base": made[0].trained_state()})
        if spread:
            spread_head(model, picture, trial.seed)
        made.append(model)
    return made[0], made[1]


def tasks_of(trial: TrialSpec) -> Callable[[str], Any]:
    uses = {use.name: use for use in trial.recipe.tasks}

    def make_task(name: str) -> Any:
        task = registry.load("tasks", uses[name].plugin)
        return task.build(task.Params.model_validate(dict(uses[name].params)), ("even", "odd"))

    return make_task


@torch.no_grad()
def spread_head(model: Any, picture: Picture, seed: int) -> None:
    """Draws the head of the top layer's entropy model: μ and log σ spread about 0 in each
    channel."""
    for parameter in model.codec.analysis.layers[-1].parameters():
        parameter.mul_(LATENT_TIMES)
    head = model.codec.entropy.head
    draw = torch.Generator().manual_seed(seed)
    head.weight.copy_(torch.randn(head.weight.shape, generator=draw))
    head.bias.zero_()
    seen = []
    hook = head.register_forward_hook(lambda _module, _inputs, out: seen.append(out))
    measured(model, picture)
    hook.remove()
    out = seen[-1].transpose(0, 1).flatten(1)
    latent = len(out) // 2
    std = torch.cat(
        (torch.full((latent,), MEAN_STD / LATENT_GAIN), torch.full((latent,), LOG_SCALE_STD))
    )
    gain = std / out.std(1, correction=0).clamp_min(1e-3)
    head.weight.mul_(gain[:, None, None, None])
    head.bias.copy_(torch.randn(2 * latent, generator=draw) * std - gain * out.mean(1))


@torch.inference_mode()
def measured(model: TrialModel, picture: Picture, coders: Any = None) -> Any:
    return model.measure(picture.batch, coders)


class Scales:
    """σ of both layers of what is measured meanwhile."""

    def __init__(self, model: Any):
        self._layers = {"base": model.base.entropy, "enhancement": model.codec.entropy}
        self._seen: dict[str, list[Tensor]] = {name: [] for name in self._layers}

    def __enter__(self) -> Scales:
        self._hooks = [
            entropy.head.register_forward_hook(self._keep(name))
            for name, entropy in self._layers.items()
        ]
        return self

    def __exit__(self, *_: object) -> None:
        for hook in self._hooks:
            hook.remove()

    def _keep(self, name: str) -> Any:
        def keep(_module: Any, _inputs: Any, out: Tensor) -> None:
            values = scale_of(out.chunk(2, dim=1)[1]).flatten()
            self._seen[name].append(values[:: max(1, len(values) // 20_000)].clone())

        return keep

    def quantiles(self) -> dict[str, list[float]]:
        return {
            name: [
                round(float(torch.cat(seen).quantile(q)), 3) for q in (0.01, 0.25, 0.5, 0.75, 0.99)
            ]
            for name, seen in self._seen.items()
        }


class Noting(LatentCoder):
    """A coder that keeps each latent that it is given or gives, and decodes nothing by itself."""

    def __init__(self, coder: LatentCoder):
        self._coder = coder
        self.latents: list[Tensor] = []

    def through(self, y: Tensor, y_hat: Tensor, side: Tensor | None = None) -> tuple[bytes, Tensor]:
        self.latents.append(y_hat.clone())
        return self._coder.encode(y, y_hat, side), y_hat

    def decode(self, stream: bytes, size: Size, side: Tensor | None = None) -> Tensor:
        self.latents.append(self._coder.decode(stream, size, side))
        return self.latents[-1]


def noting(model: TrialModel) -> dict[str, Noting]:
    return {layer: Noting(coder) for layer, coder in model.coders().items()}


@dataclass
class Row:
    """One picture. Bytes by layer, of its payload and as estimated; ``overhead``: all else of the
    file; ``differs``: what was decoded otherwise."""

    name: str
    size: Size
    odd: bool
    payload: list[int]
    estimate: list[float]
    overhead: int
    differs: list[str] = field(default_factory=list)

    @property
    def file(self) -> int:
        return sum(self.payload) + self.overhead

    @property
    def gap(self) -> float:
        """Percent of the file above the estimate."""
        return 100 * (self.file / sum(self.estimate) - 1)

    @property
    def gaps(self) -> list[float]:
        """The same of each layer's payload alone."""
        return [100 * (p / e - 1) for p, e in zip(self.payload, self.estimate, strict=True)]

    @property
    def bpp(self) -> list[float]:
        return [8 * payload / (self.size[0] * self.size[1]) for payload in self.payload]


@dataclass
class Case:
    """``scales``: by layer, σ at 1, 25, 50, 75, 99 % of the elements; ``initial``: the same before
    training."""

    context: str
    hyperprior: bool
    weights: str
    initial: dict[str, list[float]]
    scales: dict[str, list[float]] = field(default_factory=dict)
    rows: list[Row] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def whole(self) -> list[Row]:
        return [row for row in self.rows if not row.odd]

    @property
    def mean_gap(self) -> float:
        return mean(row.gap for row in self.whole)

    def faults(self) -> list[str]:
        """All that must not be."""
        found = [f"{row.name}: {what}" for row in self.rows for what in row.differs]
        found += [
            f"{row.name}: {row.overhead} bytes beside the payloads"
            for row in self.rows
            if row.overhead > LARGEST_OVERHEAD
        ]
        if self.weights == "trained" and self.mean_gap > LARGEST_GAP:
            found.append(f"files are {self.mean_gap:.2f} % above the estimate")
        return found

    def summary(self) -> str:
        gaps, name = [row.gap for row in self.whole], "with" if self.hyperprior else "without"
        layers = [
            f"{layer} {mean(row.bpp[at] for row in self.whole):.3f} bpp, payload "
            f"{mean(row.gaps[at] for row in self.whole):+.3f} %, σ {self.scales[layer]} "
            f"(at first {self.initial[layer]})"
            for at, layer in enumerate(self.scales)
        ]
        exact = sum(not row.differs for row in self.rows)
        return "\n  ".join(
            [
                f"{self.context} {name} hyperprior, {self.weights} weights: {exact} of "
                f"{len(self.rows)} exact; files {self.mean_gap:+.3f} % ({min(gaps):+.3f} to "
                f"{max(gaps):+.3f}), overhead to {max(row.overhead for row in self.rows)} bytes, "
                f"{self.seconds:.0f} s",
                *layers,
                *(f"WRONG {fault}" for fault in self.faults()),
            ]
        )

    def table(self) -> str:
        lines = [
            f"{'image':14}{'size':>9}{'base B':>9}{'enh. B':>9}{'estimate B':>20}"
            f"{'beside B':>9}{'file':>9}{'base':>9}{'enh.':>9}  exact"
        ]
        for row in self.rows:
            base, above = row.payload
            estimates = " + ".join(f"{value:.0f}" for value in row.estimate)
            gaps = "".join(f"{gap:+8.2f}%" for gap in (row.gap, *row.gaps))
            size = f"{row.size[0]}×{row.size[1]}"
            lines.append(
                f"{row.name:14}{size:>9}{base:9}{above:9}{estimates:>20}{row.overhead:9}{gaps}"
                f"  {'; '.join(row.differs) or 'yes'}"
            )
        return "\n".join(lines)


def coded(
    case: Case, models: Models, pictures: Sequence[Picture], folder: Path, threads: Sequence[int]
) -> Case:
    """The case with a row for each picture."""
    began = time.monotonic()
    folder.mkdir(parents=True, exist_ok=True)
    encoder, decoder, base = (noting(m) for m in (models.encoder, models.decoder, models.base))
    with Scales(models.encoder) as scales:
        for index, picture in enumerate(pictures):
            with running_on(threads[index % len(threads)]):
                found = measured(models.encoder, picture, encoder)
            payloads = tuple(streams[0] for streams in found.payloads.values())
            path = folder / f"{index}.tcc"
            file = Container(size=picture.size, models=models.ids, layers=payloads)
            path.write_bytes(container.pack(file))
            row = Row(
                name=picture.name,
                size=picture.size,
                odd=picture.odd,
                payload=[len(payload) for payload in payloads],
                estimate=[
                    sum(
                        float(bits[0])
                        for name, bits in found.bits_by_stream.items()
                        if layer in name
                    )
                    / 8
                    for layer in encoder
                ],
                overhead=path.stat().st_size - sum(map(len, payloads)),
            )
            for count in threads:
                with running_on(count):
                    row.differs += differences(path, models, encoder, decoder, base, count)
            case.rows.append(row)
            for coder in (*encoder.values(), *decoder.values(), *base.values()):
                coder.latents.clear()
            tell(
                f"  {picture.name}: {row.file} bytes, {row.gap:+.2f} %, "
                f"{'; '.join(row.differs) or 'exact'}, {time.monotonic() - began:.0f} s"
            )
    case.scales, case.seconds = scales.quantiles(), time.monotonic() - began
    return case


@torch.inference_mode()
def differences(
    path: Path,
    models: Models,
    encoder: dict[str, Noting],
    decoder: dict[str, Noting],
    base: dict[str, Noting],
    threads: int,
) -> Iterator[str]:
    """What a file decodes to otherwise than it was encoded, with all of it and the base alone."""
    both, below = container.read(path), container.read(path, layers=1)
    models.decoder.decode([both.layers], both.size, decoder)
    models.base.decode([below.layers], below.size, base)
    for layer, coder in encoder.items():
        if not torch.equal(decoder[layer].latents[-1], coder.latents[-1]):
            yield f"{layer} differs on {threads} threads"
    if not torch.equal(base["base"].latents[-1], decoder["base"].latents[-1]):
        yield f"base alone differs on {threads} threads"


@contextmanager
def running_on(threads: int) -> Iterator[None]:
    """Torch's threads meanwhile."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)


if __name__ == "__main__":
    sys.exit(main())
