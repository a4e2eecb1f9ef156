"""What the tracker is told of a report."""

from __future__ import annotations

import csv

import pytest

from tcc import registry
from tcc.report import mirror_report


@pytest.fixture
def told(reported, monkeypatch):
    """What the tracker was given."""
    calls = []

    class Listener:
        def summarise(self, settings, copy, *, directory):
            calls.append((settings, copy))

    monkeypatch.setattr(registry, "load", lambda room, name: Listener())
    mirror_report("made_up", *reported)
    (call,) = calls
    return call


def test_the_tables_are_those_of_the_csv_files_with_numbers_as_numbers(told, reported):
    tables = told[1].tables
    for name, path in (("rd_points", reported[1].points), ("bd_rates", reported[1].bd_rates)):
        with path.open(encoding="utf-8") as file:
            header, *rows = csv.reader(file)
        assert list(tables[name].columns) == header
        assert len(tables[name].rows) == len(rows) > 50
    points = [dict(zip(tables["rd_points"].columns, row)) for row in tables["rd_points"].rows]
    assert all(isinstance(point["value"], float) for point in points)
    assert all(isinstance(point["trial"], str) for point in points)
    assert {point["rate_bpp"] for point in points if point["family"] == "pixels"} == {None}


def test_settings_figures_and_spec_go_along(told):
    settings, copy = told
    assert (settings["project"], settings["mode"]) == ("tcc", "offline")
    assert copy.study == "made_up"
    assert copy.config["spec"]["grid"]["beta"] == [0.0, 0.1]
    assert "overview" in copy.images
    assert all(path.suffix == ".png" and path.is_file() for path in copy.images.values())
