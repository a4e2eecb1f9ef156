"""Every plug-in, found by its file, keeps its room's contract."""

import subprocess
import sys

import pytest

from tcc import registry
from tcc.datasets import Dataset, DatasetParams
from tcc.errors import UnknownNameError
from tcc.methods import Method, MethodParams
from tcc.tasks import Task, TaskParams

EVERY = [(room, name) for room in registry.ROOMS for name in registry.names(room)]
TASKS, DATASETS, METHODS = (registry.names(room) for room in ("tasks", "datasets", "methods"))


def test_the_rooms_are_not_empty():
    assert {"reconstruction", "depth", "segmentation", "detection"} <= set(TASKS)
    assert {"scenes", "voc", "images"} <= set(DATASETS)
    assert "ttcc" in METHODS


@pytest.mark.parametrize(("room", "name"), EVERY)
def test_a_plug_in_imports_without_heavy_packages(room, name):
    code = f"""
import sys
from tcc import registry
registry.load({room!r}, {name!r})
heavy = {{"torch", "torchvision", "compressai", "ray", "wandb", "pycocotools"}} & set(sys.modules)
assert not heavy, heavy
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("name", TASKS)
def test_a_task_says_what_it_is(name):
    task = registry.load("tasks", name)
    assert isinstance(task, Task)
    assert issubclass(task.Params, TaskParams)
    assert task.Params.model_config.get("frozen")
    task.Params.model_validate(task.tiny)
    assert task.headline == task.metrics[0]
    assert len({info.name for info in task.metrics}) == len(task.metrics)
    assert task.version >= 1


@pytest.mark.parametrize("name", DATASETS)
def test_a_data_set_says_what_it_is(name):
    dataset = registry.load("datasets", name)
    assert isinstance(dataset, Dataset)
    assert issubclass(dataset.Params, DatasetParams)
    assert set(dataset.Params.paths) <= set(dataset.Params.model_fields)
    assert dataset.version >= 1


@pytest.mark.parametrize("name", METHODS)
def test_a_method_says_what_it_is(name):
    method = registry.load("methods", name)
    assert isinstance(method, Method)
    assert issubclass(method.Params, MethodParams)
    method.Params.model_validate(method.tiny)
    assert set(method.optional) < set(method.kinds)


@pytest.mark.parametrize("room", registry.ROOMS)
def test_a_typo_is_told_the_nearest_name(room):
    name = registry.names(room)[0]
    with pytest.raises(UnknownNameError, match=f"did you mean '{name}'"):
        registry.load(room, name + "x")
