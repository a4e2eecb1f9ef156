"""Reads a W&B transaction log (``*.wandb``) back without W&B's own reader.

The file is a LevelDB log: 7 bytes of file header, then blocks of 32 KiB. A chunk has 7 bytes of
header (CRC, length, type: 1 whole, 2 first, 3 middle, 4 last) and never crosses a block's end.
"""

from __future__ import annotations

import json
import struct
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from wandb.proto import wandb_internal_pb2

BLOCK = 32 * 1024
HEADER = 7


@dataclass
class RunArtifact:
    """An artifact that was logged; ``files``: its entries, and where they lie until they are
    sent."""

    type: str
    metadata: dict[str, Any]
    files: dict[str, Path]


@dataclass
class RunFile:
    """What one run wrote."""

    folder: Path
    id: str = ""
    name: str = ""
    project: str = ""
    group: str = ""
    job_type: str = ""
    tags: list[str] = field(default_factory=list)
    config: dict[str, Any] = field(default_factory=dict)
    history: list[dict[str, Any]] = field(default_factory=list)
    summary: dict[str, Any] = field(default_factory=dict)
    files: list[str] = field(default_factory=list)
    charts: dict[str, Any] = field(default_factory=dict)  # custom ones: name → what they show
    artifacts: dict[str, RunArtifact] = field(default_factory=dict)
    exit_code: int | None = None


def read_runs(store: Path, *, wait_s: float = 10.0) -> dict[str, list[RunFile]]:
    """Every run below a store's ``wandb`` folder, by run id, in the order they were made.

    A run's `finish` returns before W&B's own process has written all of it: waits for each to end.
    """
    give_up = time.monotonic() + wait_s
    while True:
        read = [read_run(path) for path in sorted((store / "wandb").glob("*run-*/*.wandb"))]
        if all(run.exit_code is not None for run in read) or time.monotonic() > give_up:
            break
        time.sleep(0.05)
    runs: dict[str, list[RunFile]] = {}
    for run in read:
        runs.setdefault(run.id, []).append(run)
    return runs


def read_run(path: Path) -> RunFile:
    run = RunFile(folder=path.parent)
    for data in _records(path.read_bytes()):
        record = wandb_internal_pb2.Record()
        record.ParseFromString(data)
        match record.WhichOneof("record_type"):
            case "run":
                run.id, run.name = record.run.run_id, record.run.display_name
                run.project, run.group = record.run.project, record.run.run_group
                run.job_type, run.tags = record.run.job_type, list(record.run.tags)
                run.config = _items(record.run.config.update)
            case "history":
                run.history.append(_items(record.history.item))
            case "summary":
                run.summary |= _items(record.summary.update)
            case "files":
                run.files += [file.path for file in record.files.files]
            case "config":
                for key, value in _items(record.config.update).items():
                    if key.startswith("_wandb/visualize/"):
                        run.charts[key.split("/", 2)[2]] = value
            case "request" if record.request.WhichOneof("request_type") == "log_artifact":
                sent = record.request.log_artifact.artifact
                run.artifacts[sent.name] = _artifact(sent)
            case "artifact":
                run.artifacts[record.artifact.name] = _artifact(record.artifact)
            case "exit":
                run.exit_code = record.exit.exit_code
    return run


def _artifact(sent: Any) -> RunArtifact:
    return RunArtifact(
        type=sent.type,
        metadata=json.loads(sent.metadata or "{}"),
        files={entry.path: Path(entry.local_path) for entry in sent.manifest.contents},
    )


def _items(items: Any) -> dict[str, Any]:
    return {"/".join(item.nested_key) or item.key: json.loads(item.value_json) for item in items}


def _records(data: bytes) -> Iterator[bytes]:
    assert data[:4] == b":W&B"
    position, parts = HEADER, []
    while position + HEADER <= len(data):
        if BLOCK - position % BLOCK < HEADER:  # padding at a block's end
            position += BLOCK - position % BLOCK
            continue
        _, length, kind = struct.unpack("<IHB", data[position : position + HEADER])
        parts.append(data[position + HEADER : position + HEADER + length])
        position += HEADER + length
        if kind in (1, 4):
            yield b"".join(parts)
            parts = []
