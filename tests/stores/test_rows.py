"""Metric rows: a killed writer costs one row, never the file."""

from __future__ import annotations

import math

import pytest

from tcc.errors import RecordError


def test_metric_rows_read_back_in_order(store):
    store.append_metrics("aa11", 1, {"train/total": 0.1 + 0.2})
    store.append_metrics("aa11", 2, {"val/rd_cost": 1e-17})
    assert list(store.metrics("aa11")) == [
        {"step": 1, "train/total": 0.1 + 0.2},
        {"step": 2, "val/rd_cost": 1e-17},
    ]
    with pytest.raises(RecordError, match=r"metrics\.jsonl"):
        store.append_metrics("aa11", 3, {"train/total": math.nan})
    assert len(list(store.metrics("aa11"))) == 2


@pytest.mark.parametrize("rows", [1, 3])
def test_a_torn_last_metric_row_is_left_out_and_then_cut_off(store, rows):
    for step in range(rows):
        store.append_metrics("aa11", step, {"loss": 1.0})
    path = store.directory / "trials" / "aa11" / "metrics.jsonl"
    whole = path.read_bytes()
    last = len(whole.splitlines(keepends=True)[-1])
    for cut in range(1, last):
        path.write_bytes(whole[:-cut])
        assert [row["step"] for row in store.metrics("aa11")] == list(range(rows - 1))
        store.append_metrics("aa11", rows - 1, {"loss": 1.0})
        assert path.read_bytes() == whole
    assert store.problems() == ()


def test_a_damaged_metric_row_within_is_left_out_and_named(store):
    for step in range(3):
        store.append_metrics("aa11", step, {"loss": 1.0})
    path = store.directory / "trials" / "aa11" / "metrics.jsonl"
    path.write_text(path.read_text().replace('"step": 1', '"step" 1'))
    assert [row["step"] for row in store.metrics("aa11")] == [0, 2]
    assert "line 2" in store.problems()[0]


def test_what_a_resumed_trial_says_again_replaces_what_it_said(store):
    def say(step: int, **values: float) -> None:
        store.append_metrics("aa11", step, values)

    for step in (10, 20, 30):
        say(step, loss=1.0)
        say(step, cost=1.0)
    say(35, loss=1.0)
    say(20, loss=2.0)  # killed after 35, saved after 19
    say(20, cost=2.0)
    assert [tuple(row.values()) for row in store.metrics("aa11")] == [
        *((10, 1.0), (10, 1.0), (20, 2.0), (20, 2.0)),
    ]
    say(20, cost=3.0)  # saved between the two
    say(25, loss=3.0)
    say(22, loss=4.0)  # steps that it had not told before
    assert list(store.metrics("aa11"))[2:] == [
        {"step": 20, "loss": 2.0},
        {"step": 20, "cost": 3.0},
        {"step": 22, "loss": 4.0},
    ]


def test_a_row_without_its_step_is_named(store):
    store.append_metrics("aa11", 1, {"loss": 1.0})
    path = store.directory / "trials" / "aa11" / "metrics.jsonl"
    path.write_text('{"loss": 2.0}\n' + path.read_text())
    assert [row["step"] for row in store.metrics("aa11")] == [1]
    assert "line 1" in store.problems()[0]
