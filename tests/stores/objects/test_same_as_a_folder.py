"""The tests of a store that hold wherever its bytes lie, once more over an object storage."""

from __future__ import annotations

import importlib.util
import inspect
from collections.abc import Iterator
from pathlib import Path
from typing import Any

_ROOM = Path(__file__).parent.parent
_FILES = ("test_leases", "test_rows", "test_store", "test_training_files", "test_upkeep")
# What a test names that looks into local files, or counts in less than S3's whole seconds.
_OF_A_FOLDER = (
    *(".directory", ".with_name(", ".study_dir(", ".checkpoint(", "files(", "Folder", "tmp_path"),
    *(".tmp", "scratch_name"),
    *("expires_s", "short_leases", "cheap", "utime", "_lease.", "hashes", "disk_used", "folder("),
)


def _tests() -> Iterator[tuple[str, Any]]:
    for file in _FILES:
        spec = importlib.util.spec_from_file_location(f"shared_{file}", _ROOM / f"{file}.py")
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        for name, test in vars(module).items():
            if name.startswith("test_") and "store" in inspect.signature(test).parameters:
                source = inspect.getsource(test)
                if not any(word in source for word in _OF_A_FOLDER):
                    yield name, test


_shared = dict(_tests())
globals().update(_shared)


def test_there_are_shared_tests():
    assert len(_shared) >= 15
