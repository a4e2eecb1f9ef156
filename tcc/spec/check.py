"""What only shows when the sections of a spec are read together, and with the plug-ins."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from tcc import registry
from tcc.methods import Method
from tcc.records import FrozenMap
from tcc.spec.anchors import check_anchors
from tcc.spec.document import Document, Path
from tcc.spec.grids import close, enhanced, merged, of_task, pair_grid
from tcc.spec.pairs import PlacedPair, check_pairs
from tcc.spec.plugins import check_data, check_method, check_tasks
from tcc.spec.schema import Grid, SweepSpec
from tcc.spec.training import check_training


def check(document: Document, spec: SweepSpec) -> SweepSpec:
    """Reports all that is wrong with a spec. Gives it complete, as far as it is right: parameters
    in full, absolute paths, described data, each pair with one base, enhancement and data set."""
    for key in ("study", "data", "pairs"):
        if key not in document.data and not document.touched((key,)):
            document.report((), f"the key {key!r} is missing")
    method, params = check_method(document, spec)
    data = check_data(document, spec)
    tasks = check_tasks(document, spec)
    pairs, left_out = check_pairs(document, spec, data)
    complete = spec.model_copy(
        update={
            "data": FrozenMap(data),
            "tasks": FrozenMap(tasks),
            "pairs": tuple(placed.pair for placed in pairs),
            "model": FrozenMap(params and params.model_dump(mode="json")),
        }
    )
    complete = complete.model_copy(update={"report": check_anchors(document, complete)})
    policies = registry.names("search")
    if spec.search.policy not in policies:
        text = registry.unknown("search policy", spec.search.policy, policies)
        document.report(("search", "policy"), text)
    _check_evaluations(document, complete)
    _check_grid_tasks(document, spec)
    _check_lambdas(document, spec, pairs)
    for placed in pairs:
        _check_grid(document, spec, placed)
    if method is not None:
        _check_kinds(document, spec, method)
        check_training(document, spec, _trained(document, complete, method, params))
        if params is not None:
            _check_filters(document, complete, method, params)
    return complete.noted(left_out)


def _check_evaluations(document: Document, spec: SweepSpec) -> None:
    trained_on = sorted({pair.dataset for pair in spec.pairs if pair.dataset})
    declared = tuple(document.data.get("data") or ())
    for index, evaluation in enumerate(spec.evaluate):
        at = document.path(("evaluate", index, "data"))
        for name in [evaluation.data] if evaluation.data else trained_on:
            if name in spec.data:
                splits = {key: count for key, count in spec.data[name].info.splits.items() if count}
                if evaluation.split not in splits:
                    what = f"split of the data set {name!r}"
                    message = registry.unknown(what, evaluation.split, tuple(sorted(splits)))
                    document.report(at, message)
            elif name not in declared and not document.touched(("data", name)):
                document.report(at, registry.unknown("data set", name, declared))


def _check_lambdas(document: Document, spec: SweepSpec, pairs: Iterable[PlacedPair]) -> None:
    """There are λ for both tasks of each pair."""
    lacking: dict[Path, list[str]] = {}
    for placed in pairs:
        for key, task in (("lambda_b", placed.pair.base), ("lambda_e", placed.pair.enhancement)):
            at = _grid_path(placed, key)
            known = of_task(getattr(merged(spec, placed.pair), key), task)
            if not known and not document.touched(at):
                lacking.setdefault(at, []).append(repr(task))
    for at, tasks in lacking.items():
        names = list(dict.fromkeys(tasks))
        plural = "s" if len(names) > 1 else ""
        document.report(at, f"there are no values for the task{plural} {', '.join(names)}")


def _grid_path(placed: PlacedPair, key: str) -> Path:
    """Where a pair's values of an axis are written: in its own grid, or the study's."""
    own = key in placed.pair.grid.model_fields_set
    return ("pairs", placed.index, "grid", key) if own else ("grid", key)


def _check_grid(document: Document, spec: SweepSpec, placed: PlacedPair) -> None:
    """The λ of a pair's two tasks fit each other."""
    pair = placed.pair
    grid = merged(spec, pair)
    lambdas = {
        "lambda_b": of_task(grid.lambda_b, pair.base),
        "lambda_e": of_task(grid.lambda_e, pair.enhancement),
    }
    if document.touched(("grid",)) or not all(lambdas.values()):
        return
    if grid.pairing == "zip" and len(lambdas["lambda_b"]) != len(lambdas["lambda_e"]):
        counts = " and ".join(f"{len(values)} {key}" for key, values in lambdas.items())
        message = f"zip needs as many λ_e as λ_b: {pair.base} → {pair.enhancement} has {counts}"
        document.report(document.path(_grid_path(placed, "pairing")), message)
    wanted = enhanced(grid, pair.base)
    missing = [value for value in wanted if not any(close(value, b) for b in lambdas["lambda_b"])]
    if missing:
        message = (
            f"{_listed(missing)} is no lambda_b of {pair.base} → {pair.enhancement}: "
            f"there is {_listed(lambdas['lambda_b'])}"
        )
        at = (*_grid_path(placed, "enhance_at"), "lambda_b")
        own = (*at, pair.base)
        document.report(document.path(own if document.has(own) else at), message)


