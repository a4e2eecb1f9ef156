"""`tcc extend` on a made-up study: what it proposes closes the gaps, and costs what is said."""

from __future__ import annotations

import json
import subprocess
import sys
from itertools import pairwise

import pytest
import yaml
from made_up import STUDY, checkpoint_of, fabricate

from tcc.plan import expand, ledger
from tcc.search._extend import NEAR, _pairs, extend, extension_json, extension_text
from tcc.spec import parse_spec, resolved_yaml

SEEDS = (0, 1, 2)
SPEC = STUDY.replace("beta: [0, 0.1]}", f"beta: [0, 0.1], seed: {list(SEEDS)}}}")


def fill_up(store, trials):
    for trial in trials:
        folder = store.directory / "trials" / trial.id
        folder.mkdir(parents=True)
        (folder / "checkpoint.safetensors").write_bytes(checkpoint_of(trial.id))
        store.commit(fabricate(trial))


def lacking(found):
    """What is refused or cautious for lack of points or overlap."""
    return [
        reason
        for gap in found.gaps
        for reason in gap.comparison.summary.reasons
        if "at least 4" in reason or "overlap" in reason
    ]


def test_what_is_proposed_closes_the_gaps(make_store):
    store, spec = make_store(SEEDS), parse_spec(SPEC)
    found = extend(spec, store)
    assert any("at least 4" in reason for reason in lacking(found))
    assert any("overlap" in reason for reason in lacking(found))
    before = {trial.id for trial in expand(spec)}
    assert before.isdisjoint(trial.id for trial in found.added)
    assert {trial.id for trial in expand(found.spec)} == before | {it.id for it in found.added}
    assert {trial.kind for trial in found.added} == {"base", "direct"}  # no enhancement is needed
    assert {trial.seed for trial in found.added} == set(SEEDS)
    for pair in found.pairs:  # what base and direct curves lack is one λ where it is nearly one
        lambdas = sorted(pair.grid.lambda_b)
        assert all(high / low > NEAR for low, high in pairwise(lambdas))
    fill_up(store, found.added)
    again = extend(found.spec, store)
    assert not any("at least 4" in reason for reason in lacking(again))
    assert not any("not done" in line for gap in again.gaps for line in gap.advice)
    # new bases for the direct curves are on the bases' own curves, too, and that is said
    assert {gap.comparison.test.family for gap in again.gaps if gap.proposals} <= {"base"}
    assert any("whose overlap may fall" in line for gap in found.gaps for line in gap.advice)


def test_it_costs_what_like_trials_took(make_store):
    found = extend(parse_spec(SPEC), make_store(SEEDS))
    assert found.to_do == len(found.added) > 0
    assert (found.unknown, found.gpu_hours) == (0, 0)
    each_s = found.cpu_hours * 3600 / found.to_do
    assert each_s == pytest.approx(0.2 + 11 + 1.5, rel=0.3)  # made_up's timings


def test_what_is_printed_can_be_added_to_the_spec(make_store):
    found = extend(parse_spec(SPEC), make_store(SEEDS))
    content = extension_json(found)
    assert json.loads(json.dumps(content, allow_nan=False)) == content
    longer = yaml.safe_load(SPEC)
    longer["pairs"] += content["pairs"]
    planned = expand(parse_spec(yaml.safe_dump(longer)))
    assert {trial.id for trial in planned} == {trial.id for trial in expand(found.spec)}
    assert resolved_yaml(parse_spec(resolved_yaml(found.spec))) == resolved_yaml(found.spec)
    text = extension_text(found)
    for note in {note for gap in found.gaps for note in gap.advice}:
        assert text.count(note) == 1
    assert yaml.safe_load(
        text[text.index("pairs:") : text.rindex("\n", 0, text.index("more trials"))]
    )
    assert f"{found.to_do} of them to be done" in text


def test_a_base_of_lambda_1_is_not_taken_for_all_bases(make_store):
    spec = parse_spec(
        SPEC.replace("lambda_e: [0.02, 0.06, 0.2, 0.6]", "lambda_e: [0.06, 0.2, 0.6]")
    )
    found = extend(spec, make_store(SEEDS))
    bases = {trial.axes["lambda_b"] for trial in expand(spec) if trial.kind == "base"}
    new = [trial for trial in found.added if trial.kind == "enhancement"]
    assert {trial.axes["lambda_b"] for trial in new} == bases
    assert not {trial.axes["lambda_e"] for trial in new} & {0.06, 0.2, 0.6}


def test_a_study_without_results_asks_to_be_run(make_store):
    store = make_store(SEEDS)
    spec = parse_spec(SPEC.replace("lambda_b: [0.1, 0.3, 1]", "lambda_b: [0.1, 0.3, 1, 3]"))
    found = extend(spec, store)
    assert {state.state for state in ledger(expand(spec), store).values()} >= {"new", "cached"}
    bases = [gap for gap in found.gaps if gap.comparison.test.family == "base"]
    assert all("`tcc run` first, or `tcc retry`" in " ".join(gap.advice) for gap in bases)
    assert not any(gap.proposals for gap in bases)


