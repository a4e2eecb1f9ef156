"""Builds the model of each trial kind from its spec, every part under a seed of its own.

A part's initial weights depend on (seed, role, task, part) only, so the arms of a comparison
start alike: enhancement, standalone, single_layer and pretrain share a role.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from tcc.codec.entropy import EntropyModel
from tcc.codec.seeding import seeded
from tcc.codec.side import SideTower
from tcc.codec.transforms import AnalysisTransform, SynthesisTransform
from tcc.methods import TrialModel
from tcc.methods.ttcc import Params
from tcc.methods.ttcc.base import BaseModel
from tcc.methods.ttcc.enhancement import EnhancementModel
from tcc.methods.ttcc.kinds import RECONSTRUCTION, ROLES
from tcc.methods.ttcc.parts import Branch, Codec
from tcc.methods.ttcc.readers import DirectModel, PixelsModel
from tcc.records import TrialSpec

MakeTask = Callable[[str], Any]


def build(trial: TrialSpec, parents: Mapping[str, TrialSpec], make_task: MakeTask) -> TrialModel:
    """The trial's model with its initial weights."""
    task = trial.tasks[-1]
    match trial.kind:
        case "base" | "uncompressed":
            return _base_model(trial, make_task)
        case "pretrain" | "single_layer" | "enhancement" | "standalone":
            return _enhancement_model(trial, parents, make_task)
        case "direct":
            base = parents["base"]
            branch = _branch(trial, task, "branch", _params(base).latent, make_task)
            return DirectModel(task, _base_codec(base), branch)
        case "pixels":
            with seeded(trial.seed, ROLES[trial.kind], task, "task_model"):
                return PixelsModel(task, make_task(task))
        case kind:
            raise ValueError(f"no such trial kind: {kind!r}")


def _base_model(trial: TrialSpec, make_task: MakeTask) -> BaseModel:
    params, task, axes = _params(trial), trial.tasks[0], trial.axes
    auxiliary = None
    if len(trial.recipe.tasks) > 1:
        auxiliary = _branch(trial, RECONSTRUCTION, "auxiliary", params.latent, make_task)
    relative = trial.variant == "relative"
    return BaseModel(
        task,
        _base_codec(trial),
        _branch(trial, task, "branch", params.latent, make_task),
        auxiliary,
        lmbda=axes["lambda_b"],
        auxiliary_weight=axes["beta"] * (axes["lambda_b"] if relative else 1.0),
    )


def _enhancement_model(
    trial: TrialSpec, parents: Mapping[str, TrialSpec], make_task: MakeTask
) -> EnhancementModel:
    shaped_by = parents["enhancement"] if trial.kind == "standalone" else trial
    params, task, key = _params(shaped_by), trial.tasks[-1], _key(shaped_by)
    latent, context, hyperprior = params.enhancement_layer
    base = parents.get("base")
    base_latent = params.latent if base is None else _params(base).latent
    with seeded(*key, "tower"):
        tower = SideTower(base_latent, params.side.width, params.side.blocks)
    with seeded(*key, "analysis"):
        analysis = AnalysisTransform(params.channels, latent, params.blocks)
    with seeded(*key, "entropy"):
        # The side input is there in every arm, so that one's weights load into another.
        entropy = EntropyModel(
            latent, context=context, hyperprior=hyperprior, side_features=tower.out_features
        )
    both = params.synthesis_input == "both"  # without a base, it sees zeros in Ŷ_b's place
    return EnhancementModel(
        task,
        None if base is None else _base_codec(base),
        tower if trial.kind == "enhancement" else None,
        Codec(analysis, entropy, trial.recipe.train.scale),
        _branch(shaped_by, task, "branch", latent + base_latent * both, make_task),
        lmbda=trial.axes["lambda_e"],
        seen_of_base=base_latent * both,
        entropy_only=trial.kind == "standalone",
    )


def _base_codec(base: TrialSpec) -> Codec:
    params, key = _params(base), _key(base)
    with seeded(*key, "analysis"):
        analysis = AnalysisTransform(params.channels, params.latent, params.blocks)
    with seeded(*key, "entropy"):
        entropy = EntropyModel(params.latent, context=params.context, hyperprior=params.hyperprior)
    return Codec(analysis, entropy, base.recipe.train.scale)


def _branch(trial: TrialSpec, task: str, part: str, latent: int, make_task: MakeTask) -> Branch:
    params, key = _params(trial), _key(trial)
    blocks = params.blocks if task == RECONSTRUCTION else params.task_blocks
    with seeded(*key, part, "synthesis"):
        synthesis = SynthesisTransform(params.channels, latent, blocks)
    with seeded(*key, part, "task_model"):
        return Branch(synthesis, make_task(task), trial.recipe.train.scale)


def _params(trial: TrialSpec) -> Params:
    return Params.model_validate(dict(trial.recipe.method.params))


def _key(trial: TrialSpec) -> tuple[int, str, str]:
    return trial.seed, ROLES[trial.kind], trial.tasks[-1]
