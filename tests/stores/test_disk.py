"""A disk that is full or became read-only: what is told, and that nothing is lost."""

from __future__ import annotations

import errno
import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import numpy
import pytest
from safetensors.numpy import save_file

from tcc.errors import StoreError
from tcc.stores import open_store
from tcc.stores.folder import FolderBackend


@pytest.fixture
def full_disk(tmp_path) -> Iterator[Path]:
    """A disk that a megabyte fills."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)]
    if subprocess.run(command, capture_output=True).returncode:
        pytest.skip("only the superuser may mount a small disk")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def test_a_full_disk_is_told_and_keeps_what_was_done(full_disk, make_record):
    store = open_store(full_disk / "runs")
    store.commit(make_record())
    backend = FolderBackend(store.uri)
    weights = {"w": numpy.zeros(1 << 20, dtype=numpy.float32)}
    writers = (
        lambda: backend.put("trials/aa11/result.json", bytes(2 << 20)),
        lambda: backend.create("trials/aa11/other", bytes(2 << 20)),
        lambda: store.save_checkpoint("aa11", lambda path: path.write_bytes(bytes(2 << 20))),
        lambda: store.save_checkpoint("aa11", lambda path: save_file(weights, path)),
    )
    for write in writers:
        with pytest.raises(StoreError) as caught:
            write()
        text = str(caught.value)
        assert text.startswith(f"{store.uri}/trials/aa11/")
        assert "the disk is full (No space left on device): free space, or give another" in text
        assert "what was done is kept" in text
    assert store.record("aa11") == make_record()
    assert not list(full_disk.rglob("*.tmp"))
    (full_disk / "rest").write_bytes(bytes(_free(full_disk)))
    with pytest.raises(StoreError, match="the disk is full"):
        _append_metrics(store, 10_000)
    (full_disk / "rest").unlink()
    store.append_metrics("aa11", 10_000, {"train/total": 2.0})
    assert list(store.metrics("aa11"))[-1]["step"] == 10_000
    assert store.problems() == ()


def test_a_creation_that_a_full_disk_cuts_off_leaves_nothing(full_disk, monkeypatch):
    def refuse(path, target):
        raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(Path, "hardlink_to", refuse)  # as on a file system without hard links
    backend = FolderBackend(str(full_disk))
    with pytest.raises(StoreError, match="the disk is full"):
        backend.create("k/a", bytes(700_000))  # there is room for it once, not twice
    assert list((full_disk / "k").iterdir()) == []
    assert backend.create("k/a", b"1")
    assert not backend.create("k/a", b"2")
    assert backend.get("k/a") == b"1"


def test_a_disk_that_became_read_only_is_told(full_disk, make_record):
    store = open_store(full_disk / "runs")
    store.commit(make_record())
    with store.working_on("aa11", "") as lease:
        subprocess.run(["mount", "-o", "remount,ro", str(full_disk)], check=True)
        for write in (
            lambda: store.commit(make_record()),
            lambda: store.withdraw("aa11"),
            lambda: store.append_metrics("aa11", 1, {}),
            lambda: store.preview_dir("bb22"),
            lambda: open_store(store.uri),
        ):
            with pytest.raises(StoreError, match=r"it is read-only.*: make it writable, or give"):
                write()
        assert not lease.lost
    assert store.record("aa11") == make_record()
    assert FolderBackend(store.uri).now() == pytest.approx(time.time(), abs=1)


def _append_metrics(store, steps):
    for step in range(steps):
        store.append_metrics("aa11", step, {"train/total": 1.0})


def _free(folder):
    found = os.statvfs(folder)
    return found.f_bavail * found.f_frsize
