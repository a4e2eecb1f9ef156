"""The page is one file that needs nothing else, and shows names as they are."""

from __future__ import annotations

import csv
import json
import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from tcc.report.html import page_text
from tcc.report.panels import pair_panels
from tcc.report.split import LAYERS
from tcc.report.study import read_study
from tcc.report.verdicts import Block, Group, VerdictRow


class Elements(HTMLParser):
    """Every start tag with its attributes, and the text outside of style and script."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.texts, self._skip = [], [], False
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        self._skip = tag in ("script", "style")

    def handle_endtag(self, tag):
        self._skip = False

    def handle_data(self, data):
        if not self._skip:
            self.texts.append(data)

    @property
    def text(self):
        return re.sub(r"\s+", " ", " ".join(self.texts))


def data_of(page):
    """The data as the script sees it: texts in place of their numbers."""
    data = json.loads(data_block(page))
    columns = data["columns"]
    for row in data["trials"]:
        row["facets"] = [data["texts"][text] for text in row["facets"]]
        for name, text in zip(data["facets"], row["facets"], strict=True):
            if name in columns:
                row["cells"].insert(columns.index(name), text)
    points = [
        strand for panel in data["panels"] for it in panel["lines"] for strand in it["strands"]
    ]
    for strand in (*points, *(bars for split in data["splits"] for bars in split["bars"])):
        strand["hover"] = [[data["texts"][text] for text in lines] for lines in strand["hover"]]
        strand["trials"] = [
            [data["trials"][place]["cells"][0] for place in places] for places in strand["trials"]
        ]
    return data


def drawn(data):
    """Every drawn point but those of levels: panel, line, x, y, hover, trials."""
    for panel in data["panels"]:
        for line in panel["lines"]:
            for it in line["strands"] if not line["level"] else ():
                points = zip(it["xs"], it["ys"], it["hover"], it["trials"], strict=True)
                yield from ((panel, line, *point) for point in points)


@pytest.fixture(scope="session")
def page(reported):
    return reported[1].page.read_text(encoding="utf-8")


def test_nothing_is_loaded_from_elsewhere(page):
    for tag, attributes in Elements(page).tags:
        assert tag not in ("iframe", "object", "embed", "base"), tag
        for name in ("src", "href", "action", "poster", "srcset"):
            target = attributes.get(name) or "#"
            assert target.startswith(("#", "data:")), (tag, target)
    assert "@import" not in page.split("</style>")[0]


def test_the_page_stays_small(page):
    assert len(page.encode()) < 7_000_000


def test_notice_failures_and_provenance_are_shown(page):
    text = Elements(page).text
    assert "Made-up <numbers>: they mean nothing." in text
    assert "loss term <rate> is NaN & the trial ended at step 17" in text
    for fact in ("0123abcd", "torch 2.9.1", "Linux x86_64, 2 cores", "study: made_up"):
        assert fact in text
    for count in ("249 done", "3 failed", "30 skipped"):
        assert count in text


def test_runs_failures_and_what_was_skipped_are_told(page, reported):
    text = Elements(page).text
    assert "2026-11-20 12:00 UTC 2 h 5 min 2 h 1 h 40 min 1.25 8.25 1.5" in text
    assert "2 × big (8 CPU, 1 GPU), small (2 CPU, 0 GPU) 2 83 done, 1 failed, 10 skipped" in text
    assert "term rate" in text
    failures = read_study("made_up", reported[0]).failures
    assert len(failures) == 3
    for failure in failures:
        assert f"10 because of {failure.trial.label} {failure.trial.id}" in text
        assert failure.log in text
    assert "Not complete: of 282 trials 3 failed and 30 were skipped." in text
    data = data_of(page)
    state = data["columns"].index("state")
    skipped = [row for row in data["trials"] if row["cells"][state] == "skipped"]
    labels = {failure.trial.label for failure in failures}
    assert {row["because"] for row in skipped} == {f"because of {label}" for label in labels}


def test_every_trial_has_a_row_and_every_point_its_trial(page, reported):
    study = read_study("made_up", reported[0])
    data = data_of(page)
    assert [row["cells"][0] for row in data["trials"]] == [trial.id for trial in study.plan]
    assert all(len(row["cells"]) == len(data["columns"]) for row in data["trials"])
    points = list(drawn(data))
    assert len(points) > 300
    for _, _, _, _, hover, trials in points:
        assert trials
        assert f"trial {trials[0]}" in "\n".join(hover)
        assert (reported[0].directory / "trials" / trials[0] / "result.json").is_file()


def test_every_drawn_number_is_in_a_row_of_its_trial(page, reported):
    with reported[1].points.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    pairs = {(row["trial"], row["rate_bpp"], row["value"]) for row in rows}
    values = {(row["trial"], row["value"]) for row in rows}
    for panel, _, x, y, _, trials in drawn(data_of(page)):
        if panel["role"] == "relative":
            assert (trials[0], repr(x)) in values
        elif panel["role"] != "side_information":
            assert (trials[0], repr(x), repr(y)) in pairs, (panel["role"], x, y)


def test_every_bar_of_the_rate_split_is_in_a_row_of_its_trial(page, reported):
    with reported[1].points.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    parts = {(row["trial"], row[f"{layer}_bpp"]) for row in rows for layer in LAYERS}
    bars = [bars for split in data_of(page)["splits"] for bars in split["bars"]]
    assert len(bars) == 2 * 2 * 3 * len(LAYERS)
    for one in bars:
        for height, (trial, *_) in zip(one["y"], one["trials"], strict=True):
            assert (trial, repr(height)) in parts


def test_every_number_of_the_trial_table_is_of_its_record(page, reported):
    records = {it.trial.id: it for it in read_study("made_up", reported[0]).records}
    data = data_of(page)
    rate, metrics = (data["columns"].index(name) for name in ("rate", "metrics"))
    shown = 0
    for row in data["trials"]:
        record = records.get(row["cells"][0])
        if record is None:
            assert row["cells"][rate] == row["cells"][metrics] == ""
            continue
        (evaluation,) = record.evaluations
        for number in re.findall(r"[\d.]+", row["cells"][rate]):
            assert float(number) == pytest.approx(evaluation.rates[0].bpp, rel=1e-3)
        told = re.findall(r"(?:^|, )\S+ (-?[\d.e-]+)", row["cells"][metrics])
        assert [float(number) for number in told] == [
            pytest.approx(metric.value, rel=1e-3) for metric in evaluation.metrics
        ]
        shown += len(told)
    assert shown > 300


def test_every_bd_rate_is_in_bd_rates_csv(page, reported):
    with reported[1].bd_rates.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    there = {f"{float(it['bd_rate_percent']):+.2f}" for it in rows if it["bd_rate_percent"]}
    told = re.findall(r'class="percent">([+−][\d.]+) %', page)
    assert len(told) > 10
    assert {text.replace("−", "-") for text in told} <= there


def test_the_study_can_be_run_again_and_cited(page):
    text = Elements(page).text
    assert "git checkout 0123abcd uv sync --frozen uv run tcc run made_up.yaml" in text
    assert (
        "Study “made_up”, 282 trials, method ttcc, run by tcc 0.1.0, git revision 0123abcd" in text
    )


def test_previews_stand_beside_their_original(page):
    pictures = [a for tag, a in Elements(page).tags if tag == "img"]
    assert pictures[0]["alt"] == "original"
    assert {"direct", "scalable", "single layer"} <= {picture["alt"] for picture in pictures}
    assert all(picture["src"].startswith("data:image/png;base64,iVBOR") for picture in pictures)


def test_names_with_markup_are_escaped(make_store, make_curves):
    bad = '</script><img src=x onerror="bad()">\'&amp;'
    study = read_study("made_up", make_store())
    trials = tuple(replace(trial, label=bad) for trial in study.plan)
    wicked = replace(
        study,
        name=bad,
        spec_text=bad,
        problems=(bad,),
        plan=replace(study.plan, trials=trials),
    )
    curves = [replace(c, key=replace(c.key, variant=bad, dataset=bad)) for c in make_curves()]
    text = page_text(
        wicked,
        sentences=(),
        verdicts=(),
        pairs=pair_panels(curves, ()),
        previews=(),
        saved=(),
        gaps=(),
    )
    assert "<img" not in text.replace(data_block(text), "")
    assert "</script><img" not in text
    assert Elements(text).text.count(bad) >= 4
    assert data_of(text)["trials"][0]["cells"][2] == bad


def data_block(page):
    """The JSON in the page, as the HTML parser finds its end."""
    start = page.index('id="data">') + len('id="data">')
    return page[start : page.index("</script>", start)]


@pytest.mark.parametrize(("rows", "is_open"), [(40, True), (41, False)])
def test_many_verdicts_open_on_request_and_leave_the_curves_near(reported, rows, is_open):
    row = VerdictRow(
        scope="Base",
        notes=(),
        percent="−1.00 %",
        interval="",
        seeds=(),
        verdict="ok",
        reasons=(),
        more_reasons=(),
        mean=False,
    )
    shown = Block(title="β = 0.1 against β = 0", rows=(row,) * rows, folded=False)
    folded = Block(title="References", rows=(row,) * 100, folded=True)
    group = Group(title="Base: depth", setting="", blocks=(shown, folded))
    text = page_text(
        read_study("made_up", reported[0]),
        sentences=(),
        verdicts=(group,),
        pairs=(),
        previews=(),
        saved=(),
        gaps=(),
    )
    groups = [found for tag, found in Elements(text).tags if found.get("class") == "group"]
    assert [("open" in found) for found in groups] == [is_open]


def test_what_the_base_saves_is_on_the_page_as_in_the_table(reported):
    _, files = reported
    with files.side_information.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) >= 4
    shown = Elements(files.page.read_text()).text
    for row in rows:
        low, high = (float(row[f"saved_percent_{end}"]) for end in ("low", "high"))
        cell = f"{float(row['saved_percent']):.3g} % ({low:.3g} to {high:.3g})"
        assert cell.replace("-", "−") in shown


def test_every_drawn_point_is_a_row_of_the_points_and_leads_to_a_trials_folder(reported, page):
    store, files = reported
    with files.points.open(newline="") as file:
        rows = list(csv.DictReader(file))
    values = {(row["trial"], float(row["value"])) for row in rows}
    points = {(row["trial"], float(row["value"]), row["rate_bpp"]) for row in rows}
    data = data_of(page)
    levels = [
        (strand["trials"][0][0], strand["ys"][0])
        for panel in data["panels"]
        for line in panel["lines"]
        for strand in line["strands"]
        if line["level"]
    ]
    assert levels
    assert set(levels) <= values
    shown = [
        (trials[0], y, x)
        for panel, _, x, y, _, trials in drawn(data)
        if panel["role"] not in ("relative", "side_information")  # of several points, in the hover
    ]
    assert len(shown) > 300
    assert {(trial, y, float(x)) for trial, y, x in shown} <= {
        (trial, y, float(rate)) for trial, y, rate in points if rate
    }
    for trial in {trial for trial, *_ in shown}:
        assert (store.directory / "trials" / trial / "result.json").is_file()


def test_every_verdict_is_a_row_of_the_bd_rates(reported, page):
    with reported[1].bd_rates.open(newline="") as file:
        known = {
            f"{float(found):+.2f} %".replace("-", "−")
            for row in csv.DictReader(file)
            if (found := row["bd_rate_percent"])
        }
    shown = re.findall(r'<span class="percent">([^<]+)<', page)
    shown += re.findall(r"<small>seed[^<]+</small> ([^<]+)<", page)
    assert len(shown) > 50
    assert set(shown) - {"none"} <= known
