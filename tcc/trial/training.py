"""One trial's training in one process: data, kept outputs of frozen parts, loop, saved weights."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from tcc import registry
from tcc.datasets import TRAINING, Split
from tcc.formats.sample import collate
from tcc.methods import TrialModel
from tcc.records import Training, TrialSpec
from tcc.stores import Store
from tcc.trial import checkpoint
from tcc.trial.complexity import kmac_per_pixel
from tcc.trial.course import Course
from tcc.trial.data import describe, labels_of, open_split
from tcc.trial.interrupt import Stop, end_if
from tcc.trial.loading import TrainingBatches, WholeImages
from tcc.trial.loop import train
from tcc.trial.parents import initial_weights, parents_of
from tcc.trial.place import Place
from tcc.trial.state import Keeper
from tcc.trial.watch import Listener

FROZEN_BYTES = 1 << 30  # what may be kept of frozen parts' outputs
SELECT_BYTES = 512 << 20  # of the select split, which is read at every selection


def run(
    model: Any,
    trial: TrialSpec,
    store: Store,
    place: Place,
    listener: Listener,
    stop: Stop,
) -> Training | None:
    """Trains a model, from where the trial's saved state is, and saves its weights in the store.

    Of several ranks only the first one saves, and gives a result. For ``stop``, which is asked in
    the setup too, and what is raised see `train`. After the last step nothing is asked: the end is
    nearer than what was done would be again.
    """
    recipe, data = trial.recipe.train, trial.recipe.datasets[0]
    labels, classes = labels_of(trial.recipe.tasks), _classes(trial)
    model.to(place.device, memory_format=torch.channels_last)
    batches = TrainingBatches(
        open_split(data, "train", place.workers, labels),
        recipe,
        seed=trial.seed,
        key=registry.load("methods", trial.method).batch_key(trial),
        place=place,
    )
    if batches.fixed:
        batches.frozen = _precompute(model, batches.samples, place, stop)
    select = WholeImages(open_split(data, "select", place.workers, labels), place, SELECT_BYTES)
    parents = {need: parent.sha256 for need, parent in parents_of(trial, store).items()}
    keeper = Keeper(store, trial.id, parents, place)
    end_if(stop)
    course = train(model, recipe, batches, select, place, keeper, listener, stop)
    if not place.first:
        return None
    sha256, last_sha256 = _saved(store, trial.id, course, model)
    measured = collate([select.samples[0]])
    return Training(
        steps=course.step,
        best_step=course.best_step,
        best_rd_cost=course.best_rd_cost,
        rd_cost=tuple(course.history),
        last_terms=course.terms,
        num_parameters={
            name: sum(parameter.numel() for parameter in part.parameters())
            for name, part in model.named_children()
        },
        kmac_per_pixel=kmac_per_pixel(model, measured.to(place.device)),
        kmac_size=measured.size,
        initial_weights=initial_weights(trial),
        checkpoint_sha256=sha256,
        last_sha256=last_sha256,
        parents_sha256=parents,
        classes=classes,
    )


def _classes(trial: TrialSpec) -> Mapping[str, tuple[str, ...]]:
    """Label kind of each task → the class names that its model was trained on."""
    found = describe(trial.recipe.datasets[0], *TRAINING).classes
    labels = {registry.load("tasks", use.plugin).label for use in trial.recipe.tasks}
    return {label: tuple(found.get(label, ())) for label in labels}


@torch.no_grad()
def _precompute(
    model: TrialModel, samples: Split, place: Place, stop: Stop
) -> Mapping[str, Tensor]:
    """The frozen parts' outputs for all training images; empty where there are none, too many or
    of several sizes."""
    assert isinstance(model, nn.Module)
    model.eval()
    first = collate([samples[0]])
    found = model.precompute(first.to(place.device))
    if not found or sum(x.nbytes for x in found.values()) * len(samples) > FROZEN_BYTES:
        return {}
    kept: dict[str, list[Tensor]] = {name: [] for name in found}
    for batch in WholeImages(samples, place.alone()):
        end_if(stop)
        if batch.size != first.size:
            return {}
        for name, value in model.precompute(batch.to(place.device)).items():
            kept[name].append(value.cpu())
    return {name: torch.cat(values) for name, values in kept.items()}


def _saved(store: Store, id: str, course: Course, model: TrialModel) -> tuple[str, str]:
    """Saves the picked weights, and the last where they are others; gives the files' hashes."""
    write = partial(checkpoint.write, trial_id=id)
    sha256 = store.save_checkpoint(id, lambda path: write(path, course.best))
    if course.step == course.best_step:
        return sha256, sha256
    last = model.trained_state()
    return sha256, store.save_last(id, lambda path: write(path, last))
