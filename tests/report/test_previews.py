"""Which decoded images stand beside which original."""

from __future__ import annotations

from dataclasses import replace

import pytest
from made_up import write_previews

from tcc.report import previews as room
from tcc.report.previews import previews
from tcc.report.study import read_study
from tcc.stores import open_store


@pytest.fixture
def strips(make_store):
    store = make_store((0, 1), failing=True)
    return previews(list(read_study("made_up", store).records), store)


def test_one_strip_an_image_from_original_to_scalable(strips):
    (strip,) = strips
    assert (strip.title, strip.key) == ("depth → reconstruction on scenes, val", "000000")
    titles = [picture.title for picture in strip.pictures]
    assert titles == ["original", "direct", "direct", "scalable", "scalable", "single layer"]


def test_a_base_that_decodes_images_is_called_a_base(make_records, tmp_path):
    def renamed(task):
        return "reconstruction" if task == "depth" else task

    store, records = open_store(tmp_path), []
    for record in make_records():
        if record.trial.kind == "base":
            write_previews(record.trial, store)
            trial = replace(record.trial, tasks=tuple(map(renamed, record.trial.tasks)))
            records.append(replace(record, trial=trial))
    (strip,) = previews(records, store)
    assert strip.title == "reconstruction on scenes, val"
    assert {picture.title for picture in strip.pictures} == {"original", "base"}


def test_arms_are_shown_at_one_base_and_with_their_cost(strips):
    captions = [picture.caption for picture in strips[0].pictures[1:5]]
    assert [caption.split(",")[0] for caption in captions] == ["λ_b = 1"] * 4  # 0.1 failed
    assert all(" dB at 0." in caption and caption.endswith(" bpp") for caption in captions)
    assert "λ_e = 0.6" in captions[-1]


def test_the_decoder_trained_with_the_base_stands_in_for_a_missing_direct_trial(make_store):
    store = make_store()
    records = [r for r in read_study("made_up", store).records if r.trial.kind != "direct"]
    titles = [picture.title for picture in previews(records, store)[0].pictures]
    assert titles[:3] == ["original", "direct, as published", "direct, as published"]


def test_the_page_does_not_fill_up_with_pictures(make_store, monkeypatch):
    store = make_store()
    monkeypatch.setattr(room, "MAX_BYTES", 100)
    assert previews(list(read_study("made_up", store).records), store) == ()


def test_no_previews_no_strips(make_store):
    store = make_store()
    for path in (store.directory / "trials").glob("*/previews/*/*.png"):
        path.unlink()
    assert previews(list(read_study("made_up", store).records), store) == ()
