"""What a change of a sweep file does to ids, by the way that users take: the file, `load_spec`,
`expand`. Every section and every field that a file may have is in one of the lists here."""

from __future__ import annotations

import copy
import random
import shutil
from collections.abc import Callable, Iterable
from functools import reduce
from pathlib import Path
from typing import Any

import pytest
import yaml

from tcc import registry
from tcc.plan import expand
from tcc.spec import load_spec, resolved_yaml
from tcc.spec.schema import Grid, SweepSpec
from tcc.spec.training import TrainFields, TrainSpec

Ids = Callable[..., set[str]]
Change = tuple[str, Any]  # a dotted path and its new value; of a list, the index

STUDY: dict[str, Any] = {
    "study": "some",
    "data": {
        "scenes": {"train": 16, "val": 4, "select": 4},
        "more": {"type": "scenes", "train": 8, "val": 4, "select": 4},
    },
    "pairs": [
        {"base": "depth", "enhancement": "reconstruction", "dataset": "scenes"},
        {"base": "depth", "enhancement": "segmentation", "dataset": "scenes"},
        {
            "base": "segmentation",
            "enhancement": "depth",
            "dataset": "more",
            "grid": {"lambda_e": [3]},
        },
    ],
    "grid": {"lambda_b": {"depth": [0.1, 1], "segmentation": [2]}, "lambda_e": [0.1, 1],
             "beta": [0, 0.1], "seed": [0, 1]},
    "also": ["direct", {"standalone": {"beta": [0]}}, "single_layer", "uncompressed",
             "pixels"],
    "model": {"channels": [4, 4, 8], "latent": 4, "blocks": 1},
    "train": {"steps": 20, "warm_start": "pretrain"},
}  # fmt: skip

SILENT: list[Change] = [
    ("study", "another"),
    ("report.anchor", {"beta": 0.1}),
    ("report.notice", "read this"),
    ("report.refuse", "it is a test"),
    ("report.improving_share", 0.5),
    ("wandb.project", "mine"),
    ("wandb.mode", "disabled"),
    ("wandb.entity", "us"),
    ("search.policy", "grid"),
    ("resources.default", {"cpu": 4}),
    ("resources.base", {"cpu": 2, "gpu": 0.5}),
    ("resources.enhancement", {"gpu": 0.25}),
    ("resources.reconstruction", {"cpu": 0.5, "gpu": 1}),
    ("evaluate", [{"split": "val"}, {"split": "train"}, {"split": "select"}]),
    ("evaluate", [{"data": "more"}]),
    ("method", "ttcc"),
    ("tasks.depth", {}),
    ("tasks.detection", {}),  # which no pair has
    ("train.detection.steps", 99),
    ("grid.beta_mode", "absolute"),
    ("grid.pairing", "product"),
    ("grid.enhance_at", "all"),
    ("grid.lambda_b.depth", [1.0, 0.10]),
    ("grid.seed", [1, 0]),
    ("data.scenes.type", "scenes"),
    ("data.scenes.root", "/somewhere/else"),
]
MORE: list[Change] = [
    ("grid.lambda_b.depth", [0.1, 0.3, 1]),
    ("grid.lambda_e", [0.1, 0.5, 1]),
    ("grid.beta", [0, 0.01, 0.1]),
    ("grid.seed", [0, 1, 2]),
    ("also.1", "standalone"),
    ("pairs.2.grid.lambda_e", [3, 4]),
    ("data.third", {"type": "scenes"}),
    ("pairs.3", {"base": "reconstruction", "enhancement": "depth", "dataset": "more",
                 "grid": {"lambda_b": [1]}}),
]  # fmt: skip
LESS: list[Change] = [
    ("grid.lambda_b.depth", [0.1]),
    ("grid.beta", [0]),
    ("grid.seed", [1]),
    ("grid.enhance_at", {"lambda_b": {"depth": [1]}}),
    ("also", ["uncompressed"]),
    ("also", []),
    ("pairs.0.grid.pairing", "zip"),
]
LOUD: dict[str, list[Change]] = {  # the trials that get other ids
    "all": [
        ("train.steps", 21),
        ("train.batch", 4),
        ("train.accumulate", 2),
        ("train.devices", 2),
        ("train.lr", 0.002),
        ("train.warmup", 0.1),
        ("train.decay", 0.2),
        ("train.clip", 2),
        ("train.precision", "bf16"),
        ("train.deterministic", True),
        ("train.threads", 2),
        ("train.rate_ramp", 0.4),
        ("train.rate_start", 0.1),
        ("train.select_every", 3),
        ("train.patience", 3),
        ("train.crop", 32),
        ("train.flip", True),
        ("train.scale", 0.5),
        ("grid.seed", [2, 3]),
    ],
    "some": [
        ("train.warm_start", "none"),
        ("train.base.lr", 0.002),
        ("train.depth.lr", 0.002),
        ("grid.lambda_b.depth", [0.11, 1.1]),
        ("grid.lambda_e", [0.11, 1.1]),
        ("grid.beta", [0, 0.11]),
        ("grid.beta_mode", "relative"),
        ("data.scenes.train", 17),
        ("data.scenes.select", 5),
        ("data.scenes.seed", 1),
        ("pairs.0.dataset", "more"),
        ("model.channels", [4, 4, 6]),
        ("model.latent", 6),
        ("model.blocks", 2),
        ("model.task_blocks", 2),
        ("model.context", "checkerboard"),
        ("model.hyperprior", True),
        ("model.enhancement", {"latent": 6}),
        ("model.side", {"blocks": 1}),
        ("model.synthesis_input", "both"),
        ("model.reconstruction_decoder", False),
        ("model.uncompressed_lambda", 500),
        ("model.pretrain_lambda", 2),
    ],
}


