"""What the page says of the BD-rates."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tcc.curves.comparisons import compare
from tcc.report.verdicts import groups, headline, sentences, without_comparison


@pytest.fixture
def told(make_curves):
    curves = make_curves((0, 1, 2))
    return headline(compare(curves, anchor={"beta": 0.0}), curves)


def rows_of(told, title):
    group = next(group for group in groups(told) if group.title == title)
    return {row.scope: row for block in group.blocks for row in block.rows}


def test_base_tasks_come_before_pairs(told):
    titles = [group.title for group in groups(told)]
    assert titles == ["Base: depth", "depth → reconstruction", "depth → segmentation"]


def test_total_and_enhancement_only_have_rows_of_their_own_per_base_and_in_the_mean(told):
    rows = rows_of(told, "depth → reconstruction")
    for what in ("Scalable, total rate", "Enhancement's own rate"):
        for where in ("λ_b = 0.1", "λ_b = 0.3", "λ_b = 1", "mean over λ_b 0.1, 0.3, 1"):
            assert f"{what}, {where}" in rows
    total = rows["Scalable, total rate, mean over λ_b 0.1, 0.3, 1"]
    own = rows["Enhancement's own rate, mean over λ_b 0.1, 0.3, 1"]
    assert total.mean
    assert own.mean
    assert total.percent != own.percent


def test_a_row_lists_each_seed_and_the_interval(told):
    row = rows_of(told, "depth → reconstruction")["Enhancement's own rate, λ_b = 0.3"]
    assert [seed.name for seed in row.seeds] == ["seed 0", "seed 1", "seed 2"]
    assert all(seed.value.startswith("−") and seed.value.endswith(" %") for seed in row.seeds)
    assert row.interval.startswith("95 % interval −")


def test_the_interval_over_images_is_told_after_the_one_over_seeds(told):
    row = next(row for row in told if row.summary.interval is not None)

    def text(**intervals):
        changed = replace(row, summary=replace(row.summary, **intervals))
        ((group,),) = [[block.rows for block in group.blocks] for group in groups([changed])]
        return group[0].interval

    assert "images" not in text()
    both = text(interval=(-4.0, -2.5), image_interval=(-5.0, 0.125))
    assert both == "95 % interval −4.00 to −2.50 %, over images −5.00 to +0.12 %"
    alone = text(interval=None, image_interval=(-5.0, 0.125))
    assert alone == "95 % interval over images −5.00 to +0.12 %"
    assert text(interval=None, image_interval=None) == ""


def test_a_refused_row_has_no_number_and_says_why(told):
    row = rows_of(told, "Base: depth")["Base"]
    assert row.verdict == "refused"
    assert row.percent == "none"
    assert any("at least 4 are needed" in reason for reason in row.reasons)
    assert [seed.value for seed in row.seeds] == ["none"]


def test_the_base_row_tells_its_change_at_each_lambda(told):
    notes = rows_of(told, "Base: depth")["Base"].notes
    assert [note.split(":")[0] for note in notes] == ["λ_b = 0.1", "λ_b = 0.3", "λ_b = 1"]
    assert all("rate +" in note and "RMSE −" in note and note.endswith("px") for note in notes)


def test_references_are_folded_and_in_their_order(told):
    group = groups(told)[1]
    assert [block.folded for block in group.blocks] == [False, True]
    references = [row.scope.split(",")[0] for row in group.blocks[1].rows]
    order = ["Against standalone", "Against single layer", "Against simulcast"]
    assert list(dict.fromkeys(references)) == order


def test_only_the_headline_metric_is_told(make_curves, told):
    assert {row.metric.name for row in told} == {
        "depth/rmse",
        "reconstruction/psnr",
        "segmentation/miou",
    }
    metrics = {row.metric.name for row in compare(make_curves(), anchor={"beta": 0.0})}
    assert "reconstruction/ms-ssim" in metrics


def test_sentences_name_what_changed_and_what_was_refused(told):
    found = sentences(told)
    assert [sentence.subject for sentence in found] == [
        "depth → reconstruction, β = 0.1 against β = 0",
        "depth → segmentation, β = 0.1 against β = 0",
    ]
    for sentence in found:
        assert "total rate falls by" in sentence.text
        assert "the enhancement's own rate falls by" in sentence.text
        assert sentence.text.endswith("No BD-rate can be given for the direct curve and the base.")


def test_without_a_baseline_nothing_is_said(make_curves):
    curves = [curve for curve in make_curves() if curve.key.fixed.get("beta", 0.1) == 0.1]
    told = headline(compare(curves, anchor={"beta": 0.0}), curves)
    assert sentences(told) == ()


def test_a_pair_without_a_comparison_has_its_reason(make_curves, told):
    pair, other, never = ("depth", "reconstruction"), ("depth", "segmentation"), ("a", "b")
    assert without_comparison([pair, other], told, make_curves()) == ()
    alone = [curve for curve in make_curves() if curve.key.fixed.get("beta", 0.1) == 0.1]
    rows = headline(compare(alone, anchor={"beta": 0.0}), alone)
    found = without_comparison([pair, never, pair], rows, alone)
    assert [sentence.subject for sentence in found] == ["depth → reconstruction", "a → b"]
    assert found[0].text.startswith("One arm alone, β = 0.1: ")
    assert found[1].text.startswith("No curve: ")
