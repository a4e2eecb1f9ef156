"""The studies of a store: their files, and what each of their runs came to."""

from __future__ import annotations

from pathlib import Path

from tcc.records import RunRecord
from tcc.stores._files import Files, study_key
from tcc.stores._serial import to_json


class Studies(Files):
    """Studies by name."""

    def studies(self) -> tuple[str, ...]:
        """The names of the studies that wrote anything."""
        return tuple(sorted({key.split("/")[1] for key in self._backend.find("studies/*/*")}))

    def newest_studies(self) -> tuple[str, ...]:
        """The studies that have a plan, that which was planned last first; by one listing."""
        plans = self._backend.stamps("studies/*/plan.json").items()
        newest = sorted(plans, key=lambda found: (-found[1].modified, found[0]))
        return tuple(key.split("/")[1] for key, _ in newest)

    def write_study(self, name: str, file: str, text: str) -> None:
        """Replaces a study's file; ``file`` may lie in a folder, as ``report/points.csv``."""
        self._put(study_key(name, *file.split("/")), text)

    def read_study(self, name: str, file: str) -> str | None:
        """A study's file as text; None when there is none."""
        data = self._backend.get(study_key(name, *file.split("/")))
        return None if data is None else data.decode("utf-8", "replace")

    def study_dir(self, name: str) -> Path:
        """A study's local folder, for the report."""
        return self._folder(study_key(name))

    def write_run(self, record: RunRecord) -> None:
        """Adds what a run of a study came to."""
        started = record.started_at.replace(":", "")
        key = study_key(record.study, "runs", f"{started}-{record.run}.json")
        self._put(key, to_json(record))

    def runs(self, study: str) -> tuple[RunRecord, ...]:
        """A study's runs, oldest first."""
        keys = self._backend.find(f"{study_key(study)}/runs/*.json")
        read = [self._read(RunRecord, key, lambda it: it.study == study) for key in sorted(keys)]
        found = [record for record in read if record is not None]
        return tuple(sorted(found, key=lambda record: record.started_at))
