"""A plan on the terminal: the graph, how many trials of each kind in each state, the outlook."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence

from rich.console import Console
from rich.markup import escape
from rich.table import Table
from rich.tree import Tree

from tcc.plan.expand import SYMBOLS
from tcc.plan.graph import children
from tcc.plan.ledger import STATES, TrialState
from tcc.plan.outlook import Outlook, cost_lines, older_lines
from tcc.records import Plan, TrialSpec

COLOURS = {
    "new": "cyan",
    "blocked": "yellow",
    "running": "blue",
    "done": "green",
    "cached": "green",
    "failed": "red",
    "skipped": "magenta",
}


def print_plan(
    plan: Plan,
    states: Mapping[str, TrialState],
    ahead: Outlook,
    *,
    left_out: Sequence[str] = (),
    console: Console | None = None,
) -> None:
    """Prints the tree, what was left out of it, the counts and the outlook of a plan."""
    console = console or Console(highlight=False)
    console.print(plan_tree(plan, states))
    for line in left_out:
        console.print(f"[yellow]left out[/] {escape(line)}", soft_wrap=True)
    console.print(counts_table(plan, states))
    for line in older_lines(plan.study, ahead):
        console.print(f"[bold red]older recipe[/] {escape(line)}", soft_wrap=True)
    for line in cost_lines(ahead):
        console.print(escape(line), soft_wrap=True)


def counts_table(plan: Plan, states: Mapping[str, TrialState]) -> Table:
    """Trials by kind and state."""
    counts = Counter((trial.kind, states[trial.id].state) for trial in plan)
    kinds = tuple(dict.fromkeys(trial.kind for trial in plan))
    there = [state for state in STATES if any((kind, state) in counts for kind in kinds)]
    table = Table(title=f"{escape(plan.study)}: {len(plan)} trials", title_justify="left")
    table.add_column("kind")
    for state in (*there, "all"):
        table.add_column(state, justify="right", style=COLOURS.get(state))
    rows = {kind: [counts[kind, state] for state in there] for kind in kinds}
    for kind, row in rows.items():
        table.add_row(kind, *(str(count or "") for count in (*row, sum(row))))
    totals = [sum(column) for column in zip(*rows.values(), strict=True)]
    table.add_section()
    table.add_row("all", *(str(total) for total in (*totals, len(plan))))
    return table


def plan_tree(plan: Plan, states: Mapping[str, TrialState]) -> Tree:
    """Each trial below the first that it needs; those that nothing stands on are drawn together."""
    tree = Tree(f"[bold]{escape(plan.study)}[/]")
    needed = children(plan)
    below: dict[str, list[TrialSpec]] = defaultdict(list)
    for trial in plan:
        below[trial.needs[0] if trial.needs else ""].append(trial)

    def grow(branch: Tree, here: Sequence[TrialSpec]) -> None:
        alike: dict[tuple[str, ...], list[TrialSpec]] = defaultdict(list)
        for trial in here:
            alone = trial.id if needed[trial.id] else ""
            alike[trial.kind, *trial.tasks, *trial.datasets, trial.variant, alone].append(trial)
        for group in alike.values():
            found = Counter(states[trial.id].state for trial in group)
            text = group[0].label if len(group) == 1 else _group_text(group)
            twig = branch.add(f"{escape(text)}  {_states_text(found, len(group))}")
            if len(group) == 1:
                grow(twig, below[group[0].id])

    grow(tree, below[""])
    return tree


def _group_text(group: Sequence[TrialSpec]) -> str:
    """Trials that differ in axes and seed alone, in one line."""
    first = group[0]
    words = [f"{len(group)} × {first.kind}", "→".join(first.tasks)]
    for axis in SYMBOLS:
        values = _distinct(trial.axes[axis] for trial in group if axis in trial.axes)
        if values:
            words.append(f"{SYMBOLS[axis]}={', '.join(f'{value:g}' for value in values)}")
    seeds = _distinct(trial.seed for trial in group)
    words.append(f"{first.variant} seed {', '.join(str(seed) for seed in seeds)}".strip())
    return " ".join(words)


def _distinct(values: Iterable[float]) -> list[float]:
    return sorted(set(values))


def _states_text(found: Counter[str], count: int) -> str:
    return " ".join(
        f"[{COLOURS[state]}]{state if number == count else f'{number} {state}'}[/]"
        for state, number in found.items()
    )
