"""What is to be done: recipes, trials, plans, and what methods draft them from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from tcc.records.frozen import Record
from tcc.records.plugins import DatasetUse, PluginUse

LOOP_VERSION = 2  # of the training loop (tcc/trial/loop.py); raised when its numbers change


@dataclass(frozen=True, kw_only=True)
class TrainRecipe(Record):
    """How a trial is trained; every field can change the weights, so every field enters its id."""

    steps: int
    batch: int  # images a step, over all devices and accumulated parts
    accumulate: int  # parts that a step's batch is computed in, one after the other
    devices: int  # processes that share a step's batch, each with a GPU of its own where there are
    lr: float
    warmup: float  # share of the steps, at the start, over which the rate rises from zero
    decay: float  # share of the steps, at the end, over which the rate decays by a cosine
    clip: float  # gradient norm, for each parameter group apart
    precision: str  # fp32 | bf16
    deterministic: bool  # on a GPU, algorithms that repeat to the bit; the log names what has none
    threads: int  # CPU threads of the trial, set by the trial itself
    rate_ramp: float  # share of the steps over which the rate's weight rises …
    rate_start: float  # … from this to 1
    select_every: int  # steps between evaluations of val/rd_cost on the select split
    patience: int  # evaluations without improvement before training ends; 0: never
    crop: int  # side of the random training crop in pixels; 0: whole images
    flip: bool  # random horizontal flips
    scale: float  # codec scale, applied before the analysis transform


@dataclass(frozen=True, kw_only=True)
class Recipe(Record):
    """All that makes the trained weights what they are, apart from kind, axes, seed and needs."""

    method: PluginUse
    tasks: tuple[PluginUse, ...]  # every task plug-in used, an auxiliary decoder's too
    datasets: tuple[DatasetUse, ...]
    train: TrainRecipe
    loop_version: int


@dataclass(frozen=True, kw_only=True)
class EvaluationSpec(Record):
    """What is measured of a trained trial. ``metrics``: ``task/metric``; empty: the rate alone.

    ``coded_images``: of an estimated rate, the first so many images are really coded, too, to know
    what the estimate leaves out.
    """

    id: str
    dataset: DatasetUse
    split: str
    rate: str  # estimated | coded
    metrics: tuple[str, ...]
    coded_images: int = 0


@dataclass(frozen=True, kw_only=True)
class Resources(Record):
    """What one trial occupies while it runs."""

    cpu: float = 1.0
    gpu: float = 0.0


@dataclass(frozen=True, kw_only=True)
class TrialSpec(Record):
    """One trial. ``id`` hashes all below it up to ``needs``, by content and not by name."""

    id: str
    kind: str
    method: str
    tasks: tuple[str, ...]  # (base,), (enhancement,) or (base, enhancement)
    datasets: tuple[str, ...]
    axes: Mapping[str, float]  # lambda_b, lambda_e, beta …
    seed: int
    variant: str  # "" or what sets trials of equal axes apart, such as "relative" for the β mode
    recipe: Recipe
    needs: tuple[str, ...]  # ids of the trials whose checkpoints it starts from
    evaluations: tuple[EvaluationSpec, ...]
    resources: Resources
    label: str


@dataclass(frozen=True, kw_only=True)
class Plan(Record):
    """A study's trials in topological order: each after all that it needs."""

    study: str
    trials: tuple[TrialSpec, ...]

    def __iter__(self) -> Iterator[TrialSpec]:
        return iter(self.trials)

    def __len__(self) -> int:
        return len(self.trials)


@dataclass(frozen=True, kw_only=True)
class PairGrid(Record):
    """One task pair with its grids, as a method expands it into trials."""

    base: str
    enhancement: str
    dataset: str
    lambda_b: tuple[float, ...]
    lambda_e: tuple[float, ...]
    beta: tuple[float, ...]
    beta_mode: str  # absolute | relative
    seeds: tuple[int, ...]
    enhance_at: tuple[float, ...] | None  # the λ_b whose bases get enhancements; None: all
    pairing: str  # product | zip (λ_e[i] belongs to λ_b[i])
    also: Mapping[
        str, Mapping[str, tuple[float, ...]]
    ]  # kind → axis → the values wanted (none: all)
    warm_start: str  # none | pretrain


@dataclass(frozen=True, kw_only=True)
class TrialDraft(Record):
    """A trial as a method asks for it, before `plan` gives it a recipe and an id."""

    kind: str
    tasks: tuple[str, ...]
    uses: tuple[str, ...]  # task plug-ins whose models it builds
    dataset: str
    axes: Mapping[str, float]
    seed: int
    variant: str
    needs: tuple[TrialDraft, ...]
