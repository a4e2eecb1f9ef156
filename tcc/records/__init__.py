"""The frozen types that pass between rooms. Standard library only, no input or output."""

from tcc.records.curves import BDRate, CurveKey, RDCurve, RDPoint
from tcc.records.frozen import FrozenMap
from tcc.records.plugins import DatasetInfo, DatasetUse, MetricInfo, PluginUse
from tcc.records.results import (
    SCHEMA,
    CodingGap,
    EvaluationRecord,
    FailureRecord,
    ImageResult,
    Metric,
    Progress,
    Provenance,
    Rate,
    Training,
    TrialRecord,
)
from tcc.records.runs import Holder, RunRecord
from tcc.records.trials import (
    LOOP_VERSION,
    EvaluationSpec,
    PairGrid,
    Plan,
    Recipe,
    Resources,
    TrainRecipe,
    TrialDraft,
    TrialSpec,
)

__all__ = [
    "LOOP_VERSION",
    "SCHEMA",
    "BDRate",
    "CodingGap",
    "CurveKey",
    "DatasetInfo",
    "DatasetUse",
    "EvaluationRecord",
    "EvaluationSpec",
    "FailureRecord",
    "FrozenMap",
    "Holder",
    "ImageResult",
    "Metric",
    "MetricInfo",
    "PairGrid",
    "Plan",
    "PluginUse",
    "Progress",
    "Provenance",
    "RDCurve",
    "RDPoint",
    "Rate",
    "Recipe",
    "Resources",
    "RunRecord",
    "TrainRecipe",
    "Training",
    "TrialDraft",
    "TrialRecord",
    "TrialSpec",
]
