"""Predictions that are worth measuring: a NaN counts as some class, or as no object at all."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from tcc.errors import NonFiniteError


def predicted(
    task: str, task_model: Any, decoded_B3HW: Tensor, keys: Sequence[str]
) -> Sequence[Any]:
    """A task model's predictions from what was decoded of images of these keys.

    Raises:
        NonFiniteError: what was decoded, what a layer of the model gives, or a prediction is NaN or
            infinite; names the image.
    """
    for key, decoded in zip(keys, decoded_B3HW.isfinite().flatten(1).all(1).tolist(), strict=True):
        if not decoded:
            raise _not_finite(task, f"what was decoded for {task}", key)
    with _watched(task_model, torch.sum) as sound:  # costs least, but overflows before the layer
        predictions = task_model.predict(decoded_B3HW)
    for key, prediction in zip(keys, predictions, strict=True):
        if not _finite(prediction):
            raise _not_finite(task, f"the prediction of {task}", key)
    if not sound() and (key := _first(task_model, decoded_B3HW, keys)) is not None:
        raise _not_finite(task, f"a layer's output of the {task} model", key)
    return predictions


def _not_finite(task: str, what: str, key: str) -> NonFiniteError:
    return NonFiniteError(f"{what} of image {key} is NaN or infinite", term=task)


def _first(task_model: Any, decoded_B3HW: Tensor, keys: Sequence[str]) -> str | None:
    """The first image on which some layer's output is not finite; None: there is none."""

    def sound(images_B3HW: Tensor) -> bool:
        with _watched(task_model, lambda x: torch.stack(torch.aminmax(x))) as found:
            task_model.predict(images_B3HW)
        return found()

    if sound(decoded_B3HW):
        return None
    alone = (key for key, image in zip(keys, decoded_B3HW, strict=True) if not sound(image[None]))
    return next(alone, f"{keys[0]} to {keys[-1]}, together,")


@contextmanager
def _watched(model: nn.Module, reduced: Callable[[Tensor], Tensor]) -> Iterator[Callable[[], bool]]:
    """Gives a function that says whether what all layers with weights gave within, ``reduced`` to
    one shape, was finite. It waits for the device, the layers do not."""
    found: list[Tensor] = []

    def look(_layer: nn.Module, _inputs: Any, output: Any) -> None:
        if isinstance(output, Tensor) and output.numel():
            found.append(reduced(output).float())

    layers = [layer for layer in model.modules() if next(layer.parameters(False), None) is not None]
    hooks = [layer.register_forward_hook(look) for layer in layers]
    try:
        yield lambda: not found or bool(torch.stack(found).isfinite().all())
    finally:
        for hook in hooks:
            hook.remove()


def _finite(prediction: Any) -> bool:
    """Whether all numbers of a prediction, of whatever form, are finite."""
    if isinstance(prediction, Tensor):
        return not prediction.is_floating_point() or bool(prediction.isfinite().all())
    if isinstance(prediction, Mapping):
        return all(_finite(item) for item in prediction.values())
    if isinstance(prediction, list | tuple):
        return all(_finite(item) for item in prediction)
    return True
