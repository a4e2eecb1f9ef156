"""The page is one file that needs nothing else, and shows names as they are."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from tcc.report.html import page_text
from tcc.report.panels import pair_panels
from tcc.report.study import read_study


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
    return json.loads(data_block(page))


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
    skipped = [row for row in data_of(page)["trials"] if row["state"] == "skipped"]
    labels = {failure.trial.label for failure in failures}
    assert {row["because"] for row in skipped} == {f"because of {label}" for label in labels}


def test_every_trial_has_a_row_and_every_point_its_trial(page, reported):
    study = read_study("made_up", reported[0])
    data = data_of(page)
    ids = {row["cells"][0] for row in data["trials"]}
    assert ids == {trial.id for trial in study.plan}
    hovers = [
        hover for panel in data["panels"] for line in panel["lines"] for hover in line["hover"]
    ]
    assert len(hovers) > 300
    for hover in hovers:
        assert any(id in ids for id in re.findall(r"trial (\w+)", "\n".join(hover))), hover


def test_every_drawn_number_is_in_points_csv(page, reported):
    text = reported[1].points.read_text(encoding="utf-8")
    for panel in data_of(page)["panels"]:
        for line in panel["lines"]:
            if not line["level"] and "saved" not in panel["y"]:
                assert all(repr(x) in text for x in line["xs"])
                assert all(repr(y) in text for y in line["ys"])


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
        wicked, sentences=(), verdicts=(), pairs=pair_panels(curves, ()), previews=(), gaps=()
    )
    assert "<img" not in text.replace(data_block(text), "")
    assert "</script><img" not in text
    assert Elements(text).text.count(bad) >= 4
    assert data_of(text)["trials"][0]["cells"][2] == bad


def data_block(page):
    """The JSON in the page, as the HTML parser finds its end."""
    start = page.index('id="data">') + len('id="data">')
    return page[start : page.index("</script>", start)]