def changed(change: Change | None, study: dict[str, Any] = STUDY) -> dict[str, Any]:
    found = copy.deepcopy(study)
    if change is not None:
        *way, last = change[0].split(".")
        place = reduce(_step, way, found)
        if isinstance(place, list) and int(last) == len(place):
            place.append(change[1])
        else:
            place[int(last) if isinstance(place, list) else last] = change[1]
    return found


def _step(place: Any, key: str) -> Any:
    return place[int(key)] if isinstance(place, list) else place.setdefault(key, {})


@pytest.fixture
def ids(tmp_path: Path) -> Ids:
    """The ids of a study in a file."""

    def planned(study: dict[str, Any] | str, *overrides: str) -> set[str]:
        text = study if isinstance(study, str) else yaml.safe_dump(study, sort_keys=False)
        (tmp_path / "sweep.yaml").write_text(text)
        return {trial.id for trial in expand(load_spec(tmp_path / "sweep.yaml", overrides))}

    return planned


def names(changes: Iterable[Change]) -> list[str]:
    return [f"{path}={value}" for path, value in changes]


@pytest.mark.parametrize("change", SILENT, ids=names(SILENT))
def test_what_leaves_the_meaning_alone_leaves_the_ids_alone(change: Change, ids: Ids) -> None:
    assert ids(changed(change)) == ids(STUDY)


@pytest.mark.parametrize("change", MORE, ids=names(MORE))
def test_more_keeps_the_ids_that_were_there(change: Change, ids: Ids) -> None:
    if change[0] == "data.third":
        assert ids(changed(change)) == ids(STUDY)
    else:
        assert ids(changed(change)) > ids(STUDY)


@pytest.mark.parametrize("change", LESS, ids=names(LESS))
def test_less_keeps_the_ids_that_are_left(change: Change, ids: Ids) -> None:
    found = ids(changed(change))
    assert found
    assert found < ids(STUDY)


@pytest.mark.parametrize("change", LOUD["all"], ids=names(LOUD["all"]))
def test_another_training_changes_every_id(change: Change, ids: Ids) -> None:
    assert ids(changed(change)).isdisjoint(ids(STUDY))


@pytest.mark.parametrize("change", LOUD["some"], ids=names(LOUD["some"]))
def test_another_meaning_changes_ids(change: Change, ids: Ids) -> None:
    assert ids(changed(change)) - ids(STUDY)


