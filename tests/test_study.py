"""A whole study as a user runs it: real Ray, real trials, real W&B files; then again, and more."""

from __future__ import annotations

import csv
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


class Workplace:
    """A folder with a sweep file and a store, and the commands run in it."""

    def __init__(self, folder: Path):
        self.folder = folder

    def tcc(self, *args: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "tcc", *args]
        environment = {k: v for k, v in os.environ.items() if k != "RAY_ADDRESS"}
        return subprocess.run(
            command, capture_output=True, text=True, cwd=self.folder, env=environment, timeout=500
        )

    def run(self, *overrides: str, verb: str = "run", code: int = 0) -> dict[str, Any]:
        done = self.tcc(verb, "tiny.yaml", *overrides, "--json")
        assert done.returncode == code, done.stderr
        return json.loads(done.stdout)

    def plan(self, *overrides: str) -> list[dict[str, Any]]:
        return json.loads(self.tcc("plan", "tiny.yaml", *overrides, "--json").stdout)["trials"]

    def result(self, trial: str) -> Path:
        return self.folder / "runs" / "trials" / trial / "result.json"

    def written(self) -> dict[str, int]:
        """Checkpoint → when it was written."""
        found = (self.folder / "runs" / "trials").glob("*/checkpoint.safetensors")
        return {path.parent.name: path.stat().st_mtime_ns for path in found}


@pytest.fixture(scope="module")
def finished(tmp_path_factory, tiny_text) -> Workplace:
    folder = tmp_path_factory.mktemp("study")
    (folder / "tiny.yaml").write_text(tiny_text)
    place = Workplace(folder)
    outcome = place.run()
    assert outcome["counts"] == {"done": len(place.plan())}
    return place


@pytest.fixture
def place(finished, tmp_path) -> Workplace:
    """A copy of the finished study to change."""
    shutil.copytree(finished.folder, tmp_path / "copy")
    return Workplace(tmp_path / "copy")


def test_every_trial_left_a_record_and_the_report_names_its_points(finished):
    plan = finished.plan()
    assert {trial["state"] for trial in plan} == {"cached"}
    report = json.loads(finished.tcc("report", "tiny", "--json").stdout)
    ids = {trial["id"] for trial in plan}
    points = [point for curve in report["curves"] for point in curve["points"]]
    assert {point["trial"] for point in points} <= ids
    assert {"base", "direct", "scalable", "enhancement_only", "standalone", "simulcast"} <= {
        curve["family"] for curve in report["curves"]
    }
    page = Path(report["files"]["html"]).read_text()
    assert all(trial["id"] in page for trial in plan)


def test_rates_of_scalable_records_add_up(finished):
    for trial in finished.plan():
        if trial["kind"] in ("enhancement", "standalone"):
            base = next(need for need in lineage(finished, trial) if need["kind"] == "base")
            rates = {
                kind: rate_of(finished, it["id"]) for kind, it in (("own", trial), ("base", base))
            }
            assert rates["own"]["base.y"] == rates["base"]["base.y"]
            assert rates["own"]["enhancement.y"] > 0


def lineage(place: Workplace, trial: dict[str, Any]) -> list[dict[str, Any]]:
    by_id = {item["id"]: item for item in place.plan()}
    found = []
    for need in trial["needs"]:
        found += [by_id[need], *lineage(place, by_id[need])]
    return found


def rate_of(place: Workplace, trial: str) -> dict[str, float]:
    (path,) = (place.result(trial).parent / "evaluations").glob("*.json")
    return json.loads(path.read_text())["record"]["rates"][0]["bpp_by_stream"]


def test_again_runs_nothing_and_starts_no_ray(finished):
    begun = time.monotonic()
    outcome = finished.run()
    assert time.monotonic() - begun < 20  # a benchmark's business; here only that nothing trains
    assert outcome["counts"] == {"cached": len(finished.plan())}
    code = """
import sys
sys.argv = ["tcc", "run", "tiny.yaml"]
from tcc.cli import main
try:
    main()
except SystemExit as end:
    assert not end.code
assert not {"ray", "torch"} & set(sys.modules)
"""
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=finished.folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_one_more_lambda_costs_its_own_trials(place):
    more = "grid.lambda_e=[0.3,0.6]"
    new = {trial["id"] for trial in place.plan(more) if trial["state"] != "cached"}
    before = place.written()
    outcome = place.run(more)
    assert outcome["counts"]["done"] == len(new) == 5  # 2 enhancements, 2 standalone, 1 single
    after = place.written()
    assert set(after) - set(before) == new
    assert {id: after[id] for id in before} == before


