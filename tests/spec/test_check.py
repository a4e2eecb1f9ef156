"""Every problem of a spec is listed, at its line, with what is allowed and the nearest name."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tcc.spec import load_spec

Write = Callable[[str], Path]
Problems = Callable[..., list[str]]

KINDS = "pretrain, base, enhancement, direct, standalone, single_layer, uncompressed, pixels"
OPTIONAL = "direct, standalone, single_layer, uncompressed, pixels"

FAULTY = """\
study: a b
stdy: x
data:
  scenes: {train: "256", vall: 3}
  gone: {type: voc, root: /nowhere/at/all}
  kodak: {type: imges}
  ok: {type: scenes, train: 16}
pairs:
  - {base: deph, enhancement: reconstruction, dataset: ok}
  - {base: depth, enhancement: depth, dataset: okk}
  - {base: depth, enhancment: segmentation, dataset: ok}
  - base: depth
    enhancement: segmentation
  - {base: depth, enhancement: segmentation, dataset: ok, grid: {lambda_e: []}}
grid:
  lambda_b: [0.1, -0.3]
  lambda_e: {reconstruction: [1, 1], depth: {log: [1, 0.1, 3]}}
  beta: [-1]
  seed:
    - 1
    - 1.5
  pairing: zipp
also:
  - direkt
  - standalone: {betaa: [0]}
  - base
model: {channels: [16, 24], latent: 0}
tasks: {depth: {model: smal}, depht: {}}
train:
  steps: many
  stps: 4
  bas: {steps: 4}
  base: {stepz: 4, lr: fast}
  flip: 1
evaluate:
  - {data: okk}
  - {split: tset, rate: code}