def _check_grid_tasks(document: Document, spec: SweepSpec) -> None:
    """λ are given for tasks that there are."""
    tasks = registry.names("tasks")
    grids: list[tuple[Path, Grid]] = [(("grid",), spec.grid)]
    grids += [(("pairs", index, "grid"), pair.grid) for index, pair in enumerate(spec.pairs)]
    for path, grid in grids:
        at: dict[Path, Any] = {("lambda_b",): grid.lambda_b, ("lambda_e",): grid.lambda_e}
        if grid.enhance_at is not None:
            at["enhance_at", "lambda_b"] = grid.enhance_at.lambda_b
        for key, by_task in at.items():
            for name in by_task if isinstance(by_task, Mapping) else ():
                if name not in tasks:
                    message = registry.unknown("task", name, tasks)
                    document.report(document.path((*path, *key, name)), message)


def _check_kinds(document: Document, spec: SweepSpec, method: Method) -> None:
    for index, also in enumerate(spec.also):
        at = document.path(("also", index, also.kind))
        if also.kind not in method.optional:
            document.report(at, registry.unknown("optional trial kind", also.kind, method.optional))
        if also.kind in [other.kind for other in spec.also[:index]]:
            document.report(at, f"{also.kind!r} is there twice")
    for key, section, what, allowed in (
        ("train", spec.train.own, "trial kind or task", (*method.kinds, *registry.names("tasks"))),
        (
            "resources",
            spec.resources,
            "trial kind or task",
            ("default", *method.kinds, *registry.names("tasks")),
        ),
    ):
        for name in section:
            if name not in allowed:
                document.report((key, name), registry.unknown(what, name, allowed))
    if spec.train.warm_start != "none" and spec.train.warm_start not in method.kinds:
        message = f"the method {spec.method!r} has no trial kind {spec.train.warm_start!r}"
        document.report(("train", "warm_start"), message)


def _trained(
    document: Document, spec: SweepSpec, method: Method, params: Any
) -> Iterable[tuple[str, str]]:
    """(kind, task that it trains for) of every trial; of those that are sure, as far as the grid
    is not right."""
    if params is None or document.touched(("grid",)) or document.touched(("pairs",)):
        return [(kind, "") for kind in method.kinds]
    drafts = [
        draft for pair in spec.pairs for draft in method.expand(params, pair_grid(spec, pair))
    ]
    for draft in drafts:
        drafts.extend(need for need in draft.needs if need not in drafts)
    return dict.fromkeys((draft.kind, draft.tasks[-1]) for draft in drafts)


def _check_filters(document: Document, spec: SweepSpec, method: Method, params: Any) -> None:
    """Each value that an optional kind is filtered by keeps some trial."""
    if not spec.pairs or document.touched(("grid",)) or document.touched(("pairs",)):
        return
    every = FrozenMap({also.kind: {} for also in spec.also})
    values: dict[tuple[str, str], set[float]] = {}
    for pair in spec.pairs:
        for draft in method.expand(params, replace(pair_grid(spec, pair), also=every)):
            for axis, value in draft.axes.items():
                values.setdefault((draft.kind, axis), set()).add(value)
    for axis, value in spec.report.anchor.items():
        there = {it for (_, name), found in values.items() if name == axis for it in found}
        if not any(close(value, it) for it in there):
            known = f"there is {_listed(sorted(there))}" if there else "no trial has that axis"
            message = f"no trial has {axis} {value:g} to compare with: {known}"
            document.report(document.path(("report", "anchor", axis)), message)
    for index, also in enumerate(spec.also):
        for axis, wanted in also.only.items():
            there = values.get((also.kind, axis), set())
            missing = [value for value in wanted if not any(close(value, it) for it in there)]
            if missing and also.kind in method.optional:
                message = f"no trial has {axis} {_listed(missing)}: " + (
                    f"there is {_listed(sorted(there))}" if there else f"it has no {axis}"
                )
                document.report(document.path(("also", index, also.kind, axis)), message)


def _listed(values: Iterable[float]) -> str:
    return ", ".join(f"{value:g}" for value in values)
