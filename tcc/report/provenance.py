"""Where the numbers come from, and how to run and cite the study again."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from tcc.records import Provenance
from tcc.report.study import Study
from tcc.report.trials import seconds_of
from tcc.report.words import count_text, duration_text


def facts(study: Study) -> tuple[tuple[str, str], ...]:
    """Names and values, each distinct value once; without what is not known."""
    return tuple(fact for fact in _facts(study) if fact[1])


def rerun(study: Study) -> tuple[str, ...]:
    """The commands that run the study again, as far as its records tell."""
    return (
        *_checkout(_revisions(study)),
        "uv sync --frozen",
        f"uv run tcc run {study.name}.yaml  # the spec below, saved under this name",
    )


def _checkout(revisions: Sequence[str]) -> Iterator[str]:
    for revision in revisions[:1]:
        clean = revision.removesuffix("-dirty")
        notes = [
            "with changes that no revision holds" if clean != revision else "",
            f"the newest; others are of {', '.join(revisions[1:])}" if revisions[1:] else "",
        ]
        told = "; ".join(note for note in notes if note)
        yield f"git checkout {clean}" + (f"  # {told}" if told else "")


def citation(study: Study) -> str:
    """A sentence that a paper can quote."""
    sources = _sources(study)
    versions = _distinct(source.tcc_version for source in sources)
    revisions, machines = _revisions(study), _distinct(source.machine for source in sources)
    when = max((source.started_at for source in sources), default="")[:10]
    parts = [
        f"Study “{study.name}”, {count_text(len(study.plan), 'trial')}",
        f"method {study.settings.method}",
        f"run by tcc {versions}" if versions else "",
        f"git revision {', '.join(revisions)}" if revisions else "",
        f"on {machines}" if machines else "",
        when,
    ]
    return ", ".join(part for part in parts if part) + "."


def _facts(study: Study) -> Iterator[tuple[str, str]]:
    records, sources = list(study.records), _sources(study)
    packages: dict[str, dict[str, None]] = {}
    for source in sources:
        for name, version in source.packages.items():
            packages.setdefault(name, {})[version] = None
    data = {use.name: use.fingerprint for r in records for use in r.trial.recipe.datasets}
    seconds = sum(map(seconds_of, records))
    yield "Study", study.name
    yield "Store", study.store_uri
    yield "Data", "; ".join(f"{name} ({mark})" for name, mark in sorted(data.items()))
    yield "tcc", _distinct(source.tcc_version for source in sources)
    yield "Git revision", ", ".join(_revisions(study))
    yield "Packages", ", ".join(f"{name} {'/'.join(v)}" for name, v in sorted(packages.items()))
    yield "Machines", _distinct(source.machine for source in sources)
    yield "Devices", _distinct(source.device for source in sources)
    yield "Started", _span(sorted(source.started_at for source in sources))
    if records:
        over = count_text(len(records), "trial")
        yield "Trial time", f"{duration_text(seconds)} over {over}"


def _sources(study: Study) -> list[Provenance]:
    return [record.provenance for record in study.records]


def _revisions(study: Study) -> list[str]:
    """Git revisions, that of the newest trial first."""
    newest = sorted(_sources(study), key=lambda source: source.started_at, reverse=True)
    return list(dict.fromkeys(source.git_revision for source in newest if source.git_revision))


def _distinct(values: Iterable[str | None]) -> str:
    return "; ".join(value for value in dict.fromkeys(values) if value)


def _span(times: Sequence[str]) -> str:
    if not times:
        return ""
    return times[0] if times[0] == times[-1] else f"{times[0]} to {times[-1]}"
