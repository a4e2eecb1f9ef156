"""Runs studies on Ray: readiness is decided here, placement and retries are Tune's.

run_study ── run_plan ─┬─ ledger: nothing left? then no Ray at all
                       ├─ cluster, capacity: joined or started; can it hold every trial?
                       └─ tuner ─ searcher ─ schedule        in this process
                            └──── trainable ─ observer       in the workers
"""

from tcc.run.outcome import RunOutcome, RunSettings
from tcc.run.plan import run_plan
from tcc.run.study import run_study, stored_spec

__all__ = ["RunOutcome", "RunSettings", "run_plan", "run_study", "stored_spec"]
