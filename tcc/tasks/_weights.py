"""Initial weights of the task models: torchvision's, by name, or a state dict's, by path.

However a network starts, all of its layers are trained. Given published weights, torchvision's
detectors would silently hold the first stages of their backbone fixed; but those have learnt from
natural images, and what a task model reads here is a codec's output. Only batch normalisation is
held, as it was learnt: see ``freeze_batch_norm``.

Importing this file does not import torch.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from http.client import HTTPException
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, NamedTuple, Self
from urllib.request import urlopen

from pydantic import Field, field_validator, model_validator

from tcc.errors import CheckpointError
from tcc.formats import atomic
from tcc.tasks import TaskParams

if TYPE_CHECKING:
    from torch import nn
    from torchvision.models import WeightsEnum

DOWNLOAD_TIMEOUT_S = 60  # without an answer; torch.hub would wait for ever


class WeightNames(NamedTuple):
    """The torchvision enumerations whose weights fit a model: as a whole, or its backbone."""

    model: str
    backbone: str | None = None


class NetworkParams(TaskParams):
    """What the tasks with a network share. Subclasses add ``model``."""

    published: ClassVar[Mapping[str, WeightNames]] = {}  # model → torchvision's weights for it

    model: str
    width: int = Field(
        default=32, ge=4, multiple_of=2, description="of model small: channels of its feature map"
    )
    weights: str | None = Field(
        default=None,
        description="initial weights: torchvision's name of weights of the model (such as "
        "FasterRCNN_ResNet50_FPN_V2_Weights.COCO_V1; its last layer is made anew for the data "
        "set's classes) or of its backbone (ResNet50_Weights.IMAGENET1K_V2), or the path of a "
        "state dict of the whole network with the data set's classes (.safetensors or .pt); "
        "none: random weights, and nothing is downloaded",
    )
    freeze_batch_norm: bool | None = Field(
        default=None,
        description="of torchvision's models: keep the statistics, scales and shifts of all batch "
        "normalisation as they start (true) or train them (false, but for those that torchvision "
        "itself gives a detector with its weights); none: keep those that start from weights, so "
        "of the whole network or of its backbone, and train those that start at random",
    )

    @field_validator("weights")
    @classmethod
    def _absolute(cls, weights: str | None) -> str | None:
        # trials run in other working directories than the one where their spec was read
        if weights is None or is_name(weights):
            return weights
        return str(Path(weights).expanduser().absolute())

    @model_validator(mode="after")
    def _weights_fit(self) -> Self:
        if self.weights is None or not is_name(self.weights):
            return self
        fitting = [name for name in self.published.get(self.model, ()) if name]
        if self.weights.split(".")[0] not in fitting:
            allowed = [f"{name}.*" for name in fitting] + ["the path of a state dict"]
            raise ValueError(
                f"weights {self.weights!r} do not fit model {self.model!r}: "
                f"allowed are {', '.join(allowed)}"
            )
        return self

    @property
    def origin(self) -> Literal["random", "model", "backbone", "file"]:
        """What the network starts from: nothing, torchvision's weights of it or of its backbone,
        or a file of it."""
        if self.weights is None:
            return "random"
        if not is_name(self.weights):
            return "file"
        is_model = self.weights.split(".")[0] == self.published[self.model].model
        return "model" if is_model else "backbone"

    def files(self) -> Mapping[str, Path]:
        return {"weights": Path(str(self.weights))} if self.origin == "file" else {}

    def initial_weights(self) -> str:
        return str(self.weights) if self.origin in ("model", "backbone") else self.origin

    def without_files(self) -> Self:
        if self.origin != "file":
            return self
        frozen = self.freeze_batch_norm is not False  # as it is where weights come from a file
        return self.model_copy(update={"weights": None, "freeze_batch_norm": frozen})


def is_name(weights: str) -> bool:
    """Whether ``weights`` is a torchvision name (``ResNet50_Weights.DEFAULT``), not a path."""
    return "_Weights." in weights and "/" not in weights


def builder_arguments(params: NetworkParams, num_outputs: int) -> dict[str, Any]:
    """The weights and the number of classes for the model's torchvision builder.

    Weights of the whole model come with their own number of classes: where ``params.origin`` is
    ``model``, the caller makes the last layer anew. Weights that the cache lacks are downloaded.

    Raises:
        CheckpointError: torchvision has no weights of that name, or they cannot be fetched.
    """
    arguments: dict[str, Any] = {"weights": None, "num_classes": num_outputs}
    if params.published[params.model].backbone is not None:
        arguments["weights_backbone"] = None  # left out, torchvision would download a backbone
    if params.origin == "backbone":
        arguments["weights_backbone"] = _torchvision_weights(params)
    if params.origin == "model":
        arguments["weights"] = _torchvision_weights(params)
        del arguments["num_classes"]
    return arguments


def initialise(
    network: nn.Module, params: NetworkParams, backbone: nn.Module | None = None
) -> None:
    """Finishes a network that was just built: loads the state dict where ``params.weights`` is a
    path, lets every layer be trained, and freezes batch normalisation as ``params`` say.

    Raises:
        CheckpointError: the file is missing, unreadable, or does not fit tensor by tensor.
    """
    if params.origin == "file":
        _load(network, Path(str(params.weights)))
    network.requires_grad_(True)
    if params.freeze_batch_norm or (
        params.freeze_batch_norm is None and params.origin in ("model", "file")
    ):
        _freeze_batch_norm(network)
    elif params.freeze_batch_norm is None and params.origin == "backbone":
        assert backbone is not None
        _freeze_batch_norm(backbone)


def _freeze_batch_norm(network: nn.Module) -> None:
    from torch import nn
    from torchvision.ops import FrozenBatchNorm2d

    for name, child in network.named_children():
        if isinstance(child, nn.BatchNorm2d):
            frozen = FrozenBatchNorm2d(child.num_features, child.eps)
            frozen.load_state_dict(child.state_dict())
            setattr(network, name, frozen)
        else:
            _freeze_batch_norm(child)


def _load(network: nn.Module, path: Path) -> None:
    """Loads a whole state dict, never a part of one, but for the batch counters that trained
    normalisation has and frozen normalisation has not."""
    state, own = _read(path), network.state_dict()
    counters = {
        name.removesuffix("running_mean") + "num_batches_tracked"
        for name in own
        if name.endswith("running_mean")
    }
    for name in counters & own.keys():
        state.setdefault(name, own[name])
    for name in counters - own.keys():
        state.pop(name, None)
    wrong = [f"{name} is missing" for name in own if name not in state]
    wrong += [f"{name} is unexpected" for name in state if name not in own]
    wrong += [
        f"{name} has shape {tuple(state[name].shape)}, not {tuple(tensor.shape)}"
        for name, tensor in own.items()
        if name in state and state[name].shape != tensor.shape
    ]
    if wrong:
        rest = f" and {len(wrong) - 5} more" if len(wrong) > 5 else ""
        raise CheckpointError(
            f"weights {path}: do not fit {type(network).__name__}: {'; '.join(wrong[:5])}{rest}"
        )
    network.load_state_dict(state)


def _read(path: Path) -> dict[str, Any]:
    import torch
    from safetensors.torch import load_file

    if not path.is_file():
        raise CheckpointError(
            f"weights {path}: no such file; give a torchvision name such as "
            "'ResNet50_Weights.DEFAULT' or the path of a .safetensors or .pt state dict"
        )
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a torn or foreign file makes the readers raise almost anything
        raise CheckpointError(f"weights {path}: cannot be read: {error}") from error
    if not isinstance(state, dict) or not all(torch.is_tensor(item) for item in state.values()):
        raise CheckpointError(
            f"weights {path}: holds no state dict (names → tensors); "
            "save with torch.save(network.state_dict(), path)"
        )
    return dict(state)


def _torchvision_weights(params: NetworkParams) -> WeightsEnum:
    """The weights of that name, in the cache of torch.hub and readable."""
    import torch
    from torchvision.models import get_model_weights

    enumeration, _, member = str(params.weights).partition(".")
    members = get_model_weights(enumeration.removesuffix("_Weights").lower()).__members__
    if member not in members:
        allowed = ", ".join(f"{enumeration}.{name}" for name in members)
        raise CheckpointError(f"torchvision has no weights {params.weights!r}: there is {allowed}")
    weights = members[member]
    path = Path(torch.hub.get_dir()) / "checkpoints" / weights.url.rpartition("/")[2]
    if path.is_file():
        _read(path)  # torchvision would not name a file that is torn, and would unpickle anything
    else:
        _download(str(params.weights), weights.url, path)
    return weights


def _download(name: str, url: str, path: Path) -> None:
    """Puts a file into the cache of torch.hub as torchvision would, but never waits for ever."""
    try:
        with urlopen(url, timeout=DOWNLOAD_TIMEOUT_S) as answer:
            content = answer.read()
        digest, expected = hashlib.sha256(content).hexdigest(), path.stem.rpartition("-")[2]
        if not digest.startswith(expected):
            raise OSError(f"its SHA-256 begins with {digest[:8]}, not {expected}")
        path.parent.mkdir(parents=True, exist_ok=True)
        atomic.write_bytes(path, content)
    except (OSError, HTTPException) as error:
        raise CheckpointError(
            f"weights {name}: {url} cannot be fetched to {path}: {error}; put that file there by "
            "hand (environment variable TORCH_HOME moves the folder), or give the path of a state "
            "dict of the whole network"
        ) from error
