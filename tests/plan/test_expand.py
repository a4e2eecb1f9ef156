"""From a spec to trials: each once, with all that it needs before it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from tcc import registry
from tcc.plan import expand
from tcc.records import FrozenMap, Plan
from tcc.spec import load_spec

Planned = Callable[..., Plan]
SMOKE = Path(__file__).parents[2] / "sweeps" / "smoke.yaml"


def kinds(plan: Plan) -> dict[str, int]:
    return dict(Counter(trial.kind for trial in plan))


def test_the_smoke_study() -> None:
    plan = expand(load_spec(SMOKE))
    assert kinds(plan) == {
        "pretrain": 2,
        "base": 6,
        "enhancement": 24,
        "direct": 12,
        "standalone": 8,
        "single_layer": 4,
        "uncompressed": 1,
        "pixels": 2,
    }


def test_each_trial_comes_once_and_after_all_that_it_needs(planned: Planned) -> None:
    seen: set[str] = set()
    for trial in planned():
        assert trial.id not in seen
        assert seen.issuperset(trial.needs)
        seen.add(trial.id)


def test_each_enhancement_needs_one_base_and_its_warm_start(planned: Planned) -> None:
    plan = planned()
    by_id = {trial.id: trial for trial in plan}
    enhancements = [trial for trial in plan if trial.kind == "enhancement"]
    assert len(enhancements) == 2 * 2 * 2 * 3
    for trial in enhancements:
        base, pretrain = (by_id[need] for need in trial.needs)
        assert (base.kind, pretrain.kind) == ("base", "pretrain")
        assert (base.tasks, pretrain.tasks) == (trial.tasks[:1], trial.tasks[1:])
        assert base.axes == {k: v for k, v in trial.axes.items() if k != "lambda_e"}


def test_a_base_is_shared_by_all_pairs(planned: Planned) -> None:
    plan = planned()
    bases = [trial for trial in plan if trial.kind == "base"]
    assert len(bases) == 2 * 2
    for base in bases:
        users = {trial.tasks for trial in plan if base.id in trial.needs}
        assert users == {("depth", "reconstruction"), ("depth", "segmentation")}


def test_beta_does_not_matter_to_a_reconstruction_base(planned: Planned) -> None:
    plan = planned(changes={"base: depth, enhancement: reconstruction":
                            "base: reconstruction, enhancement: depth"})  # fmt: skip
    bases = [trial for trial in plan if trial.kind == "base" and trial.tasks == ("reconstruction",)]
    assert [dict(base.axes) for base in bases] == [
        {"beta": 0.0, "lambda_b": 0.1},
        {"beta": 0.0, "lambda_b": 1.0},
    ]
    both = planned(changes={"base: depth, enhancement: reconstruction":
                            "base: reconstruction, enhancement: depth",
                            "beta: [0, 0.1]": "beta: [0]"})  # fmt: skip
    assert {base.id for base in bases} == {
        trial.id for trial in both if trial.kind == "base" and trial.tasks == ("reconstruction",)
    }


def test_filters_enhance_at_and_zip(planned: Planned) -> None:
    plan = planned(
        changes={
            "beta: [0, 0.1]": "beta: [0, 0.1]\n  enhance_at: {lambda_b: 1}",
            "standalone, ": "{standalone: {beta: 0, lambda_e: [0.1, 1]}}, ",
        }
    )
    assert {trial.axes["lambda_b"] for trial in plan if trial.kind == "enhancement"} == {1.0}
    standalone = [trial for trial in plan if trial.kind == "standalone"]
    assert len(standalone) == 2 * 2
    assert {(trial.axes["beta"], trial.axes["lambda_e"]) for trial in standalone} == {
        (0.0, 0.1),
        (0.0, 1.0),
    }
    zipped = planned(changes={"[0.1, 1, 10]": "[3, 7]\n  pairing: zip"})
    pairs = {(t.axes["lambda_b"], t.axes["lambda_e"]) for t in zipped if t.kind == "enhancement"}
    assert pairs == {(0.1, 3.0), (1.0, 7.0)}


def test_a_pairs_grid_is_its_own(planned: Planned) -> None:
    plan = planned(
        changes={"enhancement: segmentation}": "enhancement: segmentation, grid: {lambda_e: 5}}"}
    )
    enhancements = [trial for trial in plan if trial.kind == "enhancement"]
    found = {(trial.tasks[1], trial.axes["lambda_e"]) for trial in enhancements}
    assert found == {("reconstruction", 0.1), ("reconstruction", 1.0), ("reconstruction", 10.0),
                     ("segmentation", 5.0)}  # fmt: skip


def test_both_beta_modes_share_the_baseline(planned: Planned) -> None:
    relative = (
        "  - {base: depth, enhancement: reconstruction, grid: {beta_mode: relative}}\ngrid:\n"
    )
    plan = planned(changes={"grid:\n": relative})
    variants = Counter((t.axes["beta"], t.variant) for t in plan if t.kind == "base")
    assert variants == {(0.0, ""): 2, (0.1, ""): 2, (0.1, "relative"): 2}
    labels = [trial.label for trial in plan]
    assert "base depth λ_b=0.1 β=0.1 relative seed 0" in labels


def test_labels_and_names(planned: Planned) -> None:
    plan = planned()
    labels = [trial.label for trial in plan]
    assert "base depth λ_b=0.1 β=0 seed 0" in labels
    assert "enhancement depth→reconstruction λ_b=0.1 λ_e=10 β=0.1 seed 0" in labels
    assert "pixels depth seed 0" in labels
    assert len(set(labels)) == len(labels)
    assert {trial.datasets for trial in plan} == {("scenes",)}
    assert {trial.method for trial in plan} == {"ttcc"}


def test_a_label_names_the_data_where_there_are_several(planned: Planned) -> None:
    plan = planned(
        changes={
            "data: {scenes": "data: {wide: {type: scenes, size: [32, 64]}, scenes",
            "reconstruction}": "reconstruction, dataset: wide}",
            "segmentation}": "segmentation, dataset: scenes}",
        }
    )
    labels = [trial.label for trial in plan]
    assert "base depth on wide λ_b=0.1 β=0 seed 0" in labels
    assert "base depth on scenes λ_b=0.1 β=0 seed 0" in labels
    assert len(set(labels)) == len(labels)


def test_a_recipe_holds_what_the_trial_uses(planned: Planned) -> None:
    plan = planned(
        changes={"train: {": "resources: {base: {gpu: 0.5}}\ntrain: {base: {batch: 3}, "}
    )
    base = next(trial for trial in plan if trial.kind == "base")
    direct = next(trial for trial in plan if trial.kind == "direct")
    assert [use.name for use in base.recipe.tasks] == ["depth", "reconstruction"]
    assert base.recipe.tasks[0].params["model"] == "small"
    assert base.recipe.method.params["latent"] == 4
    assert "side" not in base.recipe.method.params
    assert (base.recipe.train.batch, direct.recipe.train.batch) == (3, 8)
    assert (base.resources.gpu, direct.resources.gpu) == (0.5, 0.0)
    assert isinstance(base.recipe.train.steps, int)
    assert base.recipe.datasets[0].fingerprint


def metrics(*tasks: str) -> tuple[str, ...]:
    return tuple(
        f"{task}/{metric.name}" for task in tasks for metric in registry.load("tasks", task).metrics
    )


def test_evaluations_measure_what_a_trial_reports(planned: Planned) -> None:
    found = {
        (trial.kind, trial.tasks): [e.metrics for e in trial.evaluations] for trial in planned()
    }
    assert found["base", ("depth",)] == [metrics("depth", "reconstruction")]
    assert found["enhancement", ("depth", "segmentation")] == [metrics("segmentation")]
    assert found["pixels", ("depth",)] == [metrics("depth")]


@pytest.fixture
def kodak(tmp_path: Path) -> str:
    """A folder of images, as a data entry."""
    from PIL import Image

    for index in range(3):
        Image.new("RGB", (8, 8), (index, 0, 0)).save(tmp_path / f"{index}.png")
    return f"kodak: {{type: images, root: {tmp_path}}}"


def test_an_evaluation_on_data_without_the_labels_is_dropped(planned: Planned, kodak: str) -> None:
    changes = {
        "data: {": f"data: {{{kodak}, ",
        "reconstruction}": "reconstruction, dataset: scenes}",
        "segmentation}": "segmentation, dataset: scenes}",
        "train: {steps": "evaluate: [{}, {data: kodak}]\ntrain: {steps",
    }
    plan = planned(changes=changes)
    found = {
        (trial.kind, trial.tasks): [(e.dataset.name, e.metrics) for e in trial.evaluations]
        for trial in plan
    }
    image = metrics("reconstruction")
    assert found["base", ("depth",)] == [
        ("scenes", metrics("depth", "reconstruction")),
        ("kodak", image),
    ]
    assert found["enhancement", ("depth", "segmentation")] == [("scenes", metrics("segmentation"))]
    assert {trial.id for trial in plan} == {trial.id for trial in planned()}
    only = planned(changes=changes | {"train: {steps": "evaluate: [{data: kodak}]\ntrain: {steps"})
    for trial in only:
        (evaluation,) = trial.evaluations
        if "reconstruction" in (use.name for use in trial.recipe.tasks):
            assert (evaluation.dataset.name, evaluation.metrics) == ("kodak", image)
        else:
            assert evaluation.dataset.name == "scenes"  # its own, for want of another
            assert evaluation.metrics[0].startswith(f"{trial.tasks[-1]}/")


def test_labels_of_other_classes_are_not_measured(planned: Planned) -> None:
    plan = planned(
        changes={
            "data: {": "data: {fewer: {type: scenes, classes: 2}, same: {type: scenes}, ",
            "reconstruction}": "reconstruction, dataset: scenes}",
            "segmentation}": "segmentation, dataset: scenes}",
            "train: {steps": "evaluate: [{data: fewer}, {data: same}]\ntrain: {steps",
        }
    )
    found = {(trial.kind, trial.tasks): trial.evaluations for trial in plan}
    segmentation = found["enhancement", ("depth", "segmentation")]
    assert [item.dataset.name for item in segmentation] == ["same"]
    depth = found["base", ("depth",)]
    assert [item.dataset.name for item in depth] == ["fewer", "same"]


def test_the_same_evaluation_twice_is_one(planned: Planned) -> None:
    plan = planned(changes={"train: {steps": "evaluate: [{}, {data: scenes}, {}]\ntrain: {steps"})
    assert {len(trial.evaluations) for trial in plan} == {1}


def test_two_names_of_the_same_data_are_one(planned: Planned) -> None:
    plan = planned(
        changes={
            "data: {": "data: {again: {type: scenes, train: 16, val: 4, select: 4}, ",
            "reconstruction}": "reconstruction, dataset: scenes}",
            "segmentation}": "segmentation, dataset: again}",
        }
    )
    assert {trial.id for trial in plan} == {trial.id for trial in planned()}


def test_all_pairs_of_all_tasks(planned: Planned) -> None:
    two = (
        "\n  - {base: depth, enhancement: reconstruction}"
        "\n  - {base: depth, enhancement: segmentation}"
    )
    plan = planned(changes={f"pairs:{two}": "pairs: all"})
    tasks = {trial.tasks for trial in plan if trial.kind == "enhancement"}
    assert ("segmentation", "detection") in tasks
    assert len(tasks) >= 12


def test_the_plan_is_frozen(planned: Planned) -> None:
    trial = planned().trials[0]
    assert isinstance(trial.axes, FrozenMap)
    assert hash(trial) == hash(planned().trials[0])


def test_a_trial_is_trained_as_its_own_task_asks(planned: Planned) -> None:
    plan = planned(changes={"steps: 20": "enhancement: {steps: 8}, depth: {steps: 7}"})
    steps = {(trial.kind, trial.tasks[-1]): trial.recipe.train.steps for trial in plan}
    assert steps["base", "depth"] == 7
    assert steps["enhancement", "reconstruction"] == 8


def test_a_trial_gets_the_resources_of_its_own_task(planned: Planned) -> None:
    plan = planned(changes={"steps: 20": "steps: 20, depth: {threads: 4}"})
    cpus = {(trial.kind, trial.tasks[-1]): trial.resources.cpu for trial in plan}
    assert cpus["base", "depth"] == 4.0
    assert cpus["enhancement", "segmentation"] == 1.0


def test_the_sweeps_that_need_data_plan_on_it(tmp_path: Path, monkeypatch) -> None:
    for name in ("coco", "cityscapes"):
        root = registry.load("datasets", name).tiny(tmp_path / name)["root"]
        monkeypatch.setenv(f"TCC_{name.upper()}_ROOT", str(root))
    selecting = ["data.coco.select=1", "data.cityscapes.select=1"]
    paper = expand(load_spec(SMOKE.with_name("paper.yaml"), selecting))
    assert kinds(paper) == {
        "base": 90,
        "direct": 135,
        "enhancement": 135,
        "standalone": 135,
        "uncompressed": 18,
        "pixels": 9,
    }
    crops = {(trial.kind, trial.tasks[-1]): trial.recipe.train.crop for trial in paper}
    assert (crops["base", "detection"], crops["base", "depth"]) == (0, 512)
    assert len(expand(load_spec(SMOKE.with_name("all_pairs.yaml")))) == 209
