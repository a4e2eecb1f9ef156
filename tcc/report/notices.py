"""What a reader must know before the first number: what the page says on top."""

from __future__ import annotations

from collections import Counter

from tcc.report.study import Study
from tcc.report.words import count_text, time_text


def notices(study: Study) -> tuple[str, ...]:
    """The study's own notice, whether all of it is done, and whether its plan is of today."""
    found = (_past(study), _incomplete(study), study.settings.report.notice)
    return tuple(text for text in found if text)


def _past(study: Study) -> str:
    if study.past is None:
        return ""
    when = time_text(study.past.replaced_at)
    return (
        f"Results of an older recipe: plan {study.past.digest}, replaced {when}. "
        "They are not those of the study as it is now."
    )


def _incomplete(study: Study) -> str:
    """``Not complete: of 94 trials 3 are running and 12 are still to do …``."""
    states = Counter(state.state for state in study.states.values())
    to_do = states["new"] + states["blocked"]
    parts = [
        f"{_are(states['running'])} running" if states["running"] else "",
        _to_do(to_do, study) if to_do else "",
        f"{states['failed']} failed" if states["failed"] else "",
        f"{states['skipped']} {_was(states['skipped'])} skipped" if states["skipped"] else "",
    ]
    told = [part for part in parts if part]
    if not told:
        return ""
    listed = " and ".join([", ".join(told[:-1]), told[-1]] if len(told) > 1 else told)
    what = "Still running" if states["running"] else "Not complete"
    trials, done = count_text(len(study.plan), "trial"), count_text(states["done"], "trial")
    return (
        f"{what}: of {trials} {listed}. Curves and verdicts are of the {done} that "
        f"{'is' if states['done'] == 1 else 'are'} done."
    )


def _to_do(number: int, study: Study) -> str:
    """Nobody will do what a replaced plan lacks."""
    if study.past is not None:
        return f"{number} {_was(number)} never done"
    return f"{_are(number)} still to do"


def _are(number: int) -> str:
    return f"{number} {'is' if number == 1 else 'are'}"


def _was(number: int) -> str:
    return "was" if number == 1 else "were"
