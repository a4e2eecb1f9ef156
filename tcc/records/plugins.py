"""What plug-ins say of themselves, and a plug-in as a trial uses it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tcc.records.frozen import FrozenMap, Record


@dataclass(frozen=True, kw_only=True)
class MetricInfo(Record):
    """A reported metric. ``per_image``: it has a value for each image (PSNR has, mAP has not); a
    task declares it, a curve's metric does not tell it."""

    name: str
    unit: str
    higher_is_better: bool
    per_image: bool = False


@dataclass(frozen=True, kw_only=True)
class DatasetInfo(Record):
    """What a data set holds. ``classes``: label kind → class names, in index order. ``absent``:
    label kind that its layout could hold → why it does not, naming the file."""

    labels: tuple[str, ...]
    splits: Mapping[str, int]  # split → number of images
    fingerprints: Mapping[str, str]  # split → changes whenever one of its samples would
    classes: Mapping[str, tuple[str, ...]] = field(default_factory=FrozenMap)
    absent: Mapping[str, str] = field(default_factory=FrozenMap)

    def fingerprint(self, *splits: str) -> str:
        """The fingerprint of some splits together."""
        return "+".join(self.fingerprints[split] for split in splits)


@dataclass(frozen=True, kw_only=True)
class PluginUse(Record):
    """One plug-in as a trial uses it: ``name`` in the spec, plug-in file, version, parameters.
    ``contents``: parameter that is a path → SHA-256 of the file, which stands for it in ids."""

    name: str
    plugin: str
    version: int
    params: Mapping[str, Any]
    contents: Mapping[str, str] = field(default_factory=FrozenMap)


@dataclass(frozen=True, kw_only=True)
class DatasetUse(PluginUse):
    """A data set as a trial uses it. ``fingerprint`` is of the splits that are read, and all of the
    data that enters ids; ``params`` say where and how to read it."""

    fingerprint: str
