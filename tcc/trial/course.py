"""How far a training has come: what its loop keeps beside the model and the optimiser."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch
from torch import Tensor

from tcc.errors import NonFiniteError
from tcc.trial.place import Place


@dataclass
class Course:
    """Steps done, what was picked of them, and the loss terms that are still to be read.

    ``history``: (step, val/rd_cost). ``best``: the weights of least cost, on the CPU. ``rows``: the
    loss terms of the last steps, (T,) each, on their device. ``terms``: what was read last.
    ``seconds``: spent on these steps by all processes that trained them, one after the other.
    """

    step: int = 0
    seconds: float = 0.0
    history: list[tuple[int, float]] = field(default_factory=list)
    best: Mapping[str, Tensor] = field(default_factory=dict)
    names: tuple[str, ...] = ()
    rows: list[Tensor] = field(default_factory=list)
    terms: dict[str, float] = field(default_factory=dict)

    @property
    def best_step(self) -> int:
        """The first step of least cost."""
        return min(self.history, key=lambda item: item[1])[0]

    @property
    def best_rd_cost(self) -> float:
        """The least cost; infinite as long as there is none."""
        return min((cost for _, cost in self.history), default=math.inf)

    @property
    def stale(self) -> int:
        """Selections since the best one."""
        return sum(step > self.best_step for step, _ in self.history)

    @contextmanager
    def naming_its_step(self) -> Iterator[None]:
        """Gives an error that is raised within the step that it came in, unless it names one."""
        try:
            yield
        except Exception as error:
            if getattr(error, "step", None) is None:
                vars(error)["step"] = self.step
            raise

    def offer(self, cost: float, state: Mapping[str, Tensor]) -> None:
        """Takes what the selection after this step cost, and its weights, where no earlier ones
        cost as little."""
        if cost < self.best_rd_cost:
            self.best = {name: value.detach().cpu().clone() for name, value in state.items()}
        self.history.append((self.step, cost))

    def add(self, terms: Mapping[str, Tensor]) -> None:
        """Takes the loss terms of a step."""
        self.names = tuple(terms)
        self.rows.append(torch.stack([value.float() for value in terms.values()]))

    def read(self, place: Place) -> dict[str, float]:
        """Reads the terms since the last reading in one wait; gives their means over all ranks.

        Raises:
            NonFiniteError: one is NaN or infinite; names it and its step.
        """
        table = place.total(torch.stack(self.rows)) / place.ranks
        first = self.step - len(self.rows) + 1
        for step, row in enumerate(table.tolist(), start=first):
            for name, value in zip(self.names, row, strict=True):
                if not math.isfinite(value):
                    raise NonFiniteError(
                        f"loss term {name!r} is {value} at step {step}", step=step, term=name
                    )
        self.terms = dict(zip(self.names, table.mean(0).tolist(), strict=True))
        self.rows.clear()
        return self.terms
