"""A spec as text again, and everything that one may throw at `load_spec`."""

from __future__ import annotations

import copy
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from pydantic import ValidationError

from tcc.errors import Problem, SpecError
from tcc.spec import load_spec, parse_spec, read_settings, resolved_yaml

Write = Callable[[str], Path]

RICH = """\
study: rich
data:
  scenes: {train: 16, val: 4, select: 4, root: some/cache}
  other: {type: scenes, size: [32, 48]}
pairs:
  - {base: depth, enhancement: reconstruction, dataset: scenes, grid: {beta: 0}}
  - {base: depth, enhancement: segmentation, dataset: other}
grid:
  lambda_b: {depth: {log: [0.1, 1, 3]}}
  lambda_e: [1, 0.1]
  beta: [0, 0.1]
  enhance_at: {lambda_b: [0.1]}
  seed: [0, 1]
also: [direct, {standalone: {beta: [0]}}]
model: {channels: [4, 4, 8], latent: 4, enhancement: {latent: 3}}
tasks: {depth: {model: small}}
train: {steps: 50, scale: 1/2, base: {steps: 30, select_every: null}, warm_start: pretrain}
evaluate: [{}, {data: other, split: select}]
resources: {default: {cpu: 2}, base: {gpu: 0.5}}
report: {anchor: {beta: 0}, notice: 'an escaped \\${x}, ünïcode'}
wandb: {mode: online, entity: someone}
"""


def test_a_resolved_spec_gives_the_same_spec(write: Write) -> None:
    spec = load_spec(write(RICH), ["train.lr=1e-4"])
    text = resolved_yaml(spec)
    assert parse_spec(text) == spec
    assert resolved_yaml(parse_spec(text)) == text
    assert spec.report.notice == "an escaped ${x}, ünïcode"


def test_a_resolved_spec_says_everything_in_full(write: Write) -> None:
    plain = yaml.safe_load(resolved_yaml(load_spec(write(RICH))))
    assert Path(plain["data"]["scenes"]["root"]).is_absolute()
    assert plain["data"]["other"]["type"] == "scenes"
    assert plain["model"]["context"] == "masked"
    assert plain["train"]["batch"] == 8
    assert plain["train"]["base"] == {"steps": 30, "select_every": None}
    assert plain["pairs"][0]["grid"] == {"beta": [0.0]}
    assert "study: rich" in resolved_yaml(load_spec(write(RICH)))


def test_the_settings_of_a_resolved_spec_need_no_data(write: Write) -> None:
    text = resolved_yaml(load_spec(write(RICH))).replace("type: scenes", "type: gone")
    assert read_settings(text).report.notice == "an escaped ${x}, ünïcode"
    with pytest.raises(SpecError):
        parse_spec(text)
    with pytest.raises(SpecError):
        read_settings("study: [")


def test_a_spec_is_frozen(write: Write) -> None:
    spec = load_spec(write(RICH))
    with pytest.raises(ValidationError):
        spec.study = "other"  # type: ignore[misc]
    with pytest.raises(TypeError):
        spec.data["scenes"].params["train"] = 3  # type: ignore[index]


def test_train_fields_by_kind(write: Write) -> None:
    spec = load_spec(write(RICH))
    assert spec.train.recipe("base").steps == 30
    assert spec.train.recipe("base").select_every == 3
    assert spec.train.recipe("enhancement").steps == 50
    assert spec.train.recipe("enhancement").select_every == 5
    assert spec.train.recipe("enhancement").scale == 0.5
    assert load_spec(write(RICH), ["train.steps=3"]).train.recipe("direct").select_every == 1


def test_resources_by_kind(write: Write) -> None:
    spec = load_spec(write(RICH), ["train.threads=3"])
    assert (spec.resources_of("base").cpu, spec.resources_of("base").gpu) == (2.0, 0.5)
    assert (spec.resources_of("direct").cpu, spec.resources_of("direct").gpu) == (2.0, 0.0)
    without = load_spec(write(RICH), ["train.threads=3", "resources={}"])
    assert without.resources_of("base").cpu == 3.0


def test_torch_is_not_imported(write: Write) -> None:
    code = (
        "import sys; from tcc.spec import load_spec; load_spec(sys.argv[1]);"
        "print([m for m in ('torch', 'torchvision', 'compressai', 'ray') if m in sys.modules])"
    )
    command = [sys.executable, "-c", code, str(write(RICH))]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def _paths(node: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    items = node.items() if isinstance(node, dict) else enumerate(node)
    for key, value in items:
        yield (*path, key)
        if isinstance(value, dict | list):
            yield from _paths(value, (*path, key))


PLAIN = yaml.safe_load(RICH)
WORDS = st.sampled_from(
    ["all", "log", "depth", "scenes", "x", "${a", "${grid.beta}", "${oc.env:NO_SUCH}", "???",
     "type", "lambda_b", "base", "", "a.b", "1/0", "kinds", "params", "only", "kind"]
)  # fmt: skip
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 10**20) | st.floats() | WORDS | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS, inner, max_size=3),
    max_leaves=4,
)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    path=st.sampled_from(list(_paths(PLAIN))),
    value=VALUES,
    edit=st.sampled_from(["replace", "add", "delete"]),
)
def test_any_change_gives_a_spec_or_its_problems(
    path: tuple[Any, ...], value: Any, edit: str
) -> None:
    data = copy.deepcopy(PLAIN)
    holder = data
    for part in path[:-1]:
        holder = holder[part]
    last = path[-1]
    if edit == "delete":
        del holder[last]
    elif edit == "add" and isinstance(holder[last], dict):
        holder[last]["new"] = value
    elif edit == "add" and isinstance(holder[last], list):
        holder[last].append(value)
    else:
        holder[last] = value
    text = yaml.safe_dump(data, sort_keys=False, allow_unicode=True)
    problems: tuple[Problem, ...] = ()
    try:
        spec = parse_spec(text)
        assert parse_spec(resolved_yaml(spec)) == spec
    except SpecError as error:
        problems = error.problems
    assert all("\n" not in problem.message for problem in problems)


def test_the_root_of_the_environment_goes_with_the_spec(tmp_path, monkeypatch):
    Image.new("RGB", (8, 8)).save(tmp_path / "a.png")
    monkeypatch.setenv("TCC_IMAGES_ROOT", str(tmp_path))
    text = RICH.replace("data:", "data:\n  images: {}", 1)
    spec = parse_spec(text)
    monkeypatch.delenv("TCC_IMAGES_ROOT")
    again = parse_spec(resolved_yaml(spec))  # as a worker, or `tcc retry`, reads it
    assert again.data["images"].params["root"] == str(tmp_path)