resources: {base: {gpu: 1.5}, bse: {cpu: 0}}
search: {policy: gird}
report: {anchor: {gamma: 0}}
wandb: {mode: of}
"""


def test_all_problems_of_a_spec_are_listed_with_their_lines(problems: Problems) -> None:
    found = problems(FAULTY)
    expected = [
        (1, "study: 'a b' cannot be a name"),
        (2, "stdy: unknown key 'stdy'"),
        (4, "data.scenes.train: is '256': it must be a valid integer"),
        (4, "data.scenes.vall: unknown key 'vall': there is classes, root"),
        (5, "data.gone.root: "),
        (6, "data.kodak.type: unknown data set 'imges'"),
        (9, "pairs[0].base: unknown task 'deph'"),
        (10, "pairs[1].dataset: unknown data set 'okk': there is scenes, gone, kodak, ok; did"),
        (10, "pairs[1].enhancement: 'depth' is the base task already"),
        (11, "pairs[2].enhancment: unknown key 'enhancment': there is base, dataset, enhancement"),
        (11, "pairs[2]: the key 'enhancement' is missing"),
        (12, "pairs[3]: on which data set? There is scenes, gone, kodak, ok"),
        (14, "pairs[4].grid.lambda_e: is empty"),
        (16, "grid.lambda_b[1]: is -0.3: it must be greater than 0"),
        (17, "grid.lambda_e.depth: {'log': [1, 0.1, 3]}: write {log: [low, high, count]}"),
        (17, "grid.lambda_e.reconstruction: 1.0 is there twice"),
        (18, "grid.beta[0]: is -1: it must be greater than or equal to 0"),
        (21, "grid.seed[1]: is 1.5: it must be a valid integer"),
        (22, "grid.pairing: unknown value 'zipp': there is product, zip; did you mean 'zip'?"),
        (24, f"also[0]: unknown optional trial kind 'direkt': there is {OPTIONAL}; did you mean"),
        (25, "also[1].standalone.betaa: unknown value 'betaa': there is lambda_b, lambda_e, beta"),
        (26, f"also[2]: unknown optional trial kind 'base': there is {OPTIONAL}"),
        (27, "model.channels: is [16, 24]: it must have more values"),
        (27, "model.latent: is 0: it must be greater than or equal to 1"),
        (28, "tasks.depht: unknown task 'depht'"),
        (28, "tasks.depth.model: unknown value 'smal'"),
        (30, "train.steps: is 'many': it must be a valid integer"),
        (31, "train.stps: unknown key 'stps': there is accumulate, batch, clip, crop, decay"),
        (32, "train.bas: unknown trial kind or task 'bas': there is pretrain, base, "),
        (33, "train.base.lr: is 'fast': it must be a valid number"),
        (33, "train.base.stepz: unknown key 'stepz'"),
        (34, "train.flip: is 1: it must be a valid boolean"),
        (36, "evaluate[0].data: unknown data set 'okk'"),
        (37, "evaluate[1].rate: unknown value 'code'"),
        (37, "evaluate[1].split: unknown value 'tset'"),
        (38, "resources.base.gpu: 1.5: a share of one GPU, or a whole number of them"),
        (38, "resources.bse.cpu: is 0: it must be greater than 0"),
        (38, f"resources.bse: unknown trial kind or task 'bse': there is default, {KINDS}, "),
        (39, "search.policy: unknown search policy 'gird': there is grid"),
        (40, "report.anchor.gamma: unknown value 'gamma'"),
        (41, "wandb.mode: unknown value 'of'"),
    ]
    assert [int(line.split(":")[0]) for line in found] == [line for line, _ in expected]
    for line, (number, words) in zip(found, expected, strict=True):
        assert line.startswith(f"{number}: {words}")


def test_nearest_names_are_suggested(problems: Problems) -> None:
    nearest = [line.split("did you mean ")[1] for line in problems(FAULTY) if "did you" in line]
    assert {"'study'?", "'images'?", "'depth'?", "'enhancement'?", "'steps'?"} <= set(nearest)


def test_a_valid_spec_is_valid(write: Write, good: str) -> None:
    spec = load_spec(write(good))
    assert (spec.study, spec.method) == ("some", "ttcc")
    assert spec.data["scenes"].info.splits["train"] == 12
    assert spec.pairs[0].dataset == "scenes"


@pytest.mark.parametrize("key", ["study", "data", "pairs"])
def test_what_every_study_needs(key: str, good: str, problems: Problems) -> None:
    sections = good.split("\n")
    starts = [i for i, line in enumerate(sections) if line and not line.startswith(" ")]
    start = next(i for i in starts if sections[i].startswith(f"{key}:"))
    end = next((i for i in starts if i > start), len(sections))
    text = "\n".join(sections[:start] + sections[end:])
    assert f"1: the key {key!r} is missing" in problems(text)


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("study: some", "study: 5", "1: study: is 5: it must be a valid string"),
        ("study: some", "study: some\nmethod: ttc",
         "2: method: unknown method 'ttc': there is ttcc; did you mean 'ttcc'?"),
        ("data:\n  scenes: {train: 16, val: 4, select: 4}", "data: {}", "2: data: is empty"),
        ("data:\n  scenes: {train: 16, val: 4, select: 4}", "data: [scenes]",
         "2: data: is ['scenes']: it must be a mapping"),
        ("  - {base: depth, enhancement: reconstruction}", "  []", "4: pairs: is empty"),
        ("  - {base: depth, enhancement: reconstruction}", "  {all: scenes, x: 1}",
         "4: pairs: {'all': 'scenes', 'x': 1}: write a list of pairs, `all`, or {all: data set}"),
        ("  - {base: depth, enhancement: reconstruction}", "  - depth",
         "5: pairs[0]: is 'depth': it must be a mapping"),
        ("  lambda_e: [0.1, 1]\n", "",
         "6: grid.lambda_e: there are no values for the task 'reconstruction'"),
        ("lambda_e: [0.1, 1]", "lambda_e: {segmentation: [1]}",
         "8: grid.lambda_e: there are no values for the task 'reconstruction'"),
        ("lambda_b: [0.1, 1]", "lambda_b: []", "7: grid.lambda_b: is empty"),
        ("lambda_b: [0.1, 1]", "lambda_b: {depth: []}", "7: grid.lambda_b.depth: is empty"),
        ("lambda_b: [0.1, 1]", "lambda_b: {}", "7: grid.lambda_b: is empty"),
        ("beta: [0, 0.1]", "enhance_at: {lambda_b: [0.1, 0.2]}",
         "9: grid.enhance_at.lambda_b: 0.2 is no lambda_b of depth → reconstruction: "
         "there is 0.1, 1"),
        ("lambda_e: [0.1, 1]", "lambda_e: [1]\n  pairing: zip",
         "9: grid.pairing: zip needs as many λ_e as λ_b: depth → reconstruction has "
         "2 lambda_b and 1 lambda_e"),
        ("beta: [0, 0.1]", "beta: [0, 0.1]\nalso: [direct, direct]",
         "10: also[1]: 'direct' is there twice"),
        ("beta: [0, 0.1]", "beta: [0, 0.1]\nalso:\n  - standalone:\n      beta: [0.2]",
         "12: also[0].standalone.beta: no trial has beta 0.2: there is 0, 0.1"),
        ("beta: [0, 0.1]", "beta: [0, 0.1]\nalso: [{pixels: {beta: 0}}]",
         "10: also[0].pixels.beta: no trial has beta 0: it has no beta"),
        ("beta: [0, 0.1]", "beta: [0, 0.1]\nalso: [[direct]]",
         "10: also[0]: ['direct']: write a trial kind, or {kind: {axis: [values]}}"),
        ("beta: [0, 0.1]", "beta: [0, 0.1]\nevaluate: []", "10: evaluate: is empty"),
        ("beta: [0, 0.1]", "beta: [0, 0.1]\ntrain: {base: {warm_start: none}}",
         "10: train.base.warm_start: unknown key 'warm_start': there is "),
        ("scenes: {train: 16, val: 4, select: 4}", "scenes: {size: 5}",
         "3: data.scenes.size: sides of 32 to 2048 pixels"),
    ],
)  # fmt: skip
def test_one_problem_each(old: str, new: str, expected: str, good: str, problems: Problems) -> None:
    assert old in good
    text = good.replace(old, new)
    (found,) = problems(text)
    assert found.startswith(expected)


def test_a_root_that_is_not_there_is_a_problem_at_its_line(good: str, problems: Problems) -> None:
    text = good.replace("data:\n", "data:\n  photos:\n    type: voc\n    root: /nowhere/at/all\n")
    text = text.replace("base: depth", "dataset: scenes, base: depth")
    (found,) = problems(text)
    assert found.startswith("5: data.photos.root: /nowhere/at/all: ")


def test_a_voc_root_is_found_through_the_environment(
    good: str, problems: Problems, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TCC_SOME_ROOT", "/nowhere/else")
    text = good.replace(
        "data:\n", "data:\n  photos: {type: voc, root: '${oc.env:TCC_SOME_ROOT}'}\n"
    )
    text = text.replace("base: depth", "dataset: scenes, base: depth")
    (found,) = problems(text)
    assert found.startswith("3: data.photos.root: /nowhere/else: ")


@pytest.mark.parametrize(
    ("value", "path", "message"),
    [
        ("-1", "", "is -1: it must be greater than 0"),
        ("x", "", "is 'x': it must be a valid number"),
        ("{depth: -1}", ".depth", "is -1: it must be greater than 0"),
    ],
)
def test_a_value_of_several_types_has_one_problem(
    value: str, path: str, message: str, good: str, problems: Problems
) -> None:
    assert problems(good, f"model.pretrain_lambda={value}") == [
        f"command line: model.pretrain_lambda{path}: {message}"
    ]


@pytest.mark.parametrize(
    ("override", "found"),
    [("train.own=1", "train.own: is 1: it must be a mapping"),
     ("train.own={steps: 3}", "train.own: unknown trial kind or task 'own'"),
     ("data.scenes.params=1", "data.scenes.params: unknown key 'params'")],
)  # fmt: skip
def test_the_names_of_what_gathers_keys_are_no_keys(
    override: str, found: str, good: str, problems: Problems
) -> None:
    (problem,) = problems(good, override)
    assert problem.startswith(f"command line: {found}")


def test_a_rounded_value_finds_its_place_in_a_log_spaced_grid(write: Write, good: str) -> None:
    from tcc.spec import pair_grid

    spec = load_spec(
        write(good), ["grid.lambda_b={log: [0.1, 3, 4]}", "grid.enhance_at={lambda_b: 0.310723}"]
    )
    grid = pair_grid(spec, spec.pairs[0])
    assert grid.enhance_at is not None
    assert set(grid.enhance_at) <= set(grid.lambda_b)
