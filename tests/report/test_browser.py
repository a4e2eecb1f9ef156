"""The page in a real browser with no network: draws, answers, filters, on a desk and on a phone."""

from __future__ import annotations

import json
import re
import shutil

import pytest
from made_up import METRICS, STUDY, fill
from playwright.sync_api import sync_playwright

from tcc.report import build_report
from tcc.spec import parse_spec, resolved_yaml

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
QUIET = (
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(180),
    pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium: apt-get install chromium"),
]


@pytest.fixture(scope="module")
def browser():
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=list(QUIET))
        yield browser
        browser.close()


@pytest.fixture
def visit(browser, reported):
    """``visit(**context)``: the report, or ``file``, opened with no network; what went wrong is
    asserted."""
    troubles, contexts = [], []

    def open_page(file=reported[1].page, **options):
        context = browser.new_context(**{"viewport": {"width": 1280, "height": 900}} | options)
        context.set_offline(True)
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: troubles.append(f"{message.type}: {message.text}"))
        page.on("pageerror", lambda error: troubles.append(f"error: {error}"))
        page.on(
            "request",
            lambda r: r.url.startswith(("file:", "data:", "blob:")) or troubles.append(r.url),
        )
        page.goto(file.as_uri())
        page.wait_for_selector(".scatterlayer .trace", state="attached")
        page.wait_for_function("drawn.size === plots.size")
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert troubles == []


def test_it_draws_every_panel_with_no_network_and_no_error(visit):
    page = visit()
    assert page.title() == "made_up: rate-distortion study"
    panels = page.locator("figure.panel")
    assert panels.count() == 2 * 7
    for at in range(panels.count()):
        figure = panels.nth(at)
        marks = figure.locator(".scatterlayer .trace path.js-line, .barlayer .point path")
        assert marks.count() >= 2, figure.inner_text()
    assert page.locator(".scatterlayer .trace .points").count() >= 4
    notes = page.get_by_role("note").all_inner_texts()
    assert notes[0].startswith("Not complete: of 282 trials 3 failed and 30 were skipped.")
    assert notes[1:] == ["Made-up <numbers>: they mean nothing."]


def test_hover_leads_back_to_the_trial(visit):
    page = visit()
    figure = page.locator("figure.panel", has_text="Scalable: reconstruction")
    figure.scroll_into_view_if_needed()
    figure.locator(".scatterlayer .trace .points path").first.hover(force=True)
    label = figure.locator(".hoverlayer .hovertext")
    label.wait_for()
    text = " ".join(label.locator("tspan").all_text_contents())
    for wanted in (r"trial [0-9a-f]{16}", "λ_b = ", "λ_e = ", "β = ", r"seed \d", r"step \d+"):
        assert re.search(wanted, text), (wanted, text)
    assert re.search(r"base [\d.]+ \+ enhancement [\d.]+ bpp", text)


def test_legend_entries_switch_their_curves(visit):
    page = visit()
    figure = page.locator("figure.panel", has_text="Scalable: reconstruction")
    traces = figure.locator(".scatterlayer .trace")
    before = traces.count()
    figure.get_by_role("button", name="scalable, β = 0", exact=True).click()
    assert traces.count() == before - 3 * 2  # three bases, each a line and its band
    figure.get_by_role("button", name="simulcast, β = 0", exact=True).click()
    assert traces.count() == before
    figure.get_by_role("button", name="λ_b = 1", exact=True).click()
    off = figure.locator('button[aria-pressed="false"]').all_inner_texts()
    assert off == ["scalable, β = 0", "simulcast, β = 0.1", "λ_b = 1"]
    assert traces.count() < before


def test_the_filter_finds_trials(visit):
    page = visit()
    rows, box = page.locator("#trial-rows tr"), page.get_by_role("searchbox")
    assert page.locator(".filter output").inner_text() == "282 of 282 trials"
    assert rows.count() == 100
    page.get_by_role("button", name="Show more").click()
    assert rows.count() == 282
    box.fill("base failed")
    assert page.locator(".filter output").inner_text() == "3 of 282 trials"
    assert {row.split("\t")[1] for row in rows.all_inner_texts()} == {"base"}
    box.fill("no such trial")
    assert rows.count() == 0


def test_only_trials_that_have_a_folder_lead_to_it(visit):
    page = visit()
    for state, count in {"skipped": 0, "failed": 3, "done": 100}.items():
        page.get_by_label("state", exact=True).select_option(label=state)
        assert page.locator("#trial-rows a").count() == count


def test_choices_and_columns_narrow_and_order_the_trials(visit):
    page = visit()
    output, rows = page.locator(".filter output"), page.locator("#trial-rows tr")
    page.get_by_label("kind").select_option("enhancement")
    page.get_by_label("β", exact=True).select_option("β = 0.1")
    page.get_by_label("seed").select_option("seed = 1")
    assert output.inner_text() == "24 of 282 trials"
    page.get_by_label("state").select_option("done")
    assert output.inner_text() == "16 of 282 trials"
    heads = page.locator(".trials thead button")
    heads.filter(has_text="rate").click()
    rates = [float(row.split("\t")[6].split()[0]) for row in rows.all_inner_texts()]
    assert rates == sorted(rates)
    heads.filter(has_text="rate").click()
    falling = [float(row.split("\t")[6].split()[0]) for row in rows.all_inner_texts()]
    assert falling == rates[::-1]


