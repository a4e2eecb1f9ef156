"""torchvision's weights by name, from a cache folder as a download would have filled it."""

import hashlib
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
import torch
from torch import nn
from torchvision.models import (
    WeightsEnum,
    get_weight,
    mobilenet_v3_large,
    resnet18,
    resnet50,
)
from torchvision.models.detection import fasterrcnn_mobilenet_v3_large_320_fpn
from torchvision.models.segmentation import deeplabv3_resnet50, lraspp_mobilenet_v3_large
from torchvision.ops import FrozenBatchNorm2d

from tcc import registry
from tcc.errors import CheckpointError
from tcc.tasks import _weights

CLASSES = ("a", "b", "c")
MODELS = [
    ("classification", "resnet18"),
    ("classification", "resnet50"),
    ("depth", "lraspp_mobilenet_v3_large"),
    ("segmentation", "deeplabv3_resnet50"),
    ("detection", "fasterrcnn_mobilenet_v3_large_320_fpn"),
    ("detection", "fasterrcnn_resnet50_fpn_v2"),
]


def _build(task_name, **params):
    task = registry.load("tasks", task_name)
    return task.build(task.Params(**params), CLASSES)


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """An empty cache of torch.hub, and no network."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))

    def refuse(*_args, **_kwargs):
        raise AssertionError("something was downloaded")

    monkeypatch.setattr(_weights, "urlopen", refuse)
    monkeypatch.setattr(torch.hub, "download_url_to_file", refuse)
    return tmp_path / "hub/checkpoints"


@pytest.fixture
def publish(cache):
    """Puts random weights into the cache under torchvision's name; gives their state dict."""

    def put(name, network):
        with torch.no_grad():
            for key, tensor in network.state_dict().items():
                if key.endswith(("running_mean", "running_var")):
                    tensor.add_(0.3)
        cache.mkdir(parents=True)
        state = network.state_dict()
        torch.save(state, cache / get_weight(name).url.rpartition("/")[2])
        return state

    return put


def _normalisation(module):
    """Which of its normalisation layers are frozen."""
    layers = {
        name: layer
        for name, layer in module.named_modules()
        if isinstance(layer, FrozenBatchNorm2d | nn.BatchNorm2d)
    }
    return {name: isinstance(layer, FrozenBatchNorm2d) for name, layer in layers.items()}


@pytest.mark.parametrize(("task_name", "model"), MODELS)
def test_nothing_is_downloaded_or_frozen_by_default(task_name, model):
    built = _build(task_name, model=model)
    assert all(parameter.requires_grad for parameter in built.parameters())
    frozen = _normalisation(built)
    assert frozen
    assert not any(frozen.values())


