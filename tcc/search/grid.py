"""The plan as the spec writes it, whatever was measured."""

from __future__ import annotations

from collections.abc import Mapping

from tcc.plan import expand
from tcc.records import Plan, TrialRecord
from tcc.search import Policy
from tcc.spec import SweepSpec


class Grid(Policy):
    """Every value of every grid."""

    def propose(self, spec: SweepSpec, records: Mapping[str, TrialRecord]) -> Plan:
        return expand(spec)


PLUGIN = Grid()