def test_a_deleted_result_is_redone_alone(place):
    base = next(trial["id"] for trial in place.plan() if trial["kind"] == "base")
    place.result(base).unlink()
    before = place.written()
    outcome = place.run()
    assert outcome["counts"]["done"] == 1  # the new checkpoint is the old one, bit for bit
    after = place.written()
    assert {id for id in after if after[id] != before[id]} == {base}


def test_another_checkpoint_takes_its_children_along(place):
    base = next(trial for trial in place.plan() if trial["kind"] == "base")
    children = {trial["id"] for trial in place.plan() if base["id"] in trial["needs"]}
    for id in children:
        pretend_another_parent(place.result(id), base["id"])
    before = place.written()
    states = {trial["id"]: trial["state"] for trial in place.plan()}
    assert {id for id, state in states.items() if state != "cached"} >= children
    place.run()
    after = place.written()
    # what they become is what they were, so nothing below them is trained again
    assert {id for id in after if after[id] != before[id]} == children


def pretend_another_parent(path: Path, parent: str) -> None:
    """Rewrites a result, with the store's own writer, as if it stood on another checkpoint."""
    from dataclasses import replace

    from tcc.records import TrialRecord
    from tcc.stores import from_json, to_json

    record = from_json(TrialRecord, path.read_text())
    parents = {**record.training.parents_sha256, parent: "0" * 64}
    training = replace(record.training, parents_sha256=parents)
    path.write_text(to_json(replace(record, training=training)))


def test_a_damaged_checkpoint_is_named_and_its_trial_alone_is_trained_again(place):
    base = next(trial["id"] for trial in place.plan() if trial["kind"] == "base")
    path = place.result(base).with_name("checkpoint.safetensors")
    whole = path.read_bytes()
    path.write_bytes(whole[:-64])
    done = place.tcc("run", "tiny.yaml", "--json")
    assert done.returncode == 0, done.stderr
    (told,) = [line for line in done.stderr.splitlines() if "not trusted" in line]
    assert "checkpoint.safetensors" in told
    assert base in told
    assert json.loads(done.stdout)["counts"] == {"done": 1, "cached": len(place.plan()) - 1}
    assert path.read_bytes() == whole


def test_a_new_evaluation_trains_nothing(place):
    before = place.written()
    evaluate = "evaluate=[{},{split: select}]"
    outcome = place.run(evaluate, verb="evaluate")
    assert outcome["counts"]["done"] == len(place.plan())
    assert place.written() == before
    assert {trial["state"] for trial in place.plan(evaluate)} == {"cached"}


def test_coded_rates_are_told_apart_from_estimated_ones_and_against_them(place):
    before = place.written()
    place.run("evaluate=[{rate: coded},{rate: estimated, coded_images: 4}]")
    assert place.written() == before  # the context is masked: its files take longer, no training
    folder = place.folder / "runs" / "studies" / "tiny" / "report"
    with (folder / "points.csv").open(newline="", encoding="utf-8") as file:
        points = list(csv.DictReader(file))
    own = ("family", "metric", "beta", "lambda_b", "lambda_e", "trial")
    sources: dict[tuple[str, ...], set[str]] = {}
    for point in points:
        if point["family"] in ("pixels", "uncompressed"):
            continue
        sources.setdefault(tuple(point[name] for name in own), set()).add(point["source"])
        images, gap = int(point["coded_images"]), float(point["coding_gap_percent"])
        assert images == {"coded": 6, "estimated": 4}[point["source"]]
        assert 0 < gap < 200  # of a few hundred bytes an image, some two dozen are header
    assert all(found == {"coded", "estimated"} for found in sources.values())
    assert {key[0] for key in sources} >= {"base", "direct", "scalable", "enhancement_only"}
    assert {key[0] for key in sources} >= {"standalone", "single_layer", "simulcast"}

    report = json.loads((folder / "report.json").read_text())
    for curve in report["curves"]:
        assert len({point["source"] for point in curve["points"]}) == 1
    at = [(c["family"], c["metric"], str(c["fixed"]), c["source"]) for c in report["curves"]]
    assert len(at) == len(set(at))
    shown = {(gap["family"], gap["source"]) for gap in report["coding"]}
    assert {("scalable", "coded"), ("scalable", "estimated"), ("simulcast", "coded")} <= shown
    assert "files above the estimate" in (folder / "index.html").read_text()


