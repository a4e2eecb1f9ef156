"""Search policies: which trials a study should have, as what was measured so far suggests.

This page is the contract. A plug-in file ends with ``PLUGIN = MyPolicy()``. A policy proposes and
never runs: `run` hands it the records and runs what its plan adds.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping

from tcc.records import Plan, TrialRecord
from tcc.spec import SweepSpec


class Policy(ABC):
    """Proposes the trials of a study."""

    @abstractmethod
    def propose(self, spec: SweepSpec, records: Mapping[str, TrialRecord]) -> Plan:
        """Every trial that the study should have by now, those already done included.

        ``records``: trial → what was measured of it. A study is complete once every trial of the
        plan that its own records lead to is done. The same records give the same plan.
        """
