from __future__ import annotations

from tcc import registry
from tcc.plan import expand
from tcc.search import Policy
from tcc.spec import parse_spec

SPEC = """
study: tiny
data: {scenes: {train: 24, val: 6}}
pairs: [{base: depth, enhancement: reconstruction}]
grid: {lambda_b: [0.1, 0.3], lambda_e: [0.3]}
"""


def test_grid_proposes_the_plan_as_it_stands() -> None:
    policy = registry.load("search", "grid")
    assert isinstance(policy, Policy)
    spec = parse_spec(SPEC)
    assert policy.propose(spec, {}) == expand(spec)
    assert len(expand(spec)) >= 4