def test_a_trial_without_ray_gives_the_same_weights_and_values(finished, tmp_path):
    (tmp_path / "tiny.yaml").write_text((finished.folder / "tiny.yaml").read_text())
    alone = Workplace(tmp_path)
    for kind in ("pretrain", "base", "enhancement"):
        trial = next(trial for trial in finished.plan() if trial["kind"] == kind)
        done = alone.tcc("trial", "tiny.yaml", trial["id"])
        assert done.returncode == 0, done.stderr
        records = [
            json.loads(it.result(trial["id"]).read_text())["record"] for it in (finished, alone)
        ]
        assert records[0]["training"] == records[1]["training"]
        evaluations = [
            json.loads(path.read_text())["record"]
            for it in (finished, alone)
            for path in (it.result(trial["id"]).parent / "evaluations").glob("*.json")
        ]
        for name in ("rates", "metrics", "per_image", "checkpoint_sha256"):
            assert evaluations[0][name] == evaluations[1][name]


def test_too_large_a_trial_is_refused_before_any_starts(place):
    done = place.tcc("run", "tiny.yaml", "grid.seed=[7]", "resources.base.gpu=64")
    assert done.returncode == 2
    assert "64 GPU" in done.stderr
    assert "Traceback" not in done.stderr
    assert all(t["state"] != "cached" for t in place.plan("grid.seed=[7]"))


def wandb_file() -> ModuleType:
    """The reader of W&B's files; tests are no packages, so it is loaded by its path."""
    path = Path(__file__).parent / "tracking" / "wandb_file.py"
    spec = importlib.util.spec_from_file_location("wandb_file", path)
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules["wandb_file"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_wandb_has_a_run_for_each_trial_and_one_for_the_study(place):
    # the tiny study tracks nothing: one new trial and the report do, offline
    changes = ("wandb.mode=offline", "grid.seed=[0,3]", "also=[]", "grid.beta=[0]")
    new = {trial["id"]: trial for trial in place.plan(*changes) if trial["state"] != "cached"}
    place.run(*changes)
    runs = wandb_file().read_runs(place.folder / "runs")
    assert set(runs) == {*new, "study-tiny"}
    for id, trial in new.items():
        (run,) = runs[id]
        assert (run.group, run.job_type) == ("tiny", trial["kind"])
        assert {"tiny", "scenes", trial["kind"], *trial["tasks"]} <= set(run.tags)
        assert run.history
        assert run.exit_code == 0
    (study,) = runs["study-tiny"]
    assert any("rd_points" in file for file in study.files)
    assert any("bd_rates" in file for file in study.files)


def test_retry_goes_on_after_a_torn_image_was_mended(tmp_path):
    from tcc import registry

    root = registry.load("datasets", "imagefolder").tiny(tmp_path / "images")["root"]
    image = sorted(Path(root, "train").rglob("*.JPEG"))[0]
    whole = image.read_bytes()
    image.write_bytes(whole[: len(whole) // 2])
    (tmp_path / "tiny.yaml").write_text(
        f"""
study: tiny
data: {{imagefolder: {{root: {root}, select: 1}}}}
pairs: [{{base: classification, enhancement: reconstruction}}]
grid: {{lambda_b: 1, lambda_e: 1}}
model: {{channels: [4, 4, 8], latent: 4, blocks: 1}}
train: {{steps: 2, batch: 2, crop: 32}}
"""
    )
    place = Workplace(tmp_path)
    outcome = place.run(code=1)
    assert image.name in json.dumps(outcome["failed"])
    image.write_bytes(whole)
    done = place.tcc("retry", "tiny", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["counts"] == {"done": 2}
