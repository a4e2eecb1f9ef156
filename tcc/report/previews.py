"""Which decoded images the page shows beside their originals, as data URIs."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from pathlib import Path

from tcc.records import ImageResult, TrialRecord
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
    """One strip for each pair and image, until the page is full. Of each kind and β the trial in
    the middle of the λ_b, at the highest λ_e, of the lowest seed is shown."""
    room = MAX_BYTES
    strips = []
    for base, chosen in _by_base_task(records).items():
        folders = {record.trial.id: store.preview_dir(record.trial.id) for record in chosen}
        stems = sorted(
            {
                path.name.removesuffix(".original.png")
                for folder in folders.values()
                for path in folder.glob("*.original.png")
            }
        )
        for stem in stems[:MAX_IMAGES]:
            strip = _strip(base, stem, chosen, folders)
            room -= sum(len(picture.uri) * 3 // 4 for picture in strip.pictures)
            if room < 0:
                return tuple(strips)
            strips.append(strip)
    return tuple(strips)


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


def _strip(
    base: str, stem: str, records: Sequence[TrialRecord], folders: Mapping[str, Path]
) -> Strip:
    return Strip(
        title=pair_text((base, _DECODED)),
        key=stem,
        pictures=tuple(_pictures(stem, records, folders)),
    )


def _pictures(
    stem: str, records: Sequence[TrialRecord], folders: Mapping[str, Path]
) -> Iterator[Picture]:
    original = next(
        path for folder in folders.values() if (path := folder / f"{stem}.original.png").is_file()
    )
    yield _picture(original, "original", stem)
    for record in records:
        path = folders[record.trial.id] / f"{stem}.{_DECODED}.png"
        if path.is_file():
            kind = _NAMES.get(record.trial.kind, record.trial.kind.replace("_", " "))
            axes = axes_text(record.trial.axes)
            yield _picture(
                path, kind, ", ".join(part for part in (axes, _cost(record, stem)) if part)
            )


def _cost(record: TrialRecord, stem: str) -> str:
    """``24.3 dB at 0.21 bpp``, of this image."""
    for evaluation in record.evaluations:
        for image in evaluation.per_image:
            if Path(image.key).stem == stem:
                return _image_cost(image)
    return ""


def _image_cost(image: ImageResult) -> str:
    bpp = sum(image.bits_by_stream.values()) / (image.height * image.width)
    psnr = image.metrics.get(f"{_DECODED}/psnr")
    quality = "" if psnr is None else f"{number(psnr, '.2f')} dB at "
    return f"{quality}{bpp:.3g} bpp"


def _picture(path: Path, title: str, caption: str) -> Picture:
    data = path.read_bytes()
    uri = f"data:image/png;base64,{base64.b64encode(data).decode()}"
    return Picture(uri=uri, title=title, caption=caption, small=len(data) < _SMALL_BYTES)
