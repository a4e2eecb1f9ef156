"""Which curves share which axes, and how they are told apart."""

from __future__ import annotations

from dataclasses import replace

from tcc.curves.comparisons import compare
from tcc.curves.relative import relative_rates
from tcc.curves.side_information import side_information
from tcc.records import RDCurve
from tcc.report.panels import pair_panels, shown_settings
from tcc.report.split import rate_split, seeds_of


def panels_of(curves):
    comparisons = compare(curves, anchor={"beta": 0.0})
    return pair_panels(curves, side_information(curves), list(relative_rates(comparisons, curves)))


def panel(pair, role):
    return next(item for item in pair.panels if item.role == role)


def test_each_pair_has_its_panels(make_curves):
    pairs = panels_of(make_curves())
    assert [pair.tasks for pair in pairs] == [
        ("depth", "reconstruction"),
        ("depth", "segmentation"),
    ]
    for pair in pairs:
        assert [item.role for item in pair.panels] == [
            "base",
            "direct",
            "total",
            "own",
            "relative",
            "side_information",
        ]


def test_a_panel_shows_one_metric_the_headline(make_curves):
    pair = panels_of(make_curves())[0]
    assert panel(pair, "total").y == "PSNR (dB)"
    assert panel(pair, "base").y == "RMSE (px), lower is better"


def test_every_curve_of_a_panel_has_its_own_style(make_curves):
    for pair in panels_of(make_curves()):
        for item in pair.panels:
            styles = [(line.slot, line.shape, line.fill, line.dash) for line in item.lines]
            assert len(set(styles)) == len(styles), item.title


def test_colours_fills_and_shapes_mean_the_same_in_all_panels(make_curves):
    pair = panels_of(make_curves())[0]
    meanings = {}
    for item in pair.panels:
        for line in item.lines:
            if line.arm:
                meanings.setdefault(("arm", line.arm), set()).add((line.slot, line.fill))
            if line.at:
                meanings.setdefault(("base", line.at), set()).add(line.shape)
    assert all(len(styles) == 1 for styles in meanings.values())
    assert len(meanings) == 2 + 3


def test_seeds_share_a_legend_entry_and_are_faint(make_curves):
    lines = panel(panels_of(make_curves((0, 1)))[0], "direct").lines
    direct = [line for line in lines if line.group == "direct, β = 0"]
    assert [len(line.strands) for line in direct] == [2]
    assert all(line.faint for line in direct)
    assert not any(line.faint for line in panel(panels_of(make_curves())[0], "direct").lines)


def test_the_direct_curve_as_published_is_dashed(make_curves):
    lines = panel(panels_of(make_curves())[0], "direct").lines
    dashes = {line.family: line.dash for line in lines}
    assert dashes == {"direct": "solid", "direct, as published": "dash"}


def test_a_level_is_the_best_over_beta_and_reaches_across_the_panel(make_curves):
    curves = make_curves()
    better = [
        replace(c, points=(*c.points[:1], replace(c.points[1], value=1.5)))
        if c.key.family == "uncompressed" and c.key.metric == "depth/rmse"
        else c
        for c in curves
    ]
    item = panel(panels_of(better)[0], "base")
    level = next(line for line in item.lines if line.family == "uncompressed")
    (strand,) = level.strands
    assert set(strand.ys) == {1.5}
    assert strand.xs[0] == 0
    xs = [x for line in item.lines for strand in line.strands for x in strand.xs]
    assert max(xs) == strand.xs[-1] <= item.reach


def test_hover_leads_back_to_trial_base_axes_and_rate_split(make_curves):
    curves = make_curves()
    lines = panel(panels_of(curves)[0], "total").lines
    line = next(line for line in lines if line.group == "scalable, β = 0.1" and "0.3" in line.at)
    curve = next(
        c
        for c in curves
        if c.key.family == "scalable" and c.key.fixed == {"beta": 0.1, "lambda_b": 0.3}
    )
    (strand,) = line.strands
    assert strand.trials == tuple((point.trial, point.base) for point in curve.points)
    for hover, point in zip(strand.hover, curve.points, strict=True):
        text = "\n".join(hover)
        assert f"enhancement trial {point.trial}, step 360" in text
        assert f"base trial {point.base}" in text
        assert f"λ_b = 0.3, λ_e = {point.axes['lambda_e']:g}, β = 0.1, seed 0" in text
        assert "base 0." in text
        assert "+ enhancement 0." in text


