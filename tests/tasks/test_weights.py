"""Initial weights by path; `test_published_weights` has those by name."""

from pathlib import Path

import pytest
import torch
from pydantic import ValidationError
from safetensors.torch import save_file
from torch import nn
from torchvision.ops import FrozenBatchNorm2d

from tcc import registry
from tcc.errors import CheckpointError

CLASSES = ("a", "b", "c")


def _build(task_name, **params):
    task = registry.load("tasks", task_name)
    return task.build(task.Params(**params), CLASSES)


@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
@pytest.mark.parametrize(
    ("task_name", "part"),
    [
        ("classification", "network"),
        ("depth", "network"),
        ("segmentation", "network.dense"),
        ("detection", "detector"),
    ],
)
def test_a_state_dict_is_loaded_whole(task_name, part, suffix, tmp_path):
    torch.manual_seed(1)
    source = _build(task_name, width=8)
    path = tmp_path / f"weights{suffix}"
    state = source.get_submodule(part).state_dict()
    save_file(state, path) if suffix == ".safetensors" else torch.save(state, path)
    torch.manual_seed(2)
    loaded = _build(task_name, width=8, weights=str(path)).state_dict()
    assert all(torch.equal(loaded[key], value) for key, value in source.state_dict().items())


def test_a_state_dict_that_does_not_fit_names_its_tensors(tmp_path):
    path = tmp_path / "weights.pt"
    state = _build("depth", width=8).network.state_dict()
    state["out.bias"] = torch.zeros(3)
    state["stray"] = torch.zeros(1)
    del state["out.weight"]
    torch.save(state, path)
    with pytest.raises(CheckpointError) as caught:
        _build("depth", width=8, weights=str(path))
    message = str(caught.value)
    assert "out.weight is missing" in message
    assert "stray is unexpected" in message
    assert "out.bias has shape (3,), not (16,)" in message


@pytest.mark.parametrize("content", [b"", b"not a checkpoint", None])
@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
def test_an_unreadable_file_is_named(content, suffix, tmp_path):
    path = tmp_path / f"weights{suffix}"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(CheckpointError, match=path.name):
        _build("depth", width=8, weights=str(path))


def test_a_file_of_something_else_is_named(tmp_path):
    path = tmp_path / "weights.pt"
    torch.save({"epoch": 3}, path)
    with pytest.raises(CheckpointError, match="no state dict"):
        _build("depth", width=8, weights=str(path))


def _counters(state):
    return {name for name in state if name.endswith("num_batches_tracked")}


@pytest.mark.parametrize("saved_frozen", [True, False])
@pytest.mark.parametrize("loaded_frozen", [True, False])
def test_states_with_and_without_batch_counters_load(saved_frozen, loaded_frozen, tmp_path):
    """Frozen normalisation counts no batches: its state dicts lack what a trained one's have."""
    path = tmp_path / "weights.pt"
    model = "lraspp_mobilenet_v3_large"
    source = _build("depth", model=model, freeze_batch_norm=saved_frozen).eval()
    for name, tensor in source.state_dict().items():
        if name.endswith("running_mean"):
            tensor += 0.1
    state = source.network.lraspp.state_dict()
    assert bool(_counters(state)) != saved_frozen
    torch.save(state, path)
    loaded = _build("depth", model=model, weights=str(path), freeze_batch_norm=loaded_frozen).eval()
    assert bool(_counters(loaded.state_dict())) != loaded_frozen
    image = torch.rand(1, 3, 40, 50)
    torch.testing.assert_close(loaded(image), source(image), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("change", ["stray.num_batches_tracked", "lost"])
def test_counters_of_nothing_and_lost_statistics_are_refused(change, tmp_path):
    path = tmp_path / "weights.pt"
    state = _build("depth", model="lraspp_mobilenet_v3_large").network.lraspp.state_dict()
    if change == "lost":
        del state["backbone.0.1.running_mean"]
    else:
        state[change] = torch.tensor(3)
    torch.save(state, path)
    wrong = "running_mean is missing" if change == "lost" else f"{change} is unexpected"
    with pytest.raises(CheckpointError, match=wrong):
        _build("depth", model="lraspp_mobilenet_v3_large", weights=str(path))


def _frozen(module):
    """Which of its normalisation layers are frozen: all, some, none."""
    kinds = {
        isinstance(item, FrozenBatchNorm2d)
        for item in module.modules()
        if isinstance(item, FrozenBatchNorm2d | nn.BatchNorm2d)
    }
    return {(True,): "all", (False,): "none"}.get(tuple(kinds), "some")


@pytest.mark.parametrize(("freeze", "expected"), [(None, "all"), (True, "all"), (False, "none")])
def test_normalisation_from_a_file_is_frozen_unless_asked_otherwise(freeze, expected, tmp_path):
    path = tmp_path / "weights.pt"
    source = _build("classification", model="resnet18")
    assert _frozen(source) == "none"
    torch.save(source.network.resnet.state_dict(), path)
    model = _build("classification", model="resnet18", weights=str(path), freeze_batch_norm=freeze)
    assert _frozen(model) == expected


def test_a_path_is_absolute_and_its_file_shapes_the_weights(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    task = registry.load("tasks", "depth")
    params = task.Params(weights="here/weights.pt")  # which need not be there yet
    assert params.weights == str(tmp_path / "here/weights.pt")
    assert params.files() == {"weights": tmp_path / "here/weights.pt"}
    assert params.initial_weights() == "file"
    assert task.Params.model_validate(params.model_dump(mode="json")) == params
    assert task.Params(weights="~/weights.pt").files() == {"weights": Path.home() / "weights.pt"}


def test_random_weights_come_from_no_file():
    params = registry.load("tasks", "depth").Params()
    assert params.files() == {}
    assert params.initial_weights() == "random"


@pytest.mark.parametrize(
    ("model", "weights"),
    [
        ("small", "ResNet50_Weights.DEFAULT"),
        ("deeplabv3_resnet50", "MobileNet_V3_Large_Weights.DEFAULT"),
        ("deeplabv3_resnet50", "Nonsense_Weights.DEFAULT"),
    ],
)
def test_names_that_do_not_fit_are_refused_with_the_spec(model, weights):
    task = registry.load("tasks", "segmentation")
    with pytest.raises(ValidationError, match="do not fit model"):
        task.Params(model=model, weights=weights)


@pytest.mark.parametrize("freeze", [None, True, False])
def test_a_model_is_built_without_the_file_it_started_from(tmp_path, freeze):
    task = registry.load("tasks", "segmentation")
    random = task.Params(model="deeplabv3_resnet50")
    assert random.without_files() is random
    path = tmp_path / "weights.pt"
    torch.save(task.build(random, CLASSES).network.deeplab.state_dict(), path)
    fields = {"model": "deeplabv3_resnet50", "freeze_batch_norm": freeze}
    params = task.Params(**fields, weights=str(path))
    trained = task.build(params, CLASSES)
    path.unlink()
    task.build(params.without_files(), CLASSES).load_state_dict(trained.state_dict())
