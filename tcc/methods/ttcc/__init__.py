"""Task-compatible compression: a base layer for one task, an enhancement layer for another.

    L_b = λ_b · d_b(Ẑ_b, Z_b) + R(Ŷ_b)       + β · d_a(X̂, X)     base, trained first, then frozen
    L_e = λ_e · d_e(Ẑ_e, Z_e) + R(Ŷ_e | Ŷ_b)                     enhancement, base frozen

Source: "Towards Task-Compatible Compressible Representations", equations of the base and of the
enhancement. `kinds` says what trials a pair expands to, `build` makes their models.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, PositiveFloat, field_validator

from tcc import registry
from tcc.methods import Method, MethodParams, TrialModel
from tcc.methods.ttcc.kinds import FIELDS, KINDS, LAYERS, OPTIONAL, ROLES, expand
from tcc.records import PairGrid, TrialDraft, TrialSpec

Context = Literal["masked", "checkerboard", "none"]


class LayerParams(BaseModel):
    """What the enhancement layer has otherwise than the base; None: as the base."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    latent: int | None = Field(default=None, ge=1)
    context: Context | None = None
    hyperprior: bool | None = None


class SideParams(BaseModel):
    """The tower over Ŷ_b that conditions the enhancement's entropy model."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    width: int | None = Field(
        default=None, ge=1, description="features given; None: twice the latent's channels"
    )
    blocks: int = Field(default=2, ge=0, description="residual blocks before and after")


class Params(MethodParams):
    """Sizes of the codec; the defaults are the paper's."""

    channels: tuple[int, int, int] = Field(default=(24, 48, 192), description="of each stage")
    latent: int = Field(default=192, ge=1)
    blocks: int = Field(default=3, ge=0, description="residual blocks a stage")
    task_blocks: int = Field(default=1, ge=0, description="those of a synthesis with a task model")
    context: Context = "masked"
    hyperprior: bool = False
    enhancement: LayerParams = LayerParams()
    side: SideParams = SideParams()
    synthesis_input: Literal["enhancement", "both"] = "enhancement"
    reconstruction_decoder: bool = Field(
        default=True, description="train it beside a base whose β is 0, on the detached latent"
    )
    uncompressed_lambda: float = Field(default=1000.0, gt=0)
    pretrain_lambda: PositiveFloat | dict[str, PositiveFloat] = Field(
        default=1.0, description="or by task; 1 for a task that is not named"
    )

    @field_validator("pretrain_lambda")
    @classmethod
    def _by_known_tasks(cls, value: float | dict[str, float]) -> float | dict[str, float]:
        tasks = registry.names("tasks")
        for name in value if isinstance(value, dict) else ():
            if name not in tasks:
                raise ValueError(registry.unknown("task", name, tasks))
        return value

    @property
    def enhancement_layer(self) -> tuple[int, Context, bool]:
        """Latent channels, context and hyperprior of the enhancement layer."""
        layer = self.enhancement
        return (
            self.latent if layer.latent is None else layer.latent,
            self.context if layer.context is None else layer.context,
            self.hyperprior if layer.hyperprior is None else layer.hyperprior,
        )


class TaskCompatibleCompression(Method):
    """The method of the paper, with every arm that its comparisons need."""

    version = 1
    Params = Params
    kinds = KINDS
    optional = OPTIONAL
    tiny: ClassVar[Mapping[str, Any]] = {"channels": [4, 4, 8], "latent": 4, "blocks": 1}

    def expand(self, params: Params, grid: PairGrid) -> Iterator[TrialDraft]:
        return expand(params, grid)

    def recipe(self, params: Params, draft: TrialDraft) -> Mapping[str, Any]:
        fields = params.model_dump(mode="json", include=set(FIELDS[draft.kind]))
        if "enhancement" in fields:  # written out, so that equal layers are equal however written
            names = ("latent", "context", "hyperprior")
            fields["enhancement"] = dict(zip(names, params.enhancement_layer, strict=True))
        return fields

    def num_layers(self, kind: str) -> int:
        return LAYERS[kind]

    def codes_fast(self, params: Params) -> bool:
        return "masked" not in (params.context, params.enhancement_layer[1])

    def reported_tasks(self, draft: TrialDraft) -> tuple[str, ...]:
        return draft.uses

    def batch_key(self, trial: TrialSpec) -> tuple[str, ...]:
        return ROLES[trial.kind], trial.tasks[-1]

    def build(
        self,
        trial: TrialSpec,
        parents: Mapping[str, TrialSpec],
        make_task: Callable[[str], Any],
    ) -> TrialModel:
        from tcc.methods.ttcc.build import build

        return build(trial, parents, make_task)


PLUGIN = TaskCompatibleCompression()