def test_a_still_improving_point_says_so(make_curves):
    lines = panel(panels_of(make_curves())[0], "base").lines
    line = next(line for line in lines if line.family == "base")
    (strand,) = line.strands
    assert [at for at, flag in enumerate(strand.improving) if flag] == [2]
    assert "still improving" in "\n".join(strand.hover[2])


def test_a_split_measured_with_both_rates_shows_the_coded_one(make_curves):
    estimated = make_curves()
    rated = [curve for curve in estimated if curve.key.source]
    coded = [
        RDCurve(key=replace(c.key, source="coded"), metric=c.metric, points=c.points) for c in rated
    ]
    both = [*estimated, *coded]
    assert [s.source for s in shown_settings([c.key for c in both])] == ["coded"]
    pairs = panels_of(both)
    assert {pair.setting.source for pair in pairs} == {"coded"}
    assert any(line.family == "uncompressed" for line in panel(pairs[0], "base").lines)


def test_data_sets_and_splits_have_panels_of_their_own(make_curves):
    curves = make_curves()
    elsewhere = [replace(c, key=replace(c.key, dataset="kodak")) for c in curves]
    pairs = panels_of([*curves, *elsewhere])
    assert [pair.setting.dataset for pair in pairs] == ["scenes"] * 2 + ["kodak"] * 2
    assert "trained on scenes" in pairs[-1].setting.text


def test_no_curves_no_panels():
    assert pair_panels((), ()) == ()


def test_bars_of_the_rate_split_add_up_to_the_total_rate(make_curves):
    curves = make_curves()
    pair = panels_of(curves)[0]
    bars = list(rate_split(pair))
    assert [bar.layer for bar in bars] == ["base", "enhancement"] * 2
    heights = sorted(
        base + own
        for below, above in zip(bars[::2], bars[1::2], strict=True)
        for base, own in zip(below.y, above.y, strict=True)
    )
    rates = sorted(
        point.rate_bpp
        for curve in curves
        if curve.key.family == "scalable" and curve.key.metric == "reconstruction/psnr"
        if curve.key.tasks == pair.tasks
        for point in curve.points
    )
    assert len(rates) == 2 * 3 * 4
    assert all(abs(a - b) < 1e-12 for a, b in zip(heights, rates, strict=True))
    assert bars[0].x[0][:5] == ("λ_b 0.1",) * 4 + ("λ_b 0.3",)


def test_many_seeds_have_bars_of_one(make_curves):
    pair = panels_of(make_curves((3, 4, 5, 6)))[0]
    assert seeds_of(pair) == (3,)
    assert {bar.group.split()[1] for bar in rate_split(pair)} == {"3"}
    assert seeds_of(panels_of(make_curves((3, 4)))[0]) == (3, 4)


def test_the_relative_rate_is_of_each_point_against_the_baseline_at_its_metric(make_curves):
    curves = make_curves()
    lines = panel(panels_of(curves)[0], "relative").lines
    assert {(line.family, line.arm) for line in lines} == {
        ("scalable", "β = 0.1"),
        ("enhancement only", "β = 0.1"),
    }
    found = {c.key.fixed["beta"]: c for c in curves if is_scalable(c) and lambda_b(c) == 0.3}
    anchor, test = found[0.0], found[0.1]
    line = next(it for it in lines if it.family == "scalable" and it.at == "λ_b = 0.3")
    (strand,) = line.strands
    for x, percent, trials in zip(strand.xs, strand.ys, strand.trials, strict=True):
        (point,) = [point for point in test.points if point.trial == trials[0]]
        assert point.value == x
        below = max((p for p in anchor.points if p.value <= x), key=lambda p: p.value)
        above = min((p for p in anchor.points if p.value >= x), key=lambda p: p.value)
        assert below.rate_bpp <= point.rate_bpp / (1 + percent / 100) <= above.rate_bpp
    assert len(strand.xs) >= 3


def is_scalable(curve):
    return curve.key.family == "scalable" and curve.key.metric == "reconstruction/psnr"


def lambda_b(curve):
    return curve.key.fixed["lambda_b"]
