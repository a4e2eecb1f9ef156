"""`tcc status` and `tcc report` as a user types them: what they print, and that they only read."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from contextlib import suppress

import pytest
from made_up import STUDY

FIGURE = "studies/made_up/report/figures/depth-reconstruction-scenes-val-ttcc.png"


def tcc(*args, cwd):
    command = [sys.executable, "-m", "tcc", *map(str, args)]
    return subprocess.run(command, capture_output=True, text=True, cwd=cwd, timeout=60)


@pytest.mark.parametrize("verb", ["status", "report"])
def test_a_wrong_name_creates_no_store(verb, tmp_path):
    done = tcc(verb, "typo", "--store", "nowhere", cwd=tmp_path)
    assert done.returncode == 2
    assert "it has no study, so no 'typo'" in done.stderr
    assert "Traceback" not in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_status_without_a_study_lists_those_of_the_store(make_store, tmp_path):
    make_store(failing=True)
    done = tcc("status", "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    (study,) = json.loads(done.stdout)["studies"]
    assert (study["study"], study["trials"], study["done"]) == ("made_up", 94, 83)
    assert tcc("status", cwd=tmp_path).stdout.count("made_up") == 1


def test_status_changes_nothing(make_store, tmp_path):
    store = make_store(failing=True)
    before = {path: path.stat().st_mtime_ns for path in store.directory.rglob("*")}
    done = tcc("status", "made_up", "--json", cwd=tmp_path)
    assert json.loads(done.stdout)["by_state"]["done"] == 83
    assert {path: path.stat().st_mtime_ns for path in store.directory.rglob("*")} == before


def test_an_unknown_past_is_one_message(make_store, tmp_path):
    make_store()
    done = tcc("report", "made_up", "--past", "abc", cwd=tmp_path)
    assert done.returncode == 2
    assert "none of its plans was ever replaced" in done.stderr
    assert len(done.stderr.splitlines()) == 1


@pytest.fixture
def full_disk(make_store):
    """A finished study whose first figure has no room."""
    figure = make_store().directory / FIGURE
    figure.parent.mkdir(parents=True)
    figure.symlink_to("/dev/full")


def test_a_report_that_finds_the_disk_full_is_one_message(full_disk, tmp_path):
    done = tcc("report", "made_up", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert "studies/made_up/report cannot be written, the disk is full" in done.stderr
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize("options", [(), ("--json",)])
def test_a_run_tells_what_it_did_where_its_report_cannot_be_drawn(full_disk, tmp_path, options):
    (tmp_path / "spec.yaml").write_text(STUDY)
    done = tcc("run", "spec.yaml", *options, cwd=tmp_path)
    assert done.returncode == 2
    if options:
        told = json.loads(done.stdout)
        assert (told["study"], told["report"]) == ("made_up", None)
    else:
        assert "94" in done.stdout
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("tcc: ")]
    assert "the disk is full" in line
    assert "Traceback" not in done.stderr


def test_what_takes_long_is_told_on_a_terminal_alone(make_store, tmp_path):
    make_store()
    page = tmp_path / "runs/studies/made_up/report/index.html"
    quiet = tcc("report", "made_up", cwd=tmp_path)
    assert (quiet.stdout.strip(), quiet.stderr) == (str(page), "")
    page.unlink()
    terminal, end = os.openpty()
    shown = b""
    command = [sys.executable, "-m", "tcc", "report", "made_up"]
    env = {**os.environ, "TERM": "xterm", "COLUMNS": "100"}
    with subprocess.Popen(
        command, stderr=end, stdout=subprocess.PIPE, cwd=tmp_path, env=env
    ) as run:
        os.close(end)
        with suppress(OSError):  # the terminal's end
            while part := os.read(terminal, 1 << 16):
                shown += part
        assert run.stdout.read().decode().strip() == str(page)
    os.close(terminal)
    assert run.returncode == 0
    assert "drawing figures, tables and the page" in shown.decode()
