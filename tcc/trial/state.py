"""What a training in progress needs to go on: one safetensors file beside its trial.

    weights.NAME   best.NAME   optimizer.INDEX.NAME   rows     tensors
    trial, parents, step, seconds, history, names, terms       metadata, as JSON
    sha256                                                     of all the above

No generator's state is in it: a step's noise follows from its number (`loop`).
"""

from __future__ import annotations

import hashlib
import json
import logging
import time
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor
from torch.optim import Optimizer

from tcc.errors import CheckpointError
from tcc.methods import TrialModel
from tcc.stores import Store
from tcc.stores._disk import reading
from tcc.trial import checkpoint
from tcc.trial.course import Course
from tcc.trial.place import Place

log = logging.getLogger("tcc.trial")

AT_SELECTION_S = 2.0  # seconds of training that are worth saving at a selection …
BETWEEN_S = 30.0  # … and between two
WORK_PER_SAVE = 20  # and at least as many for each that the last saving took


class Keeper:
    """Saves a training's state in its trial's store, and takes it up again.

    ``parents``: what `Training.parents_sha256` will be; a state on other parents is not taken up.
    """

    def __init__(self, store: Store, trial: str, parents: Mapping[str, str], place: Place):
        self.store, self.trial, self.parents, self.place = store, trial, dict(parents), place
        self._begun = self._saved = time.monotonic()
        self._took = 0.0

    def restore(self, model: TrialModel, optimizer: Optimizer) -> Course:
        """Puts model and optimiser where the saved training was; a new course where there is none
        to trust.

        Raises:
            StoreError: the disk refuses to read it, which says nothing of what was saved.
        """
        course, path = Course(), self.store.state(self.trial)
        if path is not None:
            try:
                # opened here, too: safetensors says of any refusal that there is no such file
                with reading(path), path.open("rb"):
                    course = self._read(path, model, optimizer)
                log.info("going on after step %d", course.step)
            except (SafetensorError, CheckpointError, KeyError, ValueError) as error:
                log.warning("%s: cannot go on from it, starting over: %s", path, error)
        self._begun = time.monotonic() - course.seconds
        self._saved = time.monotonic()
        return course

    def offer(
        self, course: Course, model: TrialModel, optimizer: Optimizer, *, selecting: bool
    ) -> None:
        """Saves, where enough was done since the last time."""
        worth = max(AT_SELECTION_S if selecting else BETWEEN_S, WORK_PER_SAVE * self._took)
        if time.monotonic() - self._saved >= worth:
            self.save(course, model, optimizer)

    def save(self, course: Course, model: TrialModel, optimizer: Optimizer) -> None:
        """Replaces the saved state."""
        if not self.place.first:
            return
        begun = time.monotonic()
        course.seconds = begun - self._begun
        self.store.save_state(self.trial, lambda path: self._write(path, course, model, optimizer))
        self._saved = time.monotonic()
        self._took = self._saved - begun

    def _write(self, path: Path, course: Course, model: TrialModel, optimizer: Optimizer) -> None:
        tensors = {f"weights.{name}": value for name, value in model.trained_state().items()}
        tensors |= {f"best.{name}": value for name, value in course.best.items()}
        for index, parameter in enumerate(_parameters(optimizer)):
            for name, value in optimizer.state[parameter].items():
                tensors[f"optimizer.{index}.{name}"] = value
        if course.rows:
            tensors["rows"] = torch.stack(course.rows)
        tensors = checkpoint.portable(tensors)
        kept = {
            "trial": self.trial,
            "parents": self.parents,
            "step": course.step,
            "seconds": course.seconds,
            "history": course.history,
            "names": course.names,
            "terms": course.terms,
        }
        metadata = {name: json.dumps(value) for name, value in kept.items()}
        checkpoint.save(path, tensors, metadata | {"sha256": _sha256(tensors, metadata)})

    def _read(self, path: Path, model: TrialModel, optimizer: Optimizer) -> Course:
        """All is checked before anything is changed."""
        with safe_open(path, framework="pt") as file:
            metadata = dict(file.metadata() or {})
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        if metadata.pop("sha256", "") != _sha256(tensors, metadata):
            raise CheckpointError("its content is not what was saved")
        kept = {name: json.loads(text) for name, text in metadata.items()}
        if kept["trial"] != self.trial or kept["parents"] != self.parents:
            raise CheckpointError("it belongs to another trial or other parents")
        weights, best = _below(tensors, "weights."), _below(tensors, "best.")
        _refuse_unfitting(weights, model.trained_state())
        _refuse_unfitting(best or weights, weights)
        parameters, moments = _parameters(optimizer), _moments(_below(tensors, "optimizer."))
        for index, found in moments.items():
            for value in found.values():
                if value.ndim and value.shape != parameters[index].shape:
                    raise CheckpointError("its optimiser is another's")
        device = parameters[0].device
        model.load_trained(weights)
        for index, found in moments.items():
            parameter = parameters[index]
            optimizer.state[parameter] = {
                # in the memory format that fused Adam expects: the parameter's own
                name: torch.empty_like(parameter).copy_(value) if value.ndim else value.to(device)
                for name, value in found.items()
            }
        return Course(
            step=kept["step"],
            seconds=kept["seconds"],
            history=[(step, cost) for step, cost in kept["history"]],
            best=best,
            names=tuple(kept["names"]),
            rows=list(tensors["rows"].to(device)) if "rows" in tensors else [],
            terms=kept["terms"],
        )


def _parameters(optimizer: Optimizer) -> list[Tensor]:
    return [parameter for group in optimizer.param_groups for parameter in group["params"]]


def _below(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    found = tensors.items()
    return {name.removeprefix(prefix): x for name, x in found if name.startswith(prefix)}


def _moments(tensors: Mapping[str, Tensor]) -> dict[int, dict[str, Tensor]]:
    """Parameter's index → what Adam keeps of it."""
    moments: dict[int, dict[str, Tensor]] = {}
    for key, value in tensors.items():
        index, _, name = key.partition(".")
        moments.setdefault(int(index), {})[name] = value
    return moments


def _refuse_unfitting(found: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> None:
    shapes = [{name: value.shape for name, value in state.items()} for state in (found, wanted)]
    if shapes[0] != shapes[1]:
        raise CheckpointError("its weights are of another model")


def _sha256(tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> str:
    """Safetensors checks the length of what it holds, not its content."""
    digest = hashlib.sha256(json.dumps(sorted(metadata.items())).encode())
    for name in sorted(tensors):
        digest.update(name.encode())
        digest.update(checkpoint.raw(tensors[name]))
    return digest.hexdigest()