def test_a_click_keeps_the_lineage_with_ways_to_the_trial(visit, reported):
    page = visit()
    figure = page.locator("figure.panel", has_text="Scalable: reconstruction").first
    figure.scroll_into_view_if_needed()
    figure.locator(".scatterlayer .trace .points path").last.click(force=True)
    kept = figure.locator(".kept")
    (trial, *_) = re.findall(r"trial ([0-9a-f]{16}), step", kept.inner_text())
    folder = kept.get_by_role("link", name="folder").first
    assert folder.get_attribute("href") == f"../../../trials/{trial}/"
    target = reported[1].page.parent / folder.get_attribute("href")
    assert (target / "result.json").is_file()
    kept.get_by_role("link", name=f"{trial} in the table").click()
    assert page.locator(".filter output").inner_text() == "1 of 282 trials"
    kept.get_by_role("button", name="Close").click()
    assert kept.count() == 0


@pytest.mark.parametrize("width", [320, 390, 1280])
def test_nothing_runs_over_the_side(visit, width):
    page = visit(viewport={"width": width, "height": 800}, has_touch=width < 500)
    assert page.evaluate("document.documentElement.scrollWidth") <= width


@pytest.fixture(scope="module")
def long_named(tmp_path_factory):
    """The page of a study whose notice, codec from outside and metrics have names of one word."""
    folder = tmp_path_factory.mktemp("long")
    anchor, word = folder / "vtm.json", "verylongname" * 20
    anchor.write_text(json.dumps({"name": word, "results": {"bpp": [0.1, 0.9], "psnr": [20, 27]}}))
    text = STUDY.replace("report: {", f"report: {{anchors: [{anchor}], ")
    spec = parse_spec(text.replace("Made-up <numbers>: they mean nothing.", word))
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(METRICS, "segmentation", ((word, word, True),))
        store = fill(folder / "runs", (0,), failing=True)
    store.write_study("made_up", "spec.yaml", resolved_yaml(spec))
    return build_report("made_up", store).page


@pytest.mark.parametrize(("width", "media"), [(390, "screen"), (1280, "screen"), (720, "print")])
def test_a_name_of_one_long_word_runs_over_nothing(visit, long_named, width, media):
    page = visit(long_named, viewport={"width": width, "height": 800})
    page.emulate_media(media=media)
    if media == "print":
        page.evaluate("onPaper(true)")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    over = page.evaluate(
        "[...document.querySelectorAll('.legend button, .notice, .words li, caption, h3, h4')]"
        ".filter((node) => node.clientWidth && node.scrollWidth > node.clientWidth + 1)"
        ".map((node) => node.textContent)"
    )
    over += page.evaluate(
        "[...document.querySelectorAll('.ytitle')].filter((node) => node.getBoundingClientRect()"
        ".top < node.closest('.plot').getBoundingClientRect().top - 16)"
        ".map((node) => node.textContent)"
    )
    assert over == []


def test_a_long_hover_text_is_broken(visit, long_named):
    page = visit(long_named, viewport={"width": 390, "height": 800})
    texts = page.evaluate(
        "[...document.querySelectorAll('.plot')].flatMap((plot) => plot.data)"
        ".flatMap((trace) => trace.text ?? []).flatMap((text) => (text ?? '').split('<br>'))"
    )
    assert any("verylongname" in text for text in texts)
    assert max(map(len, texts)) <= 50


def test_colours_follow_the_reader(visit):
    page = visit(color_scheme="light")
    line = page.locator(".scatterlayer .trace path.js-line").first
    colours = [
        page.evaluate("getComputedStyle(document.body).backgroundColor"),
        line.evaluate("node => getComputedStyle(node).stroke"),
    ]
    page.emulate_media(color_scheme="dark")
    page.wait_for_function(
        "before => getComputedStyle(document.querySelector('.scatterlayer .trace path.js-line'))"
        ".stroke !== before",
        arg=colours[1],
    )
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") != colours[0]


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_it_prints_on_paper_in_light_colours(visit, theme):
    page = visit(color_scheme=theme)
    assert page.pdf(format="A4", print_background=True).startswith(b"%PDF")
    page.evaluate("onPaper(true)")  # as a browser does: before it lays the pages out
    page.set_viewport_size({"width": 720, "height": 1000})  # of A4 at 96 dots an inch, with margins
    page.emulate_media(media="print", color_scheme=theme)
    assert page.evaluate("document.documentElement.scrollWidth") <= 720
    wide = page.evaluate(
        "[...document.querySelectorAll('.plot')].filter((plot) =>"
        "plot.querySelector('.main-svg').clientWidth > plot.clientWidth + 12 ||"
        "plot.querySelector('.main-svg').clientHeight > plot.clientHeight + 1).length"
    )
    assert wide == 0
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    ink = page.locator(".xtick text").first.evaluate("node => getComputedStyle(node).fill")
    assert ink == "rgb(89, 97, 111)"
