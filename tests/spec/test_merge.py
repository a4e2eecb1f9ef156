"""Overrides and interpolation: what they set, and where their problems are."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tcc.spec import load_spec

Write = Callable[[str], Path]
Problems = Callable[..., list[str]]


def test_an_override_sets_a_value(write: Write, good: str) -> None:
    spec = load_spec(
        write(good),
        ["train.steps=7", "grid.beta=[0, 1e-2]", "pairs[0].enhancement=segmentation",
         "pairs.0.grid.pairing=zip", "report.notice=a = b", "train.base={steps: 3}"],
    )  # fmt: skip
    assert spec.train.steps == 7
    assert spec.grid.beta == (0.0, 0.01)
    assert spec.pairs[0].enhancement == "segmentation"
    assert spec.pairs[0].grid.pairing == "zip"
    assert spec.report.notice == "a = b"
    assert spec.train.recipe("base").steps == 3


def test_an_override_replaces_and_does_not_mix(write: Write, good: str) -> None:
    text = good.replace("lambda_b: [0.1, 1]", "lambda_b: {depth: [1]}")
    spec = load_spec(write(text), ["grid.lambda_b={log: [1, 100, 3]}"])
    assert spec.grid.lambda_b == (1.0, 10.0, 100.0)


def test_the_last_override_wins(write: Write, good: str) -> None:
    assert load_spec(write(good), ["train.steps=7", "train.steps=9"]).train.steps == 9


@pytest.mark.parametrize("override", ["train.steps", "=3", "train.=3", "train..steps=3", ""])
def test_an_override_is_key_and_value(override: str, good: str, problems: Problems) -> None:
    (found,) = problems(good, override)
    assert found.startswith(f"command line: override {override!r}: write key=value")


@pytest.mark.parametrize(
    "override", ["grid.beta=[0", "grid.beta.7=1", "grid.beta.x=1", "study=${a", "x={a: 1, a: 2}"]
)
def test_an_override_that_cannot_be_applied(override: str, good: str, problems: Problems) -> None:
    (found,) = problems(good, override)
    assert found.startswith(f"command line: override {override!r}: ")


def test_problems_of_overridden_values_are_the_command_lines(good: str, problems: Problems) -> None:
    assert problems(good, "train.steps=0", "grid.beta=[0, -1]", "grid.sed=[1]") == [
        "command line: grid.beta[1]: is -1: it must be greater than or equal to 0",
        "command line: grid.sed: unknown key 'sed': there is beta, beta_mode, enhance_at, "
        "lambda_b, lambda_e, pairing, seed; did you mean 'seed'?",
        "command line: train.steps: is 0: it must be greater than or equal to 1",
    ]


def test_the_rest_of_an_overridden_section_keeps_its_lines(good: str, problems: Problems) -> None:
    text = good.replace("lambda_e: [0.1, 1]", "lambda_e: [0]")
    assert problems(text, "grid.beta=-1") == [
        "8: grid.lambda_e[0]: is 0: it must be greater than 0",
        "command line: grid.beta: is -1: it must be greater than or equal to 0",
    ]


def test_interpolation(write: Write, good: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TCC_SOME_STUDY", "from_env")
    text = good.replace("study: some", "study: ${oc.env:TCC_SOME_STUDY}")
    text = text.replace("lambda_e: [0.1, 1]", "lambda_e: ${grid.lambda_b}")
    text += "report: {notice: '${study} and ${oc.env:TCC_NOT_SET,nothing}'}\n"
    spec = load_spec(write(text))
    assert spec.study == "from_env"
    assert spec.grid.lambda_e == (0.1, 1.0)
    assert spec.report.notice == "from_env and nothing"


def test_each_interpolation_that_fails_is_a_problem(good: str, problems: Problems) -> None:
    text = good.replace("beta: [0, 0.1]", "beta: [0, '${nowhere}', '${oc.env:TCC_NOT_SET}']")
    text += "method: ${nope:1}\nreport: {notice: '${open'}\n"
    found = problems(text)
    assert [line.split(": ")[:2] for line in found] == [
        ["9", "grid.beta[1]"],
        ["9", "grid.beta[2]"],
        ["10", "method"],
        ["11", "report.notice"],
    ]
    assert "'TCC_NOT_SET' is not set: set it, or write ${oc.env:TCC_NOT_SET,default}" in found[1]
    assert "'${open' is no interpolation" in found[3]


def test_a_failed_interpolation_has_no_second_problem(good: str, problems: Problems) -> None:
    text = good.replace("base: depth", "base: '${oc.env:TCC_NOT_SET}'")
    text = text.replace("scenes: {train: 16", "scenes: {root: '${oc.env:TCC_NOT_SET}', train: 16")
    text = text.replace("beta: [0, 0.1]", "beta: ['${oc.env:TCC_NOT_SET}']")
    found = problems(text)
    assert [line.split(": ")[1] for line in found] == [
        "data.scenes.root",
        "pairs[0].base",
        "grid.beta[0]",
    ]
