"""What trials a task pair expands to, what each needs and which parameters shape its weights."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from typing import TYPE_CHECKING

from tcc.records import PairGrid, TrialDraft

if TYPE_CHECKING:
    from tcc.methods.ttcc import Params

OPTIONAL = ("direct", "standalone", "single_layer", "uncompressed", "pixels")
KINDS = ("pretrain", "base", "enhancement", *OPTIONAL)

# Arms of one comparison share a role, hence initial weights and batch order.
ROLES = {
    "pretrain": "enhancement",
    "base": "base",
    "enhancement": "enhancement",
    "direct": "direct",
    "standalone": "enhancement",
    "single_layer": "enhancement",
    "uncompressed": "base",
    "pixels": "pixels",
}

# Of the files that are written with a trial of a kind.
LAYERS = dict.fromkeys(KINDS, 1) | {"enhancement": 2, "standalone": 2, "pixels": 0}

# What a base's decoder trains beside it is in the trial's tasks.
_SIZES = ("channels", "latent", "blocks", "task_blocks")
_BASE = (*_SIZES, "context", "hyperprior")
_LAYER = (*_SIZES, "enhancement", "side", "synthesis_input")
FIELDS: Mapping[str, tuple[str, ...]] = {
    "pretrain": _LAYER,
    "base": _BASE,
    "enhancement": _LAYER,
    "direct": ("channels", "blocks", "task_blocks"),
    "standalone": (),  # its parent's recipe says it all
    "single_layer": _LAYER,
    "uncompressed": _BASE,
    "pixels": (),
}

RECONSTRUCTION = "reconstruction"


def expand(params: Params, grid: PairGrid) -> Iterator[TrialDraft]:
    """The drafts of one pair. A draft that several trials need comes out equal each time."""
    for seed in grid.seeds:
        for draft in _expand_seed(params, grid, seed):
            if _wanted(draft, grid):
                yield draft


def _expand_seed(params: Params, grid: PairGrid, seed: int) -> Iterator[TrialDraft]:
    def draft(
        kind: str, *tasks: str, needs: tuple[TrialDraft, ...] = (), variant: str = "", **axes: float
    ) -> TrialDraft:
        auxiliary = ROLES[kind] == "base" and tasks[0] != RECONSTRUCTION
        auxiliary = auxiliary and (params.reconstruction_decoder or axes["beta"] > 0)
        return TrialDraft(
            kind=kind,
            tasks=tasks,
            uses=(tasks[0], RECONSTRUCTION) if auxiliary else tasks[-1:],
            dataset=grid.dataset,
            axes=axes,
            seed=seed,
            variant=variant,
            needs=needs,
        )

    base_task, task = grid.base, grid.enhancement
    warm: tuple[TrialDraft, ...] = ()
    if grid.warm_start == "pretrain":
        lmbda = params.pretrain_lambda
        high = lmbda.get(task, 1.0) if isinstance(lmbda, Mapping) else lmbda
        warm = (draft("pretrain", task, lambda_e=high),)
    # β only adds to λ_b where the base's own task is reconstruction: planned once.
    betas = (0.0,) if base_task == RECONSTRUCTION else grid.beta
    for beta in betas:
        variant = "relative" if beta > 0 and grid.beta_mode == "relative" else ""
        high = params.uncompressed_lambda
        yield draft("uncompressed", base_task, variant=variant, lambda_b=high, beta=beta)
        for index, lambda_b in enumerate(grid.lambda_b):
            on_base = partial(draft, variant=variant, lambda_b=lambda_b, beta=beta)
            base = on_base("base", base_task)
            yield base
            yield on_base("direct", base_task, task, needs=(base,))
            if grid.enhance_at is not None and lambda_b not in grid.enhance_at:
                continue
            zipped = grid.lambda_e[index : index + 1]
            for lambda_e in zipped if grid.pairing == "zip" else grid.lambda_e:
                at = partial(on_base, lambda_e=lambda_e)
                enhancement = at("enhancement", base_task, task, needs=(base, *warm))
                yield from (*warm, enhancement)
                yield at("standalone", base_task, task, needs=(enhancement,))
    for lambda_e in grid.lambda_e:
        yield draft("single_layer", task, needs=warm, lambda_e=lambda_e)
    for name in (base_task, task):
        if name != RECONSTRUCTION:
            yield draft("pixels", name)


def _wanted(draft: TrialDraft, grid: PairGrid) -> bool:
    if draft.kind not in OPTIONAL:
        return True
    if draft.kind not in grid.also:
        return False
    wanted = grid.also[draft.kind]
    return all(draft.axes.get(axis) in values for axis, values in wanted.items())
