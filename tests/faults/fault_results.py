"""The results of a store, as far as a fault must not change them, and what differs in two."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from tcc.stores import open_store, to_json

Results = Mapping[str, Mapping[str, Any]]


def results(store: Path) -> Results:
    """Trial → what it came to, to the bit: all but timings and provenance."""
    opened = open_store(store, write=False)
    found: dict[str, dict[str, Any]] = {}
    for id in sorted(opened.result_ids()):
        record = opened.record(id)
        assert record is not None, opened.problems()
        with opened.checkpoint(id).open("rb") as file:
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
        found[id] = {
            "checkpoint": sha256,
            "training": _plain(replace(record, evaluations=()))["training"],
            "metrics.jsonl": list(opened.metrics(id)),
        }
        for item in record.evaluations:
            kept = _plain(item)
            del kept["timings"], kept["provenance"]
            found[id][f"evaluation {item.evaluation.id}"] = kept
    assert not opened.problems(), opened.problems()
    return found


def differences(found: Results, expected: Results, ids: Iterable[str]) -> list[str]:
    """What is missing or other than expected, in words; none for equal results."""
    said = []
    for id in ids:
        if id not in found:
            said.append(f"{id} has no result")
            continue
        names = found[id].keys() | expected[id].keys()
        said += [f"{id}: {n} differs" for n in names if found[id].get(n) != expected[id].get(n)]
    return said


def leftovers(store: Path) -> list[str]:
    """Files that belong to no finished trial and no study: of writers that died."""
    found = [path for path in store.rglob("*") if path.is_file()]
    return sorted(
        path.relative_to(store).as_posix()
        for path in found
        if path.name == "training.safetensors"
        or path.name.startswith(".")
        or path.suffix == ".tmp"
        or path.parent.name == "leases"
    )


def _plain(record: Any) -> dict[str, Any]:
    return json.loads(to_json(record))["record"]
