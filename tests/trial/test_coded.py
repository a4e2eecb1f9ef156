"""Evaluations whose rates are those of files that were written and read back."""

from __future__ import annotations

import pytest

from tcc.records import TrialRecord
from tcc.stores import open_store
from tcc.trial import attempt

BOTH = "evaluate=[{rate: coded},{rate: estimated, coded_images: 2}]"


def run(plan, store):
    found = {trial.kind: attempt(trial, store) for trial in plan}
    assert all(isinstance(record, TrialRecord) for record in found.values()), found
    return found


@pytest.mark.parametrize(
    "changes",
    [
        ("model.context=checkerboard",),
        ("model.context=checkerboard", "model.hyperprior=true", "data.scenes.size=[37,50]"),
        ("model.context=masked", "train.scale=0.5"),
    ],
)
def test_coded_rates_are_those_of_files_and_metrics_those_of_what_was_decoded(
    tiny_plan, tmp_path, changes
):
    found = run(tiny_plan(BOTH, *changes, "grid.beta=[0]"), open_store(tmp_path))
    layers = {
        "base": ["base"],
        "direct": ["base"],
        "enhancement": ["base", "enhancement"],
        "standalone": ["base", "enhancement"],
        "single_layer": ["single_layer"],
        "pixels": [],
    }
    for kind, expected in layers.items():
        coded, estimated = found[kind].evaluations
        if coded.evaluation.rate != "coded":
            coded, estimated = estimated, coded
        assert coded.metrics == estimated.metrics
        if not expected:
            assert coded.gap is estimated.gap is None
            continue
        (rate,) = coded.rates
        assert rate.source == "coded"
        assert set(rate.bits_by_stream) == {
            f"{layer}.{part}" for layer in expected for part in ("stream", "header")
        }
        assert coded.gap.images == len(coded.per_image) == 6
        assert coded.gap.coded_bits == sum(rate.bits_by_stream.values())
        assert coded.gap.coded_bits == sum(image.coded_bits for image in coded.per_image)
        assert all(image.coded_bits % 8 == 0 for image in coded.per_image)
        assert coded.gap.estimated_bits == pytest.approx(
            sum(estimated.rates[0].bits_by_stream.values())
        )
        header = coded.gap.header_bits / 8 / 6
        assert 16 <= header <= 24
        payload = coded.gap.coded_bits - coded.gap.header_bits
        assert payload == pytest.approx(
            coded.gap.estimated_bits, rel=0.03, abs=6 * 80 * len(expected)
        )

        assert estimated.rates[0].source == "estimated"
        assert estimated.gap.images == 2
        first = coded.per_image[:2]
        assert estimated.gap.coded_bits == sum(image.coded_bits for image in first)
        assert [image.coded_bits for image in estimated.per_image[2:]] == [None] * 4


@pytest.mark.parametrize(("context", "rate"), [("checkerboard", "coded"), ("masked", "estimated")])
def test_contexts_that_code_fast_are_coded_unless_asked_otherwise(tiny_plan, context, rate):
    plan = tiny_plan(f"model.context={context}")
    assert {item.rate for trial in plan for item in trial.evaluations} == {rate}
    asked = tiny_plan(f"model.context={context}", "evaluate=[{rate: estimated, coded_images: 0}]")
    assert {item.rate for trial in asked for item in trial.evaluations} == {"estimated"}
    assert [trial.id for trial in asked] == [trial.id for trial in plan]
