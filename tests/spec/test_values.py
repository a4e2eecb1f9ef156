"""Values of a spec: what is taken for what."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from tcc.spec.values import Betas, Count, Gpus, Lambdas, Name, Scale, Seeds

lambdas = TypeAdapter(Lambdas)


@given(low=st.floats(1e-6, 1e3), factor=st.floats(1.5, 1e6), count=st.integers(2, 50))
def test_a_log_spaced_grid_is_even_in_the_logarithm(low: float, factor: float, count: int) -> None:
    high = low * factor
    values = lambdas.validate_python({"log": [low, high, count]})
    assert len(values) == count
    assert (values[0], values[-1]) == (low, high)
    steps = [math.log(b / a) for a, b in pairwise(values)]
    assert max(steps) - min(steps) < 3e-5
    assert lambdas.validate_python(list(values)) == values


def test_one_value_stands_for_a_list_of_one() -> None:
    assert lambdas.validate_python(0.5) == (0.5,)
    assert TypeAdapter(Seeds).validate_python(3) == (3,)


@pytest.mark.parametrize(
    "value",
    [[], [0], [-1], [1, 1], [1, 1.0], ["1"], [True], [None], "1", {"log": [1, 2]},
     {"log": [2, 1, 3]}, {"log": [0, 1, 3]}, {"log": [1, 2, 1]}, {"log": [1, 2, 3.0]},
     {"log": [1, 2, 3], "x": 1}, {"log": "1"}, {"log": [1, 2, 10**9]}, {"lin": [1, 2, 3]}],
)  # fmt: skip
def test_what_is_no_grid_of_lambdas(value: object) -> None:
    with pytest.raises(ValidationError):
        lambdas.validate_python(value)


@pytest.mark.parametrize(
    ("kind", "value"),
    [(Betas, [-0.1]), (Seeds, [1.0]), (Seeds, [-1]), (Seeds, [True]), (Count, 0), (Count, "3"),
     (Count, 2.0), (Scale, 0), (Scale, 2), (Scale, "1/0"), (Scale, "half"), (Scale, "0.5"),
     (Gpus, 1.5), (Gpus, -1), (Name, "a b"), (Name, ".."), (Name, "-a"), (Name, ""), (Name, "a/b"),
     (Name, 3), (Name, "a\n")],
)  # fmt: skip
def test_values_out_of_bounds_or_of_another_type(kind: Any, value: object) -> None:
    with pytest.raises(ValidationError):
        TypeAdapter(kind).validate_python(value)


def test_a_scale_may_be_a_fraction() -> None:
    assert TypeAdapter(Scale).validate_python("1/2") == 0.5
    assert TypeAdapter(Scale).validate_python(1) == 1.0
