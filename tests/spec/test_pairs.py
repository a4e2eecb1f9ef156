"""Task pairs: `all` written out, what it leaves out, and what a pair must have."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import permutations
from pathlib import Path

import pytest
from PIL import Image

from tcc import registry
from tcc.errors import SpecError
from tcc.spec import load_spec, pair_grid, parse_spec, resolved_yaml

Write = Callable[[str], Path]
Problems = Callable[..., list[str]]


def test_a_pair_needs_the_labels_of_its_tasks(
    good: str, problems: Problems, tmp_path: Path
) -> None:
    from PIL import Image

    for index in range(4):
        Image.new("RGB", (8, 8)).save(tmp_path / f"{index}.png")
    text = good.replace("base: depth", "dataset: photos, base: depth")
    text = text.replace("data:\n", f"data:\n  photos: {{type: images, root: {tmp_path}}}\n")
    (found,) = problems(text)
    assert found.startswith(
        "6: pairs[0].base: the task 'depth' cannot use the data set 'photos': "
        "it has no labels 'disparity', only image"
    )


def served(labels: tuple[str, ...]) -> set[str]:
    """The tasks that these labels, and the image itself, are enough for."""
    tasks = {name: registry.load("tasks", name).label for name in registry.names("tasks")}
    return {name for name, label in tasks.items() if label in ("image", *labels)}


@pytest.mark.parametrize("pairs", ["all", "{all: scenes}", "[{all: scenes}]"])
def test_all_pairs(pairs: str, write: Write, good: str) -> None:
    head, grid = good.split("pairs:")[0], "grid:" + good.split("grid:")[1]
    spec = load_spec(write(f"{head}pairs: {pairs}\n{grid}"))
    tasks = served(spec.data["scenes"].info.labels)
    found = [(pair.base, pair.enhancement) for pair in spec.pairs]
    assert sorted(found) == sorted(permutations(tasks, 2))
    assert ("depth", "reconstruction") in found


def test_all_tasks_on_one_side(write: Write, good: str) -> None:
    spec = load_spec(write(good), ["pairs.0.enhancement=all"])
    assert {pair.base for pair in spec.pairs} == {"depth"}
    tasks = served(spec.data["scenes"].info.labels)
    assert {pair.enhancement for pair in spec.pairs} == tasks - {"depth"}


def test_all_pairs_beside_others_and_with_a_grid(write: Write, good: str) -> None:
    text = good.replace("data:\n", "data:\n  more: {type: scenes}\n").replace(
        "  - {base: depth, enhancement: reconstruction}",
        "  - {all: more, grid: {beta: 7}}\n"
        "  - {base: depth, enhancement: reconstruction, dataset: scenes}",
    )
    spec = load_spec(write(text))
    assert [pair.dataset for pair in spec.pairs].count("scenes") == 1
    assert {pair.grid.beta for pair in spec.pairs if pair.dataset == "more"} == {(7.0,)}


def test_what_all_pairs_leave_out_is_told_with_the_reason(
    write: Write, good: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    pairs = "pairs:\n  - {base: depth, enhancement: reconstruction}"
    info = replace(
        load_spec(write(good)).data["scenes"].info,
        labels=("label_ids",),
        absent={"disparity": "x/disparity: there is no such folder"},
    )
    monkeypatch.setattr(type(registry.load("datasets", "scenes")), "describe", lambda *_: info)
    spec = load_spec(write(good.replace(pairs, "pairs: all")))
    left_out = set(registry.names("tasks")) - served(("label_ids",))
    assert {line.split(" on scenes: ")[0] for line in spec.left_out} == left_out
    assert len(spec.left_out) == len(left_out)
    assert parse_spec(resolved_yaml(spec)) == spec  # which are no part of a spec
    assert (
        "depth on scenes: it has no labels 'disparity', only image, label_ids; "
        "x/disparity: there is no such folder" in spec.left_out
    )
    named = good.replace("base: depth", "base: segmentation")
    assert load_spec(write(named)).left_out == ()
    with pytest.raises(SpecError, match="only image, label_ids; x/disparity: there is no such"):
        load_spec(write(good))


def test_all_tasks_without_lambdas_are_listed_at_once(good: str, problems: Problems) -> None:
    text = good.replace("pairs:\n  - {base: depth, enhancement: reconstruction}", "pairs: all")
    text = text.replace("lambda_b: [0.1, 1]", "lambda_b: {depth: 1, reconstruction: 1}")
    (found,) = problems(text)
    head = "6: grid.lambda_b: there are no values for the tasks "
    assert found.startswith(head)
    listed = found.removeprefix(head).replace("'", "").split(", ")
    assert {"detection", "segmentation"} <= set(listed)
    assert {"depth", "reconstruction"}.isdisjoint(listed)


def test_all_pairs_of_several_data_sets_need_a_name(good: str, problems: Problems) -> None:
    text = good.replace("data:\n", "data:\n  more: {type: scenes}\n")
    text = text.replace("pairs:\n  - {base: depth, enhancement: reconstruction}", "pairs: all")
    assert problems(text) == [
        "5: pairs: on which data set? There is more, scenes: write `pairs: {all: more}`"
    ]


def test_a_pairs_own_grid_replaces_the_studys(write: Write, good: str) -> None:
    from tcc.spec import pair_grid

    spec = load_spec(
        write(good),
        ["pairs.0.grid={lambda_e: {reconstruction: 5}, beta_mode: relative}",
         "grid.lambda_b={log: [0.001, 1, 4]}", "grid.enhance_at={lambda_b: [0.01, 0.1]}"],
    )  # fmt: skip
    grid = pair_grid(spec, spec.pairs[0])
    assert grid.lambda_e == (5.0,)
    assert grid.lambda_b == (0.001, 0.01, 0.1, 1.0)
    assert grid.enhance_at == (0.01, 0.1)
    assert grid.beta == (0.0, 0.1)
    assert grid.beta_mode == "relative"


def test_bases_that_get_enhancements_are_named_by_task(write: Write, good: str) -> None:
    text = good.replace("pairs:\n", "pairs:\n  - {base: segmentation, enhancement: depth}\n")
    spec = load_spec(write(text), ["grid.enhance_at={lambda_b: {depth: [1]}}"])
    grids = {pair.base: pair_grid(spec, pair) for pair in spec.pairs}
    assert grids["depth"].enhance_at == (1.0,)
    assert grids["segmentation"].enhance_at is None


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("{depth: [1], dept: [1]}", "grid.enhance_at.lambda_b.dept: unknown task 'dept'"),
        ("{depth: [7]}", "grid.enhance_at.lambda_b.depth: 7 is no lambda_b of depth → "),
    ],
)
def test_a_base_that_is_named_must_be_there(problems: Problems, good: str, value: str, words: str):
    (found,) = problems(good, f"grid.enhance_at={{lambda_b: {value}}}")
    assert words in found


def test_all_pairs_of_data_without_two_tasks_is_refused(
    problems: Problems, good: str, tmp_path: Path
) -> None:
    Image.new("RGB", (8, 8)).save(tmp_path / "a.png")
    text = good.replace("scenes: {train: 16, val: 4, select: 4}", f"images: {{root: {tmp_path}}}")
    (found,) = problems(
        text.replace("  - {base: depth, enhancement: reconstruction}", "  all: images")
    )
    assert "pairs" in found
    assert "no two tasks can use the data set 'images': classification: " in found
