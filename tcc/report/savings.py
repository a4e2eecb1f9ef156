"""What conditioning on the base saves, pair by pair, as the page shows it."""

from __future__ import annotations

from tcc.curves.seeds import Interval
from tcc.curves.side_information import Saving
from tcc.report.words import arm_text, at_text, count_text, number, pair_text

COLUMNS = (
    *("tasks", "measured on", "arm", "base", "mean of", "bits saved", "bits per pixel"),
    *("of the enhancement's rate", "of the base's rate"),
)


def saving_cells(saving: Saving) -> tuple[str, ...]:
    """One row of the table, by `COLUMNS`."""
    key = saving.key
    return (
        pair_text(key.tasks),
        f"{key.dataset} {key.split}, {key.source} rate",
        arm_text(key),
        at_text(key) or "all",
        f"{count_text(saving.gains, 'point')}, {count_text(saving.seeds, 'seed')}",
        number(saving.bits, ",.0f"),
        number(saving.bpp, ".4g"),
        _percent(saving.percent, saving.percent_interval),
        _percent(saving.percent_of_base, saving.percent_of_base_interval),
    )


def _percent(value: float, interval: Interval | None) -> str:
    """With the 95 % interval where there is one."""
    text = f"{number(value, '.3g')} %"
    if interval is None:
        return text
    low, high = (number(end, ".3g") for end in interval)
    return f"{text} ({low} to {high})"
