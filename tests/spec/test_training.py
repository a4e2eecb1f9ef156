"""Fields of `train` that must fit one another, the resources, or files."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tcc.spec import load_spec, parse_spec, resolved_yaml

Write = Callable[[str], Path]
Problems = Callable[..., list[str]]

DIVIDES = "a batch of {} images does not divide into {} accumulated parts on each of {} devices: "


def test_the_fields_of_a_step(write: Write, good: str) -> None:
    text = good + "train: {batch: 12, accumulate: 2, devices: 3, warmup: 0.1, deterministic: true}"
    spec = load_spec(write(text), ["train.base={accumulate: 1, devices: 2}"])
    recipe = spec.train.recipe("enhancement")
    assert (recipe.batch, recipe.accumulate, recipe.devices) == (12, 2, 3)
    assert (recipe.warmup, recipe.deterministic) == (0.1, True)
    base = spec.train.recipe("base")
    assert (base.batch, base.accumulate, base.devices, base.warmup) == (12, 1, 2, 0.1)
    assert parse_spec(resolved_yaml(spec)) == spec


@pytest.mark.parametrize(
    ("train", "expected"),
    [
        ("batch: 6\n  accumulate: 4", "11: train.batch: " + DIVIDES.format(6, 4, 1)),
        ("accumulate: 3", "11: train.accumulate: " + DIVIDES.format(8, 3, 1)),
        ("devices: 3", "11: train.devices: " + DIVIDES.format(8, 1, 3)),
        ("accumulate: 2\n  base:\n    batch: 3",
         "13: train.base.batch: " + DIVIDES.format(3, 2, 1)),
        ("batch: 6\n  enhancement:\n    devices: 4",
         "13: train.enhancement.devices: " + DIVIDES.format(6, 1, 4)),
        ("warmup: 0.8", "11: train.warmup: warmup 0.8 and decay 0.3 are shares of the steps: "),
        ("decay: 0.5\n  base:\n    warmup: 0.6", "13: train.base.warmup: warmup 0.6 and decay 0.5"),
        ("warmup: 1.5", "11: train.warmup: is 1.5: it must be less than or equal to 1"),
        ("devices: 0", "11: train.devices: is 0: it must be greater than or equal to 1"),
        ("deterministic: 1", "11: train.deterministic: is 1: it must be a valid boolean"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_one_problem_at_its_line(
    train: str, expected: str, good: str, problems: Problems
) -> None:
    (found,) = problems(f"{good}train:\n  {train}\n")
    assert found.startswith(expected)


def test_the_batches_that_divide_are_told(good: str, problems: Problems) -> None:
    (found,) = problems(good, "train={batch: 6, accumulate: 2, devices: 2}")
    assert found.endswith("take a multiple of 4")


def test_shares_that_fill_the_steps_fit(write: Write, good: str) -> None:
    for warmup, decay in ((0.7, 0.3), (0.1, 0.9), (1, 0), (0.15, 0.85)):
        load_spec(write(good), [f"train.warmup={warmup}", f"train.decay={decay}"])


@pytest.mark.parametrize(
    ("train", "resources", "expected"),
    [
        ("devices: 2", "base: {gpu: 1}",
         "resources.base.gpu: is 1 but train.devices is 2: give a trial of that kind 2 GPUs"),
        ("base: {devices: 4}", "base: {gpu: 0.5}",
         "resources.base.gpu: is 0.5 but train.base.devices is 4: give a trial of that kind 4 "
         "GPUs"),
        ("devices: 2", "default: {gpu: 1}",
         "resources.default.gpu: is 1 but train.devices is 2: give a trial of that kind 2 GPUs"),
    ],
)  # fmt: skip
def test_each_device_has_a_gpu(
    train: str, resources: str, expected: str, good: str, problems: Problems
) -> None:
    text = f"{good}train: {{{train}}}\nresources: {{{resources}}}\n"
    assert problems(text) == [f"11: {expected}"]


@pytest.mark.parametrize(
    "resources", ["", "default: {gpu: 2}", "base: {gpu: 2}", "default: {gpu: 1}, base: {gpu: 0}"]
)
def test_devices_are_gpus_or_all_on_the_cpu(resources: str, write: Write, good: str) -> None:
    text = f"{good}train: {{base: {{devices: 2}}}}\nresources: {{{resources}}}\n"
    load_spec(write(text))


def test_a_trial_has_a_cpu_for_each_thread_of_each_device(write: Write, good: str) -> None:
    spec = load_spec(write(good), ["train.threads=3", "train.base={devices: 4}"])
    assert spec.resources_of("base").cpu == 12.0
    assert spec.resources_of("enhancement").cpu == 3.0
    given = load_spec(write(good), ["train.devices=2", "resources.default.cpu=5"])
    assert given.resources_of("base").cpu == 5.0


def test_a_file_of_weights_is_there_and_absolute(
    write: Write, good: str, problems: Problems, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    text = f"{good}tasks:\n  depth:\n    weights: some/depth.pt\n"
    assert problems(text) == [
        f"12: tasks.depth.weights: there is no file '{tmp_path}/some/depth.pt': write the path of "
        "a state dict, or a name that torchvision has weights under"
    ]
    (tmp_path / "some").mkdir()
    (tmp_path / "some" / "depth.pt").write_bytes(b"weights")
    spec = load_spec(write(text))
    assert spec.tasks["depth"]["weights"] == str(tmp_path / "some" / "depth.pt")
    assert parse_spec(resolved_yaml(spec)) == spec


def test_a_task_has_training_of_its_own_over_that_of_the_kind(write, good):
    text = good + "train: {steps: 30, base: {steps: 20, lr: 0.1}, depth: {steps: 10, crop: 16}}\n"
    train = load_spec(write(text)).train
    assert train.recipe("base", "depth").steps == 10
    assert train.recipe("base", "depth").lr == 0.1
    assert train.recipe("base", "detection").steps == 20
    assert train.recipe("enhancement", "reconstruction").steps == 30


def test_a_batch_that_a_task_s_parts_do_not_divide_is_told_at_the_task(
    write: Write, good: str, problems: Problems
) -> None:
    found = problems(good + "train:\n  batch: 8\n  depth:\n    accumulate: 3\n")
    assert len(found) == 1
    assert found[0].startswith(f"13: train.depth.accumulate: {DIVIDES.format(8, 3, 1)}")


@pytest.mark.parametrize(
    "text",
    [
        "train: {batch: 8, enhancement: {accumulate: 4}, depth: {batch: 2}}",  # depth is a base
        "train: {reconstruction: {devices: 2}}\nresources: {enhancement: {gpu: 2}, base: {gpu: 1}}",
        "train: {batch: 6, pixels: {devices: 4}}",  # there is no such trial
    ],
)
def test_only_the_trials_that_there_are_must_fit(write: Write, good: str, text: str) -> None:
    assert load_spec(write(good + text)).study == "some"


def test_a_task_has_resources_of_its_own_over_those_of_the_kind(write: Write, good: str) -> None:
    text = "train: {depth: {threads: 4}}\nresources: {base: {gpu: 1}, reconstruction: {gpu: 0.5}}"
    spec = load_spec(write(good + text))
    assert spec.resources_of("base", "depth").cpu == 4.0
    assert spec.resources_of("base", "depth").gpu == 1.0
    assert spec.resources_of("enhancement", "reconstruction").gpu == 0.5
