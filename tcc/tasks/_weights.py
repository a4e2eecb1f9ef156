"""Initial weights of the task models: torchvision's, by name, or a state dict's, by path.

Importing this file does not import torch.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, Self

from pydantic import Field, model_validator

from tcc.errors import CheckpointError
from tcc.tasks import TaskParams

if TYPE_CHECKING:
    from torch import nn
    from torchvision.models import WeightsEnum


class WeightNames(NamedTuple):
    """The torchvision enumerations whose weights fit a model: as a whole, or its backbone."""

    model: str
    backbone: str


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

    @model_validator(mode="after")
    def _weights_fit(self) -> Self:
        if self.weights is None or not is_name(self.weights):
            return self
        fitting = self.published.get(self.model, ())
        if self.weights.split(".")[0] not in fitting:
            allowed = [f"{name}.*" for name in fitting] + ["the path of a state dict"]
            raise ValueError(
                f"weights {self.weights!r} do not fit model {self.model!r}: "
                f"allowed are {', '.join(allowed)}"
            )
        return self


def is_name(weights: str) -> bool:
    """Whether ``weights`` is a torchvision name (``ResNet50_Weights.DEFAULT``), not a path."""
    return "_Weights." in weights and "/" not in weights


def torchvision_weights(
    params: NetworkParams,
) -> tuple[WeightsEnum | None, WeightsEnum | None]:
    """The ``weights`` and ``weights_backbone`` arguments of the model's torchvision builder.

    Both None unless ``params.weights`` is a torchvision name: torchvision would download a backbone
    where ``weights_backbone`` is left out.

    Raises:
        CheckpointError: torchvision has no weights of that name.
    """
    if params.weights is None or not is_name(params.weights):
        return None, None
    from torchvision.models import get_model_weights

    enumeration, _, member = params.weights.partition(".")
    members = get_model_weights(enumeration.removesuffix("_Weights").lower()).__members__
    if member not in members:
        allowed = ", ".join(f"{enumeration}.{name}" for name in members)
        raise CheckpointError(f"torchvision has no weights {params.weights!r}: there is {allowed}")
    found = members[member]
    return (found, None) if enumeration == params.published[params.model].model else (None, found)


def load_from_path(network: nn.Module, params: NetworkParams) -> None:
    """Loads a whole state dict, where ``params.weights`` is a path; never a part of one.

    Raises:
        CheckpointError: the file is missing, unreadable, or does not fit tensor by tensor.
    """
    if params.weights is None or is_name(params.weights):
        return
    path = params.weights
    state = _read(Path(path))
    own = network.state_dict()
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
    return state