def test_without_a_comparison_nothing_is_called_ok(make_store, tmp_path):
    store = make_store(SEEDS)
    for text, told in (
        (SPEC.replace("beta: [0, 0.1]", "beta: [0]"), "nothing to compare with the baseline (beta"),
        (SPEC.replace("steps: 400", "steps: 401"), "`tcc run` first"),  # no result yet
        (SPEC.replace("report: {", "report: {refuse: a toy, "), "report.refuse holds for all"),
    ):
        found = extend(parse_spec(text), store)
        assert (found.gaps, found.pairs, found.to_do) == ((), (), 0)
        assert told in extension_text(found)
        assert " ok" not in extension_text(found)


def test_bases_of_another_pair_are_not_waited_for(make_store):
    """A direct curve lacks only what is planned of itself."""
    store, spec = make_store(SEEDS), parse_spec(SPEC)
    longer = yaml.safe_load(SPEC)
    grid = {"lambda_b": [0.1, 0.2], "enhance_at": {"lambda_b": [0.1]}}
    longer["pairs"].append({"base": "depth", "enhancement": "reconstruction", "grid": grid})
    planned = parse_spec(yaml.safe_dump(longer))
    before = {trial.id for trial in expand(spec)}
    fill_up(store, [trial for trial in expand(planned) if trial.id not in before])
    found = extend(planned, store)
    assert found.gaps
    assert not any("not done" in line for gap in found.gaps for line in gap.advice)


def test_direct_trials_that_the_spec_leaves_out_are_not_proposed(make_store):
    spec = parse_spec(SPEC.replace("also: [direct,", "also: [direct: {lambda_b: [0.3]},"))
    found = extend(spec, make_store(SEEDS))
    direct = [gap for gap in found.gaps if gap.comparison.test.family == "direct"]
    assert direct
    for gap in direct:
        assert gap.proposals == ()
        assert any("direct trials at lambda_b 0.3 alone" in line for line in gap.advice)


def test_a_base_that_is_there_is_not_added_twice(make_store):
    """Where the one point of a curve is a later λ_b, an earlier one may be proposed."""
    text = SPEC.replace("lambda_b: [0.1, 0.3, 1]", "lambda_b: [0.3]")
    spec, store = parse_spec(text), make_store(SEEDS)
    found = extend(spec, store)
    new = {
        x for gap in found.gaps for it in gap.proposals for axes in it.axes for x in axes.values()
    }
    assert 0.1 in new
    spec = parse_spec(text.replace("lambda_b: [0.3]", "lambda_b: [0.1, 0.3]"))
    proposal = next(it for gap in found.gaps for it in gap.proposals if it.key.family == "base")
    (pair,) = _pairs(spec, [proposal])
    assert len(set(pair.grid.lambda_b)) == len(pair.grid.lambda_b)


@pytest.mark.parametrize(
    ("lambda_b", "lambda_e"), [("[0.3]", "[0.06]"), ("[0.1, 1]", "[0.6, 0.06]")]
)
def test_a_zipped_study_is_extended_by_the_points_that_are_told(make_store, lambda_b, lambda_e):
    text = SPEC.replace("lambda_b: [0.1, 0.3, 1]", f"lambda_b: {lambda_b}, pairing: zip")
    text = text.replace("lambda_e: [0.02, 0.06, 0.2, 0.6]", f"lambda_e: {lambda_e}")
    text = text.replace("standalone: {lambda_b: [0.3]}", "standalone")
    spec, store = parse_spec(text), make_store(SEEDS)
    have = {trial.id for trial in expand(spec)} & store.result_ids()
    fill_up(store, [trial for trial in expand(spec) if trial.id not in have])
    found = extend(spec, store)
    told = {
        (*it.key.tasks, it.key.fixed["beta"], axes.get("lambda_b", 0.3), axes["lambda_e"])
        for gap in found.gaps
        for it in gap.proposals
        for axes in it.axes
        if "lambda_e" in axes
    }
    planned = {
        (*trial.tasks, *(trial.axes[axis] for axis in ("beta", "lambda_b", "lambda_e")))
        for trial in found.added
        if trial.kind == "enhancement"
    }
    assert planned
    assert planned <= told
    assert resolved_yaml(parse_spec(resolved_yaml(found.spec))) == resolved_yaml(found.spec)


def test_the_verb_prints_json_and_writes_nothing(make_store, tmp_path):
    store = make_store(SEEDS)
    (tmp_path / "sweep.yaml").write_text(SPEC)
    before = {path: path.stat().st_mtime_ns for path in store.directory.rglob("*")}
    command = [sys.executable, "-m", "tcc", "extend", "sweep.yaml", "--json"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, timeout=60)
    assert done.returncode == 0, done.stderr
    content = json.loads(done.stdout)
    assert content["study"] == "made_up"
    assert content["to_do"] == sum(content["trials"].values())
    assert {path: path.stat().st_mtime_ns for path in store.directory.rglob("*")} == before
