import pytest
import torch
from pydantic import ValidationError
from safetensors.torch import save_file
from torchvision.models import WeightsEnum
from torchvision.models.detection import fasterrcnn_mobilenet_v3_large_320_fpn
from torchvision.models.segmentation import deeplabv3_resnet50, lraspp_mobilenet_v3_large

from tcc import registry
from tcc.errors import CheckpointError

PUBLISHED = [
    ("depth", "lraspp_mobilenet_v3_large"),
    ("segmentation", "deeplabv3_resnet50"),
    ("detection", "fasterrcnn_mobilenet_v3_large_320_fpn"),
    ("detection", "fasterrcnn_resnet50_fpn_v2"),
]
CLASSES = ("a", "b", "c")


def _build(task_name, **params):
    task = registry.load("tasks", task_name)
    return task.build(task.Params(**params), CLASSES)


@pytest.fixture
def offline(monkeypatch):
    def refuse(*_args, **_kwargs):
        raise AssertionError("weights were downloaded")

    monkeypatch.setattr(WeightsEnum, "get_state_dict", refuse)
    monkeypatch.setattr(torch.hub, "load_state_dict_from_url", refuse)


@pytest.mark.parametrize(("task_name", "model"), PUBLISHED)
def test_nothing_is_downloaded_by_default(task_name, model, offline):
    assert list(_build(task_name, model=model).parameters())


@pytest.mark.parametrize(
    ("task_name", "model", "weights", "published", "part", "last_layers"),
    [
        (
            "depth",
            "lraspp_mobilenet_v3_large",
            "LRASPP_MobileNet_V3_Large_Weights.COCO_WITH_VOC_LABELS_V1",
            lambda: lraspp_mobilenet_v3_large(num_classes=21, weights_backbone=None),
            "network.lraspp",
            {"classifier.low_classifier", "classifier.high_classifier"},
        ),
        (
            "segmentation",
            "deeplabv3_resnet50",
            "DeepLabV3_ResNet50_Weights.DEFAULT",
            lambda: deeplabv3_resnet50(num_classes=21, weights_backbone=None, aux_loss=True),
            "network.deeplab",
            {"classifier.4", "aux_classifier.4"},
        ),
        (
            "detection",
            "fasterrcnn_mobilenet_v3_large_320_fpn",
            "FasterRCNN_MobileNet_V3_Large_320_FPN_Weights.COCO_V1",
            lambda: fasterrcnn_mobilenet_v3_large_320_fpn(num_classes=91, weights_backbone=None),
            "detector",
            {"roi_heads.box_predictor.cls_score", "roi_heads.box_predictor.bbox_pred"},
        ),
    ],
)
def test_torchvision_weights_keep_all_but_the_last_layer(
    task_name, model, weights, published, part, last_layers, monkeypatch
):
    state = published().state_dict()
    monkeypatch.setattr(WeightsEnum, "get_state_dict", lambda *_args, **_kwargs: state)
    own = _build(task_name, model=model, weights=weights).state_dict()
    inner = {key.removeprefix(f"{part}."): value for key, value in own.items()}
    assert inner.keys() <= state.keys()
    anew = {key.rpartition(".")[0] for key in inner if not torch.equal(inner[key], state[key])}
    assert anew == last_layers


def test_backbone_weights_are_loaded_into_the_backbone(monkeypatch):
    from torchvision.models import mobilenet_v3_large

    state = mobilenet_v3_large().state_dict()
    monkeypatch.setattr(WeightsEnum, "get_state_dict", lambda *_args, **_kwargs: state)
    model = _build(
        "depth",
        model="lraspp_mobilenet_v3_large",
        weights="MobileNet_V3_Large_Weights.IMAGENET1K_V1",
    )
    loaded = model.network.lraspp.backbone["0"][0].weight
    assert torch.equal(loaded, state["features.0.0.weight"])


@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
@pytest.mark.parametrize("task_name", ["depth", "segmentation", "detection"])
def test_a_state_dict_is_loaded_whole(task_name, suffix, tmp_path):
    part = {"depth": "network", "segmentation": "network.dense", "detection": "detector"}[task_name]
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


def test_an_unknown_name_lists_what_there_is(offline):
    with pytest.raises(CheckpointError, match=r"ResNet50_Weights\.IMAGENET1K_V2"):
        _build("segmentation", model="deeplabv3_resnet50", weights="ResNet50_Weights.IMAGENET9")
