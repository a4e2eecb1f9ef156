"""What was measured: rates, metrics, records of done and failed trials, progress."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from tcc.records.frozen import FrozenMap, Record
from tcc.records.trials import EvaluationSpec, TrialSpec

SCHEMA = 2  # of the record files; raised when a reader of old files would misread new ones


@dataclass(frozen=True, kw_only=True)
class Rate(Record):
    """Bits spent on a set of images. Streams: ``base.y``, ``base.z``, ``enhancement.y`` …
    where they are estimated; ``base.stream``, ``base.header``, ``enhancement.stream`` …
    of coded files."""

    bits_by_stream: Mapping[str, float]
    num_pixels: int  # of the ORIGINAL, unpadded images
    bpp_by_stream: Mapping[str, float]  # mean over images of each image's bits per pixel
    source: str  # coded | estimated

    @property
    def bpp(self) -> float:
        """Bits per pixel over all streams: the mean of the images' bits per pixel."""
        return sum(self.bpp_by_stream.values())


@dataclass(frozen=True, kw_only=True)
class Metric(Record):
    """One value of one metric; ``name`` is ``task/metric``."""

    name: str
    value: float
    unit: str
    higher_is_better: bool


@dataclass(frozen=True, kw_only=True)
class CodingGap(Record):
    """What files cost beyond the estimate, over the ``images`` of an evaluation that were coded."""

    images: int
    coded_bits: float  # headers and all
    header_bits: float
    estimated_bits: float

    @property
    def percent(self) -> float:
        """Of the estimate."""
        return 100 * (self.coded_bits / self.estimated_bits - 1) if self.estimated_bits else 0.0


@dataclass(frozen=True, kw_only=True)
class ImageResult(Record):
    """One image of an evaluation: its size, its bits and its per-image metrics. ``coded_bits`` and
    ``estimated_bits``: of its whole file, where it was coded; None where not."""

    key: str
    height: int
    width: int
    bits_by_stream: Mapping[str, float]
    metrics: Mapping[str, float]
    coded_bits: float | None = None
    estimated_bits: float | None = None


@dataclass(frozen=True, kw_only=True)
class Training(Record):
    """How a training went. ``rd_cost``: (step, value) on the select split, the picking rule's."""

    steps: int
    best_step: int
    best_rd_cost: float
    rd_cost: tuple[tuple[int, float], ...]
    last_terms: Mapping[str, float]  # last training loss terms
    num_parameters: Mapping[str, int]  # by part of the model
    kmac_per_pixel: Mapping[str, float]  # by part, of one image: thousand multiply-accumulates
    kmac_size: tuple[int, int]  # height and width of that image in pixels
    initial_weights: Mapping[str, str]  # task → "random", a published name, or a file's SHA-256
    checkpoint_sha256: str
    last_sha256: str  # of the weights after the last step; the checkpoint's own where they are it
    parents_sha256: Mapping[str, str]  # needed trial id → the checkpoint that was used
    classes: Mapping[str, tuple[str, ...]] = field(default_factory=FrozenMap)
    # label kind of each task → class names, () where it has none; older records lack them


@dataclass(frozen=True, kw_only=True)
class Provenance(Record):
    """Where a record comes from; never part of a comparison."""

    tcc_version: str
    git_revision: str
    packages: Mapping[str, str]
    machine: str
    device: str
    started_at: str  # ISO 8601, UTC
    study: str


@dataclass(frozen=True, kw_only=True)
class EvaluationRecord(Record):
    """The result of one evaluation; ``rates`` by source. ``gap``: None where nothing was coded."""

    schema: int
    trial: str
    evaluation: EvaluationSpec
    checkpoint_sha256: str
    rates: tuple[Rate, ...]
    metrics: tuple[Metric, ...]
    per_image: Sequence[ImageResult]
    timings: Mapping[str, float]  # seconds by phase
    provenance: Provenance
    gap: CodingGap | None = None


@dataclass(frozen=True, kw_only=True)
class TrialRecord(Record):
    """A finished trial; ``evaluations`` are the records measured so far (each in its own file)."""

    schema: int
    trial: TrialSpec
    training: Training
    evaluations: tuple[EvaluationRecord, ...]
    timings: Mapping[str, float]  # seconds by phase: setup, train, select, evaluate, total
    provenance: Provenance


@dataclass(frozen=True, kw_only=True)
class FailureRecord(Record):
    """A trial that could not finish. ``evaluation``: the id of the one that failed, "" where it was
    none: what else is asked of the trial did not fail."""

    schema: int
    trial: TrialSpec
    reason: str
    step: int | None
    term: str | None
    log: str  # path of its log
    evaluation: str = ""


@dataclass(frozen=True, kw_only=True)
class Progress(Record):
    """Where a running trial is; what the live table and `tcc status` show."""

    trial: str
    phase: str  # train | evaluate | ended
    step: int
    steps: int
    loss: float | None
    bpp: float | None
    elapsed_s: float
    eta_s: float | None
