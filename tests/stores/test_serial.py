"""Sealed records read back bit for bit, or not at all."""

from __future__ import annotations

import hashlib
import json
import math
import struct
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tcc.errors import RecordError
from tcc.records import (
    SCHEMA,
    FrozenMap,
    Metric,
    Plan,
    PluginUse,
    Progress,
    TrialDraft,
    TrialRecord,
    TrialSpec,
)
from tcc.stores import from_json, to_json


def test_a_record_reads_back_equal(make_record):
    record = make_record()
    again = from_json(TrialRecord, to_json(record))
    assert again == record
    assert hash(again) == hash(record)
    assert to_json(again) == to_json(record)
    assert isinstance(again.trial.axes, FrozenMap)
    assert isinstance(again.trial.recipe.method.params["sizes"], tuple)


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_floats_keep_every_bit(value):
    metric = Metric(name="m", value=value, unit="", higher_is_better=True)
    assert _bits(from_json(Metric, to_json(metric)).value) == _bits(value)
    free = PluginUse(name="p", plugin="p", version=1, params={"x": [value]})
    assert _bits(from_json(PluginUse, to_json(free)).params["x"][0]) == _bits(value)


@given(st.text())
def test_text_reads_back(text):
    metric = Metric(name=text, value=0.0, unit="", higher_is_better=True)
    assert from_json(Metric, to_json(metric)).name == text.encode("utf-8", "replace").decode()


def test_half_a_surrogate_pair_does_not_stop_a_record():
    metric = Metric(name="name \udc80", value=0.0, unit="", higher_is_better=True)
    assert from_json(Metric, to_json(metric)).name == "name ?"


def test_a_plan_and_a_nested_draft_read_back(make_trial):
    plan = Plan(study="tiny", trials=(make_trial("a1"), make_trial("b2")))
    assert from_json(Plan, to_json(plan)) == plan
    base = _draft("base", ())
    assert from_json(TrialDraft, to_json(_draft("enhancement", (base,)))).needs == (base,)


def test_the_file_is_plain_json(make_record):
    text = to_json(make_record())
    whole = json.loads(text)
    assert list(whole) == ["schema", "type", "sha256", "record"]
    assert whole["record"]["trial"]["axes"] == {"beta": 5e-324, "lambda_b": 0.1 + 0.2}
    body = text.splitlines()[1].removeprefix('"record": ').removesuffix("}")
    assert hashlib.sha256(body.encode()).hexdigest() == whole["sha256"]


def test_every_prefix_is_refused(make_record):
    data = to_json(make_record(images=0)).encode()
    for length in range(len(data)):
        with pytest.raises(RecordError):
            from_json(TrialRecord, data[:length])


def test_every_edited_byte_is_refused(make_trial):
    data = to_json(make_trial()).encode()
    for position in range(len(data)):
        edited = bytearray(data)
        edited[position] ^= 1
        with pytest.raises(RecordError):
            from_json(TrialSpec, bytes(edited))


def test_what_is_wrong_is_said(make_trial):
    text = to_json(make_trial())
    with pytest.raises(RecordError, match=f"has schema {SCHEMA + 1}; .* reads schema {SCHEMA}"):
        from_json(TrialSpec, text.replace(f'"schema": {SCHEMA}', f'"schema": {SCHEMA + 1}', 1))
    with pytest.raises(RecordError, match="holds a TrialSpec where a TrialRecord belongs"):
        from_json(TrialRecord, text)
    with pytest.raises(RecordError, match="torn or was edited"):
        from_json(TrialSpec, text + "\n")
    with pytest.raises(RecordError, match="torn or not a record file"):
        from_json(TrialSpec, "")


def test_a_sealed_record_of_another_shape_is_refused():
    old = to_json(PluginUse(name="p", plugin="p", version=1, params={}))
    with pytest.raises(RecordError, match=r"does not fit Metric: value"):
        from_json(Metric, old.replace('"PluginUse"', '"Metric"'))


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_non_finite_numbers_are_refused_by_name(make_record, value):
    record = make_record()
    bad = replace(record, training=replace(record.training, rd_cost=((10, 1.0), (20, value))))
    with pytest.raises(RecordError, match=rf"training\.rd_cost\[1\]\[1\] is {value}, not a finite"):
        to_json(bad)


def test_values_that_would_not_read_back_are_refused():
    with pytest.raises(RecordError, match="Metric cannot be written"):
        to_json(Metric(name="m", value="much", unit="", higher_is_better=True))  # type: ignore[arg-type]
    with pytest.raises(RecordError, match="object"):
        to_json(PluginUse(name="p", plugin="p", version=1, params={"x": object()}))


def test_paths_in_parameters_become_text():
    use = PluginUse(name="p", plugin="p", version=1, params={"root": Path("a") / "b"})
    assert from_json(PluginUse, to_json(use)).params == {"root": "a/b"}


def test_a_record_of_another_schema_is_not_written(make_record):
    with pytest.raises(RecordError, match="schema"):
        to_json(replace(make_record(), schema=SCHEMA + 1))


def test_optional_fields_read_back():
    progress = Progress(
        trial="a", phase="setup", step=0, steps=1, loss=None, bpp=None, elapsed_s=0.0, eta_s=None
    )
    assert from_json(Progress, to_json(progress)) == progress


def _bits(value: float) -> bytes:
    return struct.pack("<d", value)


def _draft(kind: str, needs: tuple[TrialDraft, ...]) -> TrialDraft:
    return TrialDraft(
        kind=kind, tasks=("depth",), uses=("depth",), dataset="scenes", axes={"beta": 0.0},
        seed=0, variant="", needs=needs,
    )  # fmt: skip
