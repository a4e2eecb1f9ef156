"""A file that is no mapping of settings is one clear problem, at its line."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tcc.errors import SpecError
from tcc.spec import load_spec
from tcc.spec.read import parse


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("", None, "is empty"),
        ("# only a comment\n", None, "is empty"),
        ("- a\n- b\n", 1, "is not a mapping"),
        ("\njust text\n", 2, "is not a mapping"),
        ("a: 1\nb: [1, 2\nc: 3\n", 3, "is not YAML"),
        ("a: 1\n\tb: 2\n", 2, "is not YAML"),
        ("a: 'x\n", 2, "is not YAML"),
        ("a: 1\nb: \x01\n", 2, "is not YAML"),
        ("a: 1\n---\nb: 2\n", 2, "is not YAML"),
        ("a: *nothing\n", 1, "is not YAML"),
        ("[" * 600, 1, "nested too deeply"),
        ("a: 1\nb: 2\na: 3\n", 3, "the key 'a' is there twice, first in line 1"),
        ("a:\n  b: 1\n  b: 1\n", 3, "the key 'b' is there twice, first in line 2"),
        ("a: 1\n2: b\n", 2, "the key 2 is not text"),
        ("a: 1\n? [x, y]\n: b\n", 2, "is not text"),
        ("a: 1\nb: !!python/object:os.system x\n", 2, "is not allowed: plain YAML only"),
        ("a: 1\nb: !!binary aGk=\n", 2, "is not allowed: plain YAML only"),
        ("a: &a [1, *a]\n", 1, "an alias refers to what it is part of"),
        ("a: 1\nb: {<<: 3}\n", 2, "takes an alias of a mapping"),
    ],
)
def test_what_is_no_mapping_is_one_problem(text: str, line: int | None, words: str) -> None:
    with pytest.raises(SpecError) as caught:
        parse(text, "f.yaml")
    (problem,) = caught.value.problems
    assert problem.where == ("f.yaml" if line is None else f"f.yaml:{line}")
    assert words in problem.message


def test_every_key_that_is_there_twice_is_listed() -> None:
    with pytest.raises(SpecError) as caught:
        parse("a: 1\na: 2\nb: {c: 1, c: 2}\n1: x\n", "f.yaml")
    assert [problem.where for problem in caught.value.problems] == [
        "f.yaml:2",
        "f.yaml:3",
        "f.yaml:4",
    ]


def test_a_file_that_cannot_be_read_is_one_problem(tmp_path: Path) -> None:
    for path, words in [(tmp_path / "none.yaml", "No such file"), (tmp_path, "directory")]:
        with pytest.raises(SpecError) as caught:
            load_spec(path)
        (problem,) = caught.value.problems
        assert problem.where == str(path)
        assert words in problem.message


def test_a_file_of_other_bytes_is_one_problem(tmp_path: Path) -> None:
    path = tmp_path / "spec.yaml"
    path.write_bytes(b"study: \xff\xfe")
    with pytest.raises(SpecError, match="is not UTF-8 text"):
        load_spec(path)


def test_values_are_read_as_one_expects() -> None:
    text = "a: [1e-3, 1E3, .5, 1., -2.5e+4, 010, 1:30, 2026-11-20, 0, -7, 0x10, no, true]"
    assert parse(text, "f").data["a"] == [
        0.001, 1000.0, 0.5, 1.0, -25000.0, "010", "1:30", "2026-11-20", 0, -7, "0x10",
        "no", True,
    ]  # fmt: skip


def test_merge_keys_keep_their_lines() -> None:
    document = parse("a: &x\n  b: 1\n  c: 2\nd:\n  <<: *x\n  c: 3\n", "f")
    assert document.data["d"] == {"b": 1, "c": 3}
    document.report(("d", "c"), "own")
    document.report(("d", "b"), "merged")
    with pytest.raises(SpecError) as caught:
        document.refuse()
    assert [str(item) for item in caught.value.problems] == ["f:2: d.b: merged", "f:6: d.c: own"]


@pytest.mark.parametrize("value", [".inf", "-.inf", ".nan", "1e999"])
def test_numbers_are_finite(value: str, good: str, problems: Callable[..., list[str]]) -> None:
    (found,) = problems(good.replace("beta: [0, 0.1]", f"beta: [0, {value}]"))
    assert found.startswith("9: grid.beta[1]: ")
    assert "is not a finite number" in found


def test_an_open_value_is_a_problem(good: str, problems: Callable[..., list[str]]) -> None:
    (found,) = problems(good.replace("study: some", "study: ???"))
    assert found == "1: study: its value is left open (???): give one"
