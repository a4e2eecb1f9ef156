"""W&B runs, written offline by the real SDK and read back from their files."""

from __future__ import annotations

import logging
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path

from tcc import registry
from tcc.tracking import StudyCopy, Table, Tracker, by_step
from tcc.tracking.wandb.content import summary_of


def test_every_tracker_plugin_is_a_tracker():
    assert "wandb" in registry.names("tracking")
    for name in registry.names("tracking"):
        plugin = registry.load("tracking", name)
        assert isinstance(plugin, Tracker)
        assert plugin.Params() is not None


def test_the_plugin_imports_without_wandb_and_torch():
    code = (
        "import sys; import tcc.tracking.wandb as plugin; plugin.PLUGIN.Params(); "
        "print([name for name in ('wandb', 'torch') if name in sys.modules])"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert said.stdout.strip() == "[]"


def test_a_trial_is_one_offline_run(tracker, tmp_path, make_trial, record, read_runs):
    run = tracker.start({}, trial=make_trial(), study="tiny", directory=tmp_path)
    run.log(10, {"train/total": 0.1 + 0.2, "train/rate": 1.0})
    run.log(10, {"val/rd_cost": 0.75})
    run.log(20, {"train/total": 0.25})
    run.finish(record)
    runs = read_runs(tmp_path)
    assert list(runs) == ["aa11"]
    (read,) = runs["aa11"]
    assert read.folder.name.startswith("offline-run-")
    assert (read.project, read.group, read.job_type) == ("tcc", "tiny", "enhancement")
    assert read.name == "enhancement λ_e=0.1"
    assert set(read.tags) == {"tiny", "depth", "reconstruction", "scenes", "seed-2", "enhancement"}
    assert read.exit_code == 0
    rows = [{key: row[key] for key in row if "/" in key or key == "_step"} for row in read.history]
    assert rows == [
        {"_step": 10, "train/total": 0.1 + 0.2, "train/rate": 1, "val/rd_cost": 0.75},
        {"_step": 20, "train/total": 0.25},
    ]
    config = {key: value for key, value in read.config.items() if key != "_wandb"}
    recipe = config.pop("recipe")
    assert config == {
        "lambda_b": 0.3,
        "lambda_e": 0.1,
        "beta": 0.01,
        "seed": 2,
        "kind": "enhancement",
        "variant": "",
        "pair": "depth-reconstruction",
        "datasets": ["scenes"],
        "needs": ["bb22"],
    }
    assert recipe["train"]["steps"] == 40
    assert recipe["method"]["params"] == {"sizes": [16]}


def test_the_summary_keeps_rates_of_each_source_and_data_set_apart(
    tracker, tmp_path, make_trial, record, read_runs
):
    tracker.start({}, trial=make_trial(), study="tiny", directory=tmp_path).finish(record)
    (read,) = read_runs(tmp_path)["aa11"]
    summary = {key: value for key, value in read.summary.items() if not key.startswith("_")}
    assert len(summary.pop("content")) == 16
    assert summary == {
        "best_step": 30,
        "best_rd_cost": 0.5,
        "rate/total_bpp": 1.75,
        "rate/base_bpp": 0.75,
        "rate/enhancement_bpp": 1.0,
        "rate/estimated/total_bpp": 0.875,
        "rate/estimated/base_bpp": 0.375,
        "rate/estimated/enhancement_bpp": 0.5,
        "reconstruction/psnr": 30.0,
        "kodak.val/rate/total_bpp": 0.875,
        "kodak.val/rate/base_bpp": 0.375,
        "kodak.val/rate/enhancement_bpp": 0.5,
        "kodak.val/reconstruction/psnr": 28.0,
    }


def test_the_evaluation_that_was_asked_for_first_has_the_plain_names(record):
    kodak = record.evaluations[1].evaluation
    asked = replace(record, trial=replace(record.trial, evaluations=(kodak,)))
    summary = summary_of(asked)
    assert summary["reconstruction/psnr"] == 28.0
    assert summary["scenes.val/reconstruction/psnr"] == 30.0
    assert summary["content"] != summary_of(record)["content"]


def test_a_trial_without_codec_has_no_rate(record):
    (evaluation, _) = record.evaluations
    rates = tuple(replace(rate, bpp_by_stream={}) for rate in evaluation.rates)
    summary = summary_of(replace(record, evaluations=(replace(evaluation, rates=rates),)))
    assert not [name for name in summary if name.startswith("rate/")]
    assert summary["reconstruction/psnr"] == 30.0


def test_a_trial_that_was_interrupted_has_no_outcome(tracker, tmp_path, make_trial, read_runs):
    run = tracker.start({}, trial=make_trial(), study="tiny", directory=tmp_path)
    run.log(1, {"train/total": 1.0})
    run.finish(None)
    (read,) = read_runs(tmp_path)["aa11"]
    assert read.exit_code == 1
    assert [row["train/total"] for row in read.history] == [1.0]
    assert "failure" not in read.summary


def test_a_step_has_the_values_of_all_its_rows():
    rows = [{"step": 1, "a": 1.0}, {"step": 1, "b": 2.0}, {"step": 3, "a": 4.0}]
    assert list(by_step(rows)) == [(1, {"a": 1.0, "b": 2.0}), (3, {"a": 4.0})]


def test_a_failed_trial_is_a_failed_run(tracker, tmp_path, make_trial, failure, read_runs):
    tracker.start({}, trial=make_trial("ff00"), study="t", directory=tmp_path).finish(failure)
    (read,) = read_runs(tmp_path)["ff00"]
    assert read.exit_code == 1
    assert read.summary["failure"] == "loss is nan"
    assert (read.summary["failure_step"], read.summary["failure_term"]) == (3, "rate")


def test_trials_that_share_a_process_and_a_thread_are_runs_of_their_own(
    tracker, tmp_path, make_trial, record, read_runs
):
    def work():
        for index in range(3):
            trial = make_trial(f"t{index}")
            run = tracker.start({}, trial=trial, study="tiny", directory=tmp_path)
            run.log(1, {"train/total": float(index)})
            run.finish(record)

    thread = threading.Thread(target=work)  # as in Ray's function trainables
    thread.start()
    thread.join()
    runs = read_runs(tmp_path)
    assert sorted(runs) == ["t0", "t1", "t2"]
    assert [runs[f"t{index}"][0].history[0]["train/total"] for index in range(3)] == [0, 1, 2]


def test_a_checkpoint_is_an_artifact_where_it_is_asked_for(
    tracker, tmp_path, make_trial, record, read_runs
):
    weights = tmp_path / "checkpoint.safetensors"
    weights.write_bytes(b"weights")
    for folder, settings in (("asked", {"artifacts": ["checkpoints"]}), ("plain", {})):
        run = tracker.start(
            settings,
            trial=record.trial,
            study="tiny",
            directory=tmp_path / folder,
            checkpoint=lambda: weights,
        )
        run.finish(record)
        assert run.trouble == ""
    (read,) = read_runs(tmp_path / "asked")[record.trial.id]
    model = read.artifacts[f"checkpoint-{record.trial.id}"]
    assert model.type == "model"
    assert model.files["checkpoint.safetensors"].read_bytes() == b"weights"
    assert model.metadata["sha256"] == read.summary["checkpoint"] == "c" * 64
    assert model.metadata["kind"] == record.trial.kind
    assert model.metadata.items() >= dict(record.trial.axes).items()
    (plain,) = read_runs(tmp_path / "plain")[record.trial.id]
    assert not plain.artifacts
    assert "checkpoint" not in plain.summary


def test_a_trial_can_be_filtered_by_each_axis_seed_pair_and_kind(
    tracker, tmp_path, make_trial, read_runs
):
    trial = make_trial()
    tracker.start({}, trial=trial, study="tiny", directory=tmp_path).finish(None)
    (read,) = read_runs(tmp_path)[trial.id]
    assert read.config["seed"] == trial.seed
    assert read.config["kind"] == read.job_type == trial.kind
    assert read.config["pair"] == "-".join(trial.tasks)
    assert {name: read.config[name] for name in ("lambda_b", "beta")} == {
        name: trial.axes[name] for name in ("lambda_b", "beta")
    }


def test_all_files_lie_in_the_store(tracker, tmp_path, make_trial, record):
    tracker.start({}, trial=make_trial(), study="tiny", directory=tmp_path).finish(record)
    tables = {"t": Table(columns=("a",), rows=((1,),))}
    copy = StudyCopy(study="tiny", tables=tables, images={}, config={}, digest="d1")
    tracker.summarise({}, copy, directory=tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["wandb"]
    assert list(Path.cwd().iterdir()) == []
    staged = Path.home() / ".local" / "share" / "wandb" / "artifacts" / "staging"
    assert not staged.exists()
    assert list((tmp_path / "wandb" / "artifacts" / "staging").iterdir())


def test_disabled_writes_nothing(tracker, tmp_path, make_trial, record):
    run = tracker.start(
        {"mode": "disabled"}, trial=make_trial(), study="tiny", directory=tmp_path / "runs"
    )
    run.log(1, {"train/total": 1.0})
    run.finish(record)
    assert not (tmp_path / "runs").exists()


def test_whatever_goes_wrong_is_one_message(tracker, tmp_path, make_trial, record, caplog, said):
    (tmp_path / "runs").write_text("not a folder")
    with caplog.at_level(logging.WARNING, logger="tcc.tracking"):
        run = tracker.start({}, trial=make_trial(), study="t", directory=tmp_path / "runs")
        run.log(1, {"train/total": 1.0})
        run.finish(record)
    (message,) = said()
    assert "starting run aa11 failed" in message
    caplog.clear()
    with caplog.at_level(logging.WARNING, logger="tcc.tracking"):
        tracker.start({"mod": "offline"}, trial=make_trial(), study="t", directory=tmp_path)
        images = {"x": tmp_path / "none.png"}
        copy = StudyCopy(study="t", tables={}, images=images, config={}, digest="d1")
        tracker.summarise({}, copy, directory=tmp_path)
    wrong_key, no_file = said()
    assert "mod" in wrong_key
    assert "none.png" in no_file


def test_a_value_that_wandb_refuses_ends_the_mirror_only(
    tracker, tmp_path, make_trial, record, caplog, said
):
    run = tracker.start({}, trial=make_trial(), study="tiny", directory=tmp_path)
    with caplog.at_level(logging.WARNING, logger="tcc.tracking"):
        run.log(1, {1: 1.0})  # a name must be text
        run.log(2, {"train/total": 1.0})
        run.finish(record)
    (message,) = said()
    assert "logging step 1 of run aa11" in message