@pytest.mark.parametrize(
    ("task_name", "model", "weights", "published", "part", "last_layers"),
    [
        (
            "classification",
            "resnet18",
            "ResNet18_Weights.IMAGENET1K_V1",
            resnet18,
            "network.resnet",
            {"fc"},
        ),
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
def test_weights_of_a_model_keep_all_but_the_last_layer_and_are_frozen(
    task_name, model, weights, published, part, last_layers, publish
):
    state = publish(weights, published())
    built = _build(task_name, model=model, weights=weights)
    inner = {key.removeprefix(f"{part}."): value for key, value in built.state_dict().items()}
    assert inner.keys() <= state.keys()
    anew = {key.rpartition(".")[0] for key in inner if not torch.equal(inner[key], state[key])}
    assert anew == last_layers
    assert all(_normalisation(built).values())
    assert all(parameter.requires_grad for parameter in built.parameters())
    params = registry.load("tasks", task_name).Params(model=model, weights=weights)
    assert params.initial_weights() == weights
    assert params.files() == {}


@pytest.mark.parametrize(
    ("task_name", "model", "weights", "published", "part", "first"),
    [
        (
            "depth",
            "lraspp_mobilenet_v3_large",
            "MobileNet_V3_Large_Weights.IMAGENET1K_V1",
            mobilenet_v3_large,
            "network.lraspp.backbone",
            ("0.0.weight", "features.0.0.weight"),
        ),
        (
            "detection",
            "fasterrcnn_resnet50_fpn_v2",
            "ResNet50_Weights.IMAGENET1K_V2",
            resnet50,
            "detector.backbone.body",
            ("conv1.weight", "conv1.weight"),
        ),
    ],
)
@pytest.mark.parametrize("freeze", [None, True, False])
def test_weights_of_a_backbone_freeze_the_backbone_alone(
    task_name, model, weights, published, part, first, freeze, publish
):
    state = publish(weights, published())
    built = _build(task_name, model=model, weights=weights, freeze_batch_norm=freeze)
    ours, theirs = first
    assert torch.equal(built.get_submodule(part).state_dict()[ours], state[theirs])
    assert all(parameter.requires_grad for parameter in built.parameters())
    frozen = _normalisation(built)
    backbone = {name for name in frozen if name.startswith(part)}
    assert 0 < len(backbone) < len(frozen)
    expected = {None: backbone, True: set(frozen), False: set()}[freeze]
    assert {name for name, is_frozen in frozen.items() if is_frozen} == expected


def test_frozen_normalisation_computes_what_it_did(publish):
    name = "ResNet18_Weights.IMAGENET1K_V1"
    network = resnet18()
    publish(name, network)
    built = _build("classification", model="resnet18", weights=name).network.resnet
    network.fc = built.fc
    image = torch.rand(2, 3, 64, 64)
    torch.testing.assert_close(built.train()(image), network.eval()(image), rtol=1e-4, atol=1e-4)
    before = {key: value.clone() for key, value in built.named_buffers()}
    built(image)
    assert all(torch.equal(before[key], value) for key, value in built.named_buffers())


def test_a_torn_file_in_the_cache_is_named(publish, cache):
    publish("ResNet18_Weights.IMAGENET1K_V1", resnet18())
    (path,) = cache.iterdir()
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(CheckpointError, match=path.name):
        _build("classification", model="resnet18", weights="ResNet18_Weights.IMAGENET1K_V1")


def test_an_unknown_name_lists_what_there_is():
    with pytest.raises(CheckpointError, match=r"ResNet50_Weights\.IMAGENET1K_V2"):
        _build("segmentation", model="deeplabv3_resnet50", weights="ResNet50_Weights.IMAGENET9")


@pytest.fixture
def server(monkeypatch):
    """torchvision's server, on the loopback: gives ``content``, or waits where that is None."""
    from urllib.request import urlopen

    monkeypatch.setattr(_weights, "urlopen", urlopen)
    monkeypatch.setenv("no_proxy", "*")
    stop = threading.Event()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            if self.server.content is None:
                stop.wait(30)
                return
            self.send_response(200)
            self.send_header("Content-Length", str(self.server.length))
            self.end_headers()
            self.wfile.write(self.server.content)

        def log_message(self, *_args):
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()

    def publish(content, digest=None, length=None):
        server.content, server.length = content, length or len(content or b"")
        digest = digest or hashlib.sha256(content or b"").hexdigest()
        url = f"http://127.0.0.1:{server.server_port}/models/resnet18-{digest[:8]}.pth"
        monkeypatch.setattr(WeightsEnum, "url", property(lambda self: url))

    yield publish
    stop.set()
    server.shutdown()
    thread.join()
    server.server_close()


def _resnet18():
    return _build("classification", model="resnet18", weights="ResNet18_Weights.DEFAULT")


def test_weights_are_downloaded_once(server, cache, monkeypatch):
    network = resnet18()
    path = cache.parent / "source.pth"
    path.parent.mkdir(parents=True)
    torch.save(network.state_dict(), path)
    server(path.read_bytes())
    built = _resnet18()
    assert torch.equal(built.network.resnet.conv1.weight, network.conv1.weight)
    assert len(list(cache.iterdir())) == 1
    monkeypatch.setattr(_weights, "urlopen", None)
    assert torch.equal(_resnet18().network.resnet.conv1.weight, network.conv1.weight)


@pytest.mark.parametrize(
    ("content", "digest", "length", "cause"),
    [
        (b"a proxy's page", "0" * 8, None, "SHA-256"),
        (b"the first part", None, 99, "IncompleteRead"),
        (None, None, None, "timed out"),
    ],
)
def test_a_failed_download_names_weights_cache_and_way_out(
    content, digest, length, cause, server, cache, monkeypatch
):
    monkeypatch.setattr(_weights, "DOWNLOAD_TIMEOUT_S", 0.3)
    server(content, digest, length)
    with pytest.raises(CheckpointError) as caught:
        _resnet18()
    for part in ("ResNet18_Weights.DEFAULT", str(cache), "TORCH_HOME", "path", cause):
        assert part in str(caught.value)
    assert not cache.exists()


def test_no_network_is_told_at_once(server, monkeypatch):
    url = "http://127.0.0.1:9/models/resnet18-00000000.pth"  # nothing listens there
    monkeypatch.setattr(WeightsEnum, "url", property(lambda self: url))
    with pytest.raises(CheckpointError, match="refused"):
        _resnet18()
