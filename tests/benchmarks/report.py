"""Times the report of large made-up studies: uv run python FILE [RECORDS ...] [--images N].

For each number of records: seconds that a fresh process takes to draw the report, and its page's
size, of a study of all task pairs and of one of a single pair with many λ; `again` is when nothing
changed. The goal for 10 000 records is 15 s and 15 MB, and that both grow linearly.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "report"))

from made_up import checkpoint_of, fabricate, write_previews

from tcc.plan import expand, plan_to_json
from tcc.records import Plan, TrialRecord
from tcc.spec import parse_spec, resolved_yaml
from tcc.stores import open_store

ALSO = "[direct, standalone, single_layer, uncompressed, pixels]"
ALL_PAIRS = """
study: all_pairs
data: {scenes: {train: 64, val: 4}}
pairs: all
grid: {lambda_b: [0.1, 0.3, 1, 3], lambda_e: [0.02, 0.06, 0.2, 0.6], beta: [0, 0.1], seed: SEEDS}
"""
ONE_PAIR = """
study: one_pair
data: {scenes: {train: 64, val: 4}}
pairs: [{base: depth, enhancement: reconstruction}]
grid:
  lambda_b: [0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10]
  lambda_e: [0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2]
  beta: [0, 0.01, 0.03, 0.1, 0.3]
  seed: SEEDS
"""
DRAW = "import sys; from tcc.cli import main; sys.argv = ['tcc', *sys.argv[1:]]; main()"


def main() -> None:
    """Fabricates each study once and draws it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("records", type=int, nargs="*", default=[2500, 5000, 10_000])
    parser.add_argument("--images", type=int, default=24, help="of each evaluation")
    asked = parser.parse_args()
    for template in (ALL_PAIRS, ONE_PAIR):
        for count in asked.records:
            with tempfile.TemporaryDirectory() as folder:
                plan = fill(Path(folder), template, count, asked.images)
                first, again = (draw(Path(folder), plan.study) for _ in range(2))
                page = Path(folder, "studies", plan.study, "report", "index.html")
                size = page.stat().st_size / 1e6
            print(
                f"{plan.study}, {len(plan)} records of {asked.images} images: "
                f"{first:.1f} s, again {again:.1f} s, page {size:.1f} MB",
                flush=True,
            )


def fill(root: Path, template: str, count: int, images: int) -> Plan:
    """A store of about so many records: as many seeds as it takes."""

    def planned(seeds: int) -> tuple[Plan, str]:
        text = template.replace("SEEDS", str(list(range(seeds)))) + f"also: {ALSO}\n"
        spec = parse_spec(text + "report: {anchor: {beta: 0}}\n")
        return expand(spec), resolved_yaml(spec)

    plan, spec = planned(max(1, round(count / len(planned(1)[0]))))
    store = open_store(root)
    store.write_study(plan.study, "spec.yaml", spec)
    store.write_study(plan.study, "plan.json", plan_to_json(plan))
    for trial in plan:
        folder = store.directory / "trials" / trial.id
        folder.mkdir(parents=True)
        (folder / "checkpoint.safetensors").write_bytes(checkpoint_of(trial.id))
        store.commit(with_images(fabricate(trial), images))
        if trial.seed == 0:
            write_previews(trial, store)
    return plan


def with_images(record: TrialRecord, count: int) -> TrialRecord:
    """A record of more images than one."""

    def many(evaluation):
        (image,) = evaluation.per_image
        images = tuple(replace(image, key=f"{index:06d}") for index in range(count))
        return replace(evaluation, per_image=images)

    return replace(record, evaluations=tuple(map(many, record.evaluations)))


def draw(root: Path, study: str) -> float:
    """Seconds that the command takes."""
    began = time.perf_counter()
    command = [sys.executable, "-c", DRAW, "report", study, "--store", str(root)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - began


if __name__ == "__main__":
    main()
