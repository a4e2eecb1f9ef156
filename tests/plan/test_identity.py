"""Ids: what changes them, and what must not."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import fields, replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tcc import registry
from tcc.plan import evaluation_id, trial_id
from tcc.plan.identity import canonical_json
from tcc.records import DatasetUse, Plan, PluginUse, TrainRecipe, TrialSpec

Planned = Callable[..., Plan]

NUMBERS = st.integers(-(2**60), 2**60) | st.floats(allow_nan=False, allow_infinity=False)
JSON = st.recursive(
    st.none() | st.booleans() | NUMBERS | st.text(max_size=4),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=4)
    ),
    max_leaves=10,
)


def shuffled(value: Any) -> Any:
    """The same value, its keys the other way round and its whole floats as integers."""
    if isinstance(value, dict):
        return {key: shuffled(item) for key, item in reversed(value.items())}
    if isinstance(value, list):
        return tuple(shuffled(item) for item in value)
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**53:
        return int(value)
    return value


@given(JSON)
def test_equal_values_have_one_text(value: Any) -> None:
    text = canonical_json(value)
    assert canonical_json(shuffled(value)) == text
    assert canonical_json(json.loads(text)) == text


@given(NUMBERS, NUMBERS)
def test_numbers_share_a_text_only_if_they_are_equal(a: float, b: float) -> None:
    same = canonical_json(a) == canonical_json(b)
    assert same == (a == b) or max(abs(a), abs(b)) >= 2**53


def test_canonical_numbers() -> None:
    assert canonical_json([1, 1.0, -0.0, 0.1, 1e-7, True]) == "[1,1,0,0.1,1e-07,true]"
    assert canonical_json({"b": (1,), "a": None}) == '{"a":null,"b":[1]}'


@pytest.mark.parametrize("value", [math.nan, [math.inf], {"a": -math.inf}])
def test_numbers_are_finite(value: Any) -> None:
    with pytest.raises(ValueError, match="not a finite number"):
        canonical_json(value)


@pytest.mark.parametrize("value", [{1: 2}, {1, 2}, b"x", object()])
def test_what_is_not_json(value: Any) -> None:
    with pytest.raises(TypeError):
        canonical_json(value)


@pytest.fixture
def ids(planned: Planned) -> Callable[..., set[str]]:
    """The ids of a changed study."""
    return lambda changes=None: {trial.id for trial in planned(changes=changes)}


@pytest.mark.parametrize(
    "changes",
    [
        {"study: some": "# another comment\nstudy: other"},
        {"lambda_b: [0.1, 1]\n  lambda_e: [0.1, 1, 10]":
         "lambda_e: [10, 1, 0.1]\n  lambda_b: [1, 0.1]"},
        {"lambda_b: [0.1, 1]": "lambda_b: [0.10, 1.0]"},
        {"lambda_b: [0.1, 1]": "lambda_b: {depth: [0.1, 1], detection: [7]}"},
        {"data: {scenes: {": "data: {mine: {type: scenes, "},
        {"train: 16, val: 4": "root: /some/where/else, val: 4, train: 16"},
        {"train: {steps: 20": "resources: {base: {gpu: 0.5}}\ntrain: {steps: 20"},
        {"train: {steps: 20": "report: {notice: no}\nwandb: {project: x}\ntrain: {steps: 20"},
        {"train: {steps: 20": "train: {select_every: 2, steps: 20"},
        {"train: {steps: 20": "train: {steps: 99, " + ", ".join(
            f"{kind}: {{steps: 20}}" for kind in registry.load("methods", "ttcc").kinds)},
        {"train: {steps: 20": "evaluate: [{split: train}]\ntrain: {steps: 20"},
        {"train: {steps: 20": "tasks: {depth: {model: small}}\ntrain: {steps: 20"},
    ],
)  # fmt: skip
def test_what_cannot_change_the_weights_changes_no_id(
    changes: dict[str, str], ids: Callable[..., set[str]]
) -> None:
    assert ids(changes) == ids()


@pytest.mark.parametrize(
    "changes",
    [
        {"lambda_b: [0.1, 1]": "lambda_b: [0.01, 0.1, 1]"},
        {"lambda_e: [0.1, 1, 10]": "lambda_e: [0.1, 1, 10, 100]"},
        {"beta: [0, 0.1]": "beta: [0, 0.1, 0.5]"},
        {"beta: [0, 0.1]": "beta: [0, 0.1]\n  seed: [0, 1]"},
        {"grid:\n": "  - {base: reconstruction, enhancement: depth}\ngrid:\n"},
        {"data: {scenes": "data: {more: {type: scenes}, scenes",
         "pairs:\n": "pairs:\n  - {base: depth, enhancement: reconstruction, dataset: more}\n",
         "reconstruction}\n  - {base: depth, enhancement: segmentation}":
         "reconstruction, dataset: scenes}\n"
         "  - {base: depth, enhancement: segmentation, dataset: scenes}"},
    ],
)  # fmt: skip
def test_more_of_anything_keeps_the_ids_that_were_there(
    changes: dict[str, str], ids: Callable[..., set[str]]
) -> None:
    assert ids() < ids(changes)


@pytest.mark.parametrize(
    "changes",
    [
        {"beta: [0, 0.1]": "beta: [0, 0.1]\n  seed: [1]"},
        {"train: 16": "train: 18"},
        {"train: 16": "seed: 1, train: 16"},
        {"select: 4": "select: 5"},
        {"train: {steps: 20": "train: {lr: 0.002, steps: 20"},
        {"train: {steps: 20": "train: {threads: 2, steps: 20"},
        {"train: {steps: 20": "train: {accumulate: 2, steps: 20"},
        {"train: {steps: 20": "train: {devices: 2, steps: 20"},
        {"train: {steps: 20": "train: {warmup: 0.1, steps: 20"},
        {"train: {steps: 20": "train: {deterministic: true, steps: 20"},
        {"train: {steps: 20": "train: {scale: 1/2, steps: 20"},
        {"train: {steps: 20": "train: {steps: 21"},
    ],
)
def test_what_shapes_all_weights_changes_all_ids(
    changes: dict[str, str], ids: Callable[..., set[str]]
) -> None:
    assert ids().isdisjoint(ids(changes))


def test_what_shapes_some_weights_changes_their_ids_and_their_childrens(planned: Planned) -> None:
    def changed(changes: dict[str, str]) -> set[str]:
        before = {trial.id for trial in planned()}
        return {trial.kind for trial in planned(changes=changes) if trial.id not in before}

    steps = "train: {steps: 20"
    assert changed({steps: f"{steps}, pixels: {{steps: 9}}"}) == {"pixels"}
    assert changed({steps: f"{steps}, enhancement: {{lr: 1}}"}) == {"enhancement", "standalone"}
    assert changed({steps: f"{steps}, base: {{lr: 1}}"}) == {
        "base", "enhancement", "direct", "standalone"
    }  # fmt: skip
    assert changed({"latent: 4": "latent: 4, side: {blocks: 1}"}) >= {"enhancement"}
    assert changed({"beta: [0, 0.1]": "beta: [0, 0.1]\n  beta_mode: relative"}) >= {"base"}
    assert changed({"warm_start: pretrain": "warm_start: none"}) == {
        "enhancement", "single_layer", "standalone"
    }  # fmt: skip


def test_each_field_of_the_training_recipe_is_in_the_id(planned: Planned) -> None:
    trial = planned().trials[0]
    for item in fields(TrainRecipe):
        value = getattr(trial.recipe.train, item.name)
        other = {"bf16": "fp32", "fp32": "bf16"}.get(value) if isinstance(value, str) else value + 1
        train = replace(trial.recipe.train, **{item.name: other})
        assert trial_id(replace(trial, recipe=replace(trial.recipe, train=train))) != trial.id


def versions(trial: TrialSpec) -> list[TrialSpec]:
    """The trial with each of the versions that it uses raised."""
    recipe = trial.recipe

    def raised(use: Any) -> Any:
        return replace(use, version=use.version + 1)

    return [
        replace(trial, recipe=changed)
        for changed in (
            replace(recipe, method=raised(recipe.method)),
            replace(recipe, tasks=(raised(recipe.tasks[0]), *recipe.tasks[1:])),
            replace(recipe, datasets=(raised(recipe.datasets[0]),)),
            replace(recipe, loop_version=recipe.loop_version + 1),
        )
    ]


def test_each_version_is_in_the_id(planned: Planned) -> None:
    trial = next(trial for trial in planned() if trial.kind == "base")
    found = {trial_id(changed) for changed in versions(trial)}
    assert len(found | {trial.id}) == 5


def test_the_fingerprint_stands_for_the_path(planned: Planned) -> None:
    trial = planned().trials[0]
    use = trial.recipe.datasets[0]

    def with_data(changed: DatasetUse) -> str:
        return trial_id(replace(trial, recipe=replace(trial.recipe, datasets=(changed,))))

    moved = replace(use, name="mine", params={**use.params, "root": "/other"})
    assert with_data(moved) == trial.id
    assert with_data(replace(use, fingerprint="other")) != trial.id


def test_names_of_uses_are_not_in_the_id(planned: Planned) -> None:
    trial = planned().trials[0]
    method = trial.recipe.method
    named = PluginUse(
        name="other", plugin=method.plugin, version=method.version, params=method.params
    )
    assert trial_id(replace(trial, recipe=replace(trial.recipe, method=named))) == trial.id


def test_an_id_is_that_of_its_trial(planned: Planned) -> None:
    for trial in planned():
        assert trial_id(trial) == trial_id(replace(trial, id="", label="x")) == trial.id
        for evaluation in trial.evaluations:
            assert evaluation_id(trial.id, evaluation) == evaluation.id


def test_each_part_of_an_evaluation_is_in_its_id(planned: Planned) -> None:
    trial = planned().trials[0]
    evaluation = trial.evaluations[0]
    others = [
        evaluation_id("another", evaluation),
        evaluation_id(trial.id, replace(evaluation, split="train")),
        evaluation_id(trial.id, replace(evaluation, rate="coded")),
        evaluation_id(trial.id, replace(evaluation, metrics=())),
        evaluation_id(
            trial.id, replace(evaluation, dataset=replace(evaluation.dataset, fingerprint="x"))
        ),
    ]
    assert len({*others, evaluation.id}) == 6
    moved = replace(evaluation.dataset, params={**evaluation.dataset.params, "root": "/x"})
    assert evaluation_id(trial.id, replace(evaluation, dataset=moved)) == evaluation.id
