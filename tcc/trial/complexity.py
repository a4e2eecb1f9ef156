"""What a model costs to use: multiply-accumulates per pixel, by part.

Counted are convolutions, transposed convolutions and matrix products, in the shapes in which they
run: borders, and the masked weights of a context model, count in full. Not counted: activations,
sums, resizing, RoIAlign, non-maximum suppression, and the coding of the symbols themselves.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from tcc.formats.sample import Batch
from tcc.methods import TrialModel

REST = "rest"  # what runs in no part's forward pass
FLOPS_PER_KMAC = 2000  # a multiplication and an addition each


def kmac_per_pixel(model: TrialModel, batch: Batch) -> dict[str, float]:
    """Thousand multiply-accumulates per pixel of the original images, by part and in ``total``, of
    measuring a batch and predicting every task from it.

    A part is a named child of the model or, where that has several children of its own, each of
    them: ``codec.analysis``, ``codec.entropy``, ``tower``, ``branch.synthesis`` … Parts without
    any of what is counted are left out. What a detector's heads cost depends on the regions that
    are proposed, thus on weights and images. Everything runs in full precision and in evaluation
    mode; random generators and training modes are as before afterwards.
    """
    assert isinstance(model, nn.Module)
    parts = _parts(model)
    with _evaluating(model, batch.image_B3HW.device), _Counting(parts) as counting:
        measured = model.measure(batch)
        for task, output in measured.outputs.items():
            task_model = model.task_model(task)
            with counting.inside(parts.get(task_model, REST)):
                task_model.predict(output.float())
    pixels = sum(height * width for height, width in batch.sizes)
    kmac = {part: flops / pixels / FLOPS_PER_KMAC for part, flops in counting.flops.items()}
    return {**kmac, "total": counting.flops.total() / pixels / FLOPS_PER_KMAC}


def _parts(model: nn.Module) -> dict[nn.Module, str]:
    """Each module below the model → the part that it belongs to."""
    several = {name for name, child in model.named_children() if len(list(child.children())) > 1}
    found = {}
    for path, module in model.named_modules():
        names = path.split(".")
        found[module] = ".".join(names[: 2 if names[0] in several else 1]) or REST
    return found


class _Counting(TorchDispatchMode):
    """Adds what runs to the part of the innermost module whose forward pass it is in."""

    def __init__(self, parts: Mapping[nn.Module, str]):
        super().__init__()
        self.flops: Counter[str] = Counter()
        self._parts, self._open, self._hooks = parts, [REST], []

    def __enter__(self) -> _Counting:
        for module in self._parts:
            self._hooks.append(module.register_forward_pre_hook(self._enter))
            self._hooks.append(module.register_forward_hook(self._leave))
        return super().__enter__()

    def __exit__(self, *error: Any) -> None:
        super().__exit__(*error)
        for hook in self._hooks:
            hook.remove()

    @contextmanager
    def inside(self, part: str) -> Iterator[None]:
        """For a part that is called by another method than its forward pass."""
        self._open.append(part)
        yield
        self._open.pop()

    def _enter(self, module: nn.Module, _inputs: Any) -> None:
        self._open.append(self._parts[module])

    def _leave(self, _module: nn.Module, _inputs: Any, _output: Any) -> None:
        self._open.pop()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        result = func(*args, **kwargs)
        formula = flop_registry.get(func.overloadpacket)
        if formula is not None:
            self.flops[self._open[-1]] += formula(*args, **kwargs, out_val=result)
        return result


@contextmanager
def _evaluating(model: nn.Module, device: torch.device) -> Iterator[None]:
    """Evaluation mode, full precision and no gradients; all as before afterwards, random
    generators too."""
    training = {module: module.training for module in model.modules()}
    model.eval()
    try:
        with (
            torch.no_grad(),
            torch.autocast(device.type, enabled=False),
            torch.random.fork_rng([device] if device.type == "cuda" else []),
        ):
            yield
    finally:
        for module, mode in training.items():
            module.training = mode
