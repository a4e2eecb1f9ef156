"""Which decoded images the page shows beside their originals, as data URIs."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Sequence, Set
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from tcc.records import EvaluationRecord, ImageResult, TrialRecord
from tcc.report.words import axes_text, number, pair_text
from tcc.stores import Store

KINDS = ("direct", "base", "enhancement", "single_layer")  # preferred first
MAX_IMAGES = 3  # originals a pair
MAX_BYTES = 6_000_000  # of PNG on one page
_SMALL_BYTES = 20_000  # a PNG under it is shown with hard pixels, not blurred up
_DECODED = "reconstruction"
Arm = tuple[int, float, str]  # place of the kind in KINDS, β, variant
_NAMES = {"base": "direct, as published", "enhancement": "scalable"}


@dataclass(frozen=True, kw_only=True)
class Picture:
    """One image with what it cost and reached."""

    uri: str
    title: str
    caption: str
    small: bool


@dataclass(frozen=True, kw_only=True)
class Strip:
    """An original and its decoded images."""

    title: str
    key: str
    pictures: tuple[Picture, ...]


def previews(records: Sequence[TrialRecord], store: Store) -> tuple[Strip, ...]:
    """One strip for each pair, measured data set and image, until the page is full. Of each kind
    and β the trial in the middle of the λ_b, at the highest λ_e, of the lowest seed is shown."""
    room = MAX_BYTES
    strips = []
    for base, chosen in _by_base_task(records).items():
        for dataset, shown in _by_data(chosen, store).items():
            found = {path.name for one in shown for path in one.folder.glob("*.original.png")}
            for name in sorted(found)[:MAX_IMAGES]:
                strip = _strip(base, dataset, name.removesuffix(".original.png"), shown)
                room -= sum(len(picture.uri) * 3 // 4 for picture in strip.pictures)
                if room < 0:
                    return tuple(strips)
                strips.append(strip)
    return tuple(strips)


class _Shown(NamedTuple):
    """A trial, one of its evaluations, and where that one's images lie."""

    record: TrialRecord
    evaluation: EvaluationRecord
    folder: Path


def _by_data(records: Sequence[TrialRecord], store: Store) -> dict[str, list[_Shown]]:
    """Measured data set → what there is to show of it."""
    found: dict[str, list[_Shown]] = {}
    for record in records:
        for item in record.evaluations:
            folder = store.preview_dir(record.trial.id) / item.evaluation.id
            measured = f"{item.evaluation.dataset.name}, {item.evaluation.split}"
            found.setdefault(measured, []).append(_Shown(record, item, folder))
    return found


def _by_base_task(records: Sequence[TrialRecord]) -> dict[str, list[TrialRecord]]:
    """Base task → the records to show, single layers with every base. A fresh decoder's image
    goes before that of the decoder trained with the base."""
    found: dict[str, dict[Arm, list[TrialRecord]]] = {}
    for record in records:
        trial = record.trial
        if trial.kind == "base" or (trial.kind in KINDS and trial.tasks[-1] == _DECODED):
            arm = KINDS.index(trial.kind), trial.axes.get("beta", 0.0), trial.variant
            base = "" if trial.kind == "single_layer" else trial.tasks[0]
            found.setdefault(base, {}).setdefault(arm, []).append(record)
    alone = [_typical(arm, set()) for arm in found.pop("", {}).values()]
    chosen = {}
    for base, arms in found.items():
        fresh = {arm[1:] for arm in arms if KINDS[arm[0]] == "direct"}
        shown = [arm for arm in sorted(arms) if KINDS[arm[0]] != "base" or arm[1:] not in fresh]
        shared = set.intersection(*({_lambda_b(r) for r in arms[arm]} for arm in shown))
        chosen[base] = [*(_typical(arms[arm], shared) for arm in shown), *alone]
    return chosen


def _typical(records: Sequence[TrialRecord], shared: Set[float]) -> TrialRecord:
    """The record to show of an arm: in the middle of the λ_b that all arms have."""
    lambdas = sorted(shared or {_lambda_b(record) for record in records})
    there = [r for r in records if _lambda_b(r) == lambdas[len(lambdas) // 2]]
    return max(there, key=lambda r: (r.trial.axes.get("lambda_e", 0.0), -r.trial.seed))


def _lambda_b(record: TrialRecord) -> float:
    return record.trial.axes.get("lambda_b", 0.0)


def _strip(base: str, dataset: str, stem: str, shown: Sequence[_Shown]) -> Strip:
    return Strip(
        title=f"{pair_text(tuple(dict.fromkeys((base, _DECODED))))} on {dataset}",
        key=stem,
        pictures=tuple(_pictures(stem, shown)),
    )


def _pictures(stem: str, shown: Sequence[_Shown]) -> Iterator[Picture]:
    original = next(
        path for one in shown if (path := one.folder / f"{stem}.original.png").is_file()
    )
    yield _picture(original, "original", stem)
    for record, evaluation, folder in shown:
        path = folder / f"{stem}.{_DECODED}.png"
        if path.is_file():
            kind = record.trial.kind.replace("_", " ")
            if record.trial.tasks[0] != _DECODED:  # such a base decodes itself
                kind = _NAMES.get(record.trial.kind, kind)
            parts = axes_text(record.trial.axes), _cost(evaluation, stem)
            yield _picture(path, kind, ", ".join(part for part in parts if part))


def _cost(evaluation: EvaluationRecord, stem: str) -> str:
    """``24.3 dB at 0.21 bpp``, of this image."""
    images = (image for image in evaluation.per_image if Path(image.key).stem == stem)
    image = next(images, None)
    return "" if image is None else _image_cost(image)


def _image_cost(image: ImageResult) -> str:
    bpp = sum(image.bits_by_stream.values()) / (image.height * image.width)
    psnr = image.metrics.get(f"{_DECODED}/psnr")
    quality = "" if psnr is None else f"{number(psnr, '.2f')} dB at "
    return f"{quality}{bpp:.3g} bpp"


def _picture(path: Path, title: str, caption: str) -> Picture:
    data = path.read_bytes()
    uri = f"data:image/png;base64,{base64.b64encode(data).decode()}"
    return Picture(uri=uri, title=title, caption=caption, small=len(data) < _SMALL_BYTES)
