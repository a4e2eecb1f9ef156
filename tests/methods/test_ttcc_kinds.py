"""What a pair expands to: kinds, needs, sharing."""

from dataclasses import replace

import pytest

from tcc import registry
from tcc.records import PairGrid, TrialDraft

METHOD = registry.load("methods", "ttcc")


def grid(**changes) -> PairGrid:
    default = PairGrid(
        base="depth",
        enhancement="reconstruction",
        dataset="scenes",
        lambda_b=(0.1, 1.0),
        lambda_e=(0.1, 0.3, 1.0),
        beta=(0.0, 0.1),
        beta_mode="absolute",
        seeds=(0,),
        enhance_at=None,
        pairing="product",
        also={},
        warm_start="none",
    )
    return replace(default, **changes)


def expanded(**changes) -> list[TrialDraft]:
    return list(dict.fromkeys(METHOD.expand(METHOD.Params(), grid(**changes))))


def of_kind(drafts: list[TrialDraft], kind: str) -> list[TrialDraft]:
    return [draft for draft in drafts if draft.kind == kind]


def test_every_enhancement_needs_its_base_alone():
    drafts = expanded()
    assert len(of_kind(drafts, "base")) == 4
    assert len(of_kind(drafts, "enhancement")) == 12
    for draft in of_kind(drafts, "enhancement"):
        (base,) = draft.needs
        assert base.kind == "base"
        assert {name: draft.axes[name] for name in base.axes} == base.axes


def test_one_warm_start_for_all_enhancements_of_a_seed():
    drafts = expanded(warm_start="pretrain", seeds=(0, 1), also={"single_layer": {}})
    warm = of_kind(drafts, "pretrain")
    assert [draft.seed for draft in warm] == [0, 1]
    for draft in of_kind(drafts, "enhancement") + of_kind(drafts, "single_layer"):
        assert warm[draft.seed] in draft.needs


def test_zip_pairs_each_base_with_its_own_lambda():
    drafts = of_kind(expanded(pairing="zip", lambda_e=(0.2, 0.4)), "enhancement")
    found = {(draft.axes["lambda_b"], draft.axes["lambda_e"]) for draft in drafts}
    assert found == {(0.1, 0.2), (1.0, 0.4)}


def test_beta_cannot_matter_to_a_reconstruction_base():
    drafts = expanded(base="reconstruction", enhancement="depth")
    assert [draft.axes["beta"] for draft in of_kind(drafts, "base")] == [0.0, 0.0]


def test_both_beta_modes_share_the_baseline():
    absolute = set(of_kind(expanded(), "base"))
    relative = set(of_kind(expanded(beta_mode="relative"), "base"))
    assert {draft.axes["beta"] for draft in absolute & relative} == {0.0}
    assert {draft.variant for draft in relative - absolute} == {"relative"}


@pytest.mark.parametrize("kind", METHOD.optional)
def test_optional_kinds_come_only_when_asked_for(kind):
    assert not of_kind(expanded(), kind)
    assert of_kind(expanded(also={kind: {}}), kind)


def test_a_filter_keeps_the_axes_that_it_names():
    drafts = of_kind(
        expanded(also={"standalone": {"beta": (0.0,), "lambda_b": (1.0,)}}), "standalone"
    )
    assert len(drafts) == 3
    assert {draft.axes["beta"] for draft in drafts} == {0.0}
    assert {draft.needs[0].kind for draft in drafts} == {"enhancement"}


def test_enhancements_only_where_asked_for():
    drafts = expanded(enhance_at=(1.0,), also={"direct": {}})
    assert {draft.axes["lambda_b"] for draft in of_kind(drafts, "enhancement")} == {1.0}
    assert {draft.axes["lambda_b"] for draft in of_kind(drafts, "direct")} == {0.1, 1.0}