def test_every_field_of_a_file_is_in_a_list() -> None:
    every = [*SILENT, *MORE, *LESS, *LOUD["all"], *LOUD["some"]]
    paths = {path.split(".")[0] for path, _ in every}
    assert paths == set(SweepSpec.model_fields)
    fields = {path for path, _ in every}
    method = registry.load("methods", "ttcc")
    for section, names in [
        ("grid", Grid.model_fields),
        ("train", set(TrainFields.model_fields) | (set(TrainSpec.model_fields) - {"own"})),
        ("model", method.Params.model_fields),
    ]:
        assert not {name for name in names if not _among(f"{section}.{name}", fields)}
    loud = {path for path, _ in (*LOUD["all"], *LOUD["some"])}
    assert all(_among(f"train.{name}", loud) for name in TrainFields.model_fields)


def _among(path: str, fields: set[str]) -> bool:
    return any(field == path or field.startswith(f"{path}.") for field in fields)


@pytest.mark.parametrize("seed", range(5))
def test_the_order_of_keys_is_none(seed: int, ids: Ids) -> None:
    rng = random.Random(seed)

    def shuffled(value: Any) -> Any:
        if isinstance(value, dict):
            keys = rng.sample([*value], len(value))
            return {key: shuffled(value[key]) for key in keys}
        return [shuffled(item) for item in value] if isinstance(value, list) else value

    study = shuffled(STUDY)
    for part in ("pairs", "also"):
        rng.shuffle(study[part])
    assert ids(study) == ids(STUDY)


def test_how_it_is_written_is_no_part_of_it(ids: Ids) -> None:
    expected = ids(STUDY)
    block = yaml.safe_dump(STUDY, default_flow_style=False, sort_keys=True)
    flow = yaml.safe_dump(STUDY, default_flow_style=True)
    assert ids(f"# a comment\n\n{block}\n# the end\n") == ids(flow) == expected
    assert ids(block.replace("0.1", "1.0e-1")) == expected
    without = {key: value for key, value in STUDY.items() if key != "train"}
    assert ids(without, "train.steps=20", "train.warm_start=pretrain") == expected
    aliased = block.replace("depth:\n    - 0.1", "depth: &some\n    - 0.1").replace(
        "lambda_e:\n  - 0.1\n  - 1\n", "lambda_e: *some\n"
    )
    assert "depth: &some\n" in aliased
    assert "lambda_e: *some\n" in aliased
    assert ids(aliased) == expected


def test_defaults_may_be_written_out(ids: Ids, tmp_path: Path) -> None:
    (tmp_path / "short.yaml").write_text(yaml.safe_dump(STUDY))
    assert ids(resolved_yaml(load_spec(tmp_path / "short.yaml"))) == ids(STUDY)


@pytest.mark.parametrize("name", registry.names("datasets"))
def test_data_may_move(name: str, tmp_path: Path) -> None:
    plugin = registry.load("datasets", name)
    (tmp_path / "here").mkdir()
    params = plugin.tiny(tmp_path / "here")

    def all_ids(folder: str) -> set[str]:
        """Of a study on the data where they are labelled for two tasks; measured on them anyway."""
        moved = yaml.safe_dump(params).replace(str(tmp_path / "here"), str(tmp_path / folder))
        study = {
            "study": "moved",
            "data": {"it": {"type": name, **yaml.safe_load(moved)}, "scenes": {"train": 16}},
            "pairs": [{"all": "it"}, {"all": "scenes"}],
            "grid": {"lambda_b": [1], "lambda_e": [1]},
            "evaluate": [{"data": "it"}, {}],
        }
        if not plugin.describe(plugin.Params.model_validate(yaml.safe_load(moved))).labels:
            study["pairs"] = [{"all": "scenes"}]
        path = tmp_path / "sweep.yaml"
        path.write_text(yaml.safe_dump(study))
        plan = expand(load_spec(path))
        return {trial.id for trial in plan} | {it.id for t in plan for it in t.evaluations}

    before = all_ids("here")
    shutil.move(tmp_path / "here", tmp_path / "there")
    assert all_ids("there") == before
