"""Types of the values in a spec: text never becomes a number, nor 1.5 a whole one."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from fractions import Fraction
from typing import Annotated, Any, TypeVar

from pydantic import AfterValidator, BeforeValidator, Discriminator, Field, Strict, Tag
from pydantic_core import PydanticCustomError

from tcc.records import FrozenMap

T = TypeVar("T")

Count = Annotated[int, Strict(), Field(ge=1)]
NaturalNumber = Annotated[int, Strict(), Field(ge=0)]
Number = Annotated[float, Strict(), Field(allow_inf_nan=False)]
Positive = Annotated[Number, Field(gt=0)]
NotNegative = Annotated[Number, Field(ge=0)]
Share = Annotated[Number, Field(ge=0, le=1)]
PositiveShare = Annotated[Number, Field(gt=0, le=1)]
Flag = Annotated[bool, Strict()]

LARGEST_GRID = 1000


def refuse(message: str) -> PydanticCustomError:
    """A problem in tcc's own words, for validators to raise."""
    return PydanticCustomError("tcc", "{message}", {"message": message})


def _name(value: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,99}", value):
        raise refuse(
            f"{short(value)} cannot be a name: up to 100 of A-Z a-z 0-9 . _ -, no . or - first"
        )
    return value


def short(value: Any) -> str:
    """A value as a message shows it."""
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}…"


def frozen(value: Mapping[str, T]) -> Mapping[str, T]:
    """The same mapping, immutable."""
    return FrozenMap(value)


def _listed(value: Any) -> Any:
    """One value stands for a list of one; ``{log: [low, high, count]}`` is written out."""
    if isinstance(value, Mapping) and "log" in value:
        return _log_spaced(value)
    return value if isinstance(value, list | tuple | Mapping) else (value,)


def _log_spaced(value: Mapping[str, Any]) -> tuple[float, ...]:
    """Evenly spaced in the logarithm, to six digits, so that a value can be typed again."""
    numbers = value["log"]
    if (
        len(value) != 1
        or not isinstance(numbers, list | tuple)
        or len(numbers) != 3
        or not all(type(number) in (int, float) for number in numbers)
        or type(numbers[2]) is not int
        or not 2 <= numbers[2] <= LARGEST_GRID
        or not 0 < numbers[0] < numbers[1] < math.inf
    ):
        raise refuse(
            f"{short(value)}: write {{log: [low, high, count]}} with 0 < low < high "
            f"and count from 2 to {LARGEST_GRID}"
        )
    low, high, count = numbers
    inner = [low * (high / low) ** (index / (count - 1)) for index in range(1, count - 1)]
    return (float(low), *(float(f"{number:.6g}") for number in inner), float(high))


def _unique(values: tuple[T, ...]) -> tuple[T, ...]:
    for index, value in enumerate(values):
        if value in values[:index]:
            raise refuse(f"{value} is there twice")
    return values


def _whole_above_one(value: float) -> float:
    if value > 1 and value != int(value):
        raise refuse(f"{value}: a share of one GPU, or a whole number of them")
    return value


def _fraction(value: Any) -> Any:
    """``1/2`` is text to YAML."""
    if isinstance(value, str) and "/" in value:
        try:
            return float(Fraction(value))
        except (ValueError, ZeroDivisionError):
            return value
    return value


_List = (BeforeValidator(_listed), AfterValidator(_unique), Field(min_length=1))

Lambdas = Annotated[tuple[Positive, ...], *_List]
Betas = Annotated[tuple[NotNegative, ...], *_List]
Seeds = Annotated[tuple[NaturalNumber, ...], *_List]
Numbers = Annotated[tuple[Number, ...], *_List]
Name = Annotated[str, AfterValidator(_name)]  # of a folder, among others
Gpus = Annotated[NotNegative, AfterValidator(_whole_above_one)]
Scale = Annotated[PositiveShare, BeforeValidator(_fraction)]


def _by_task(value: Any) -> str:
    return "tasks" if isinstance(value, Mapping) and "log" not in value else "values"


ByTask = Annotated[
    Annotated[Lambdas, Tag("values")]
    | Annotated[Mapping[str, Lambdas], AfterValidator(frozen), Field(min_length=1), Tag("tasks")],
    Discriminator(_by_task),
]
