"""How one trial runs, in Ray or out of it: data, model, training, evaluation, checkpoint.

`execute` runs a trial and raises; `attempt` runs it and gives its failure as a record.
"""

from tcc.trial.attempt import attempt
from tcc.trial.execute import execute
from tcc.trial.observer import Observer, Printing, Silent

__all__ = ["Observer", "Printing", "Silent", "attempt", "execute"]
