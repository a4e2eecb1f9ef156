"""The commands as a user types them: what they print, where, and the exit code."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

SMOKE = Path(__file__).parents[1] / "sweeps" / "smoke.yaml"
LONG = "n" * 300  # letters, more than a file's name may have


def tcc(*args: object, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "tcc", *map(str, args)]
    return subprocess.run(command, capture_output=True, text=True, cwd=cwd, timeout=60)


def test_every_verb_explains_itself():
    listed = tcc("--help").stdout
    verbs = [
        "check",
        "plan",
        "run",
        "extend",
        "status",
        "report",
        "trial",
        "encode",
        "decode",
        "evaluate",
        "bdrate",
        "list",
        "retry",
    ]
    for verb in [*verbs, "retry"]:
        assert f"  {verb} " in listed
        done = tcc(verb, "--help")
        assert done.returncode == 0
        assert "Usage: tcc" in done.stdout


def test_a_wrong_spec_is_exit_2_with_every_problem_and_its_line(tmp_path):
    spec = tmp_path / "wrong.yaml"
    spec.write_text(SMOKE.read_text().replace("lambda_b: [0.1, 0.3, 1]", "lambda_b: [0.1, -3]"))
    done = tcc("check", spec, "train.stps=5")
    assert done.returncode == 2
    assert done.stdout == ""
    line = next(n for n, text in enumerate(spec.read_text().splitlines(), 1) if "-3" in text)
    assert f"{spec}:{line}:" in done.stderr
    assert "-3" in done.stderr
    assert "command line" in done.stderr
    assert "did you mean 'steps'" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    "args",
    [
        ("run", "nowhere.yaml"),
        ("status", "nothing"),
        ("report", "nothing"),
        ("retry", "nothing"),
        ("bdrate", "a.json", "b.json"),
        ("list", "taks"),
        ("encode", "ffffffff", "a.png", "-o", "out"),
        ("encode", "ffffffff", "-o", "out"),
        ("encode", "ffffffff", "a.png"),
        ("decode", "a.tcc", "-o", "out"),
        ("decode", "a.tcc", "-o", "out", "--layer", "bases"),
        ("decode", "a.tcc", "-o", "out", "--checkpoint", "ffffffff"),
        ("decode", LONG, "-o", "out"),
        ("decode", "a.tcc", "-o", "out", "--checkpoint", LONG),
        ("encode", LONG, "a.png", "-o", "out"),
        ("frobnicate",),
        ("run", SMOKE, "--store", "/proc/no/store"),
        ("trial", SMOKE, "ffffffff"),
        ("plan", SMOKE, "data.scenes.type=voc"),
    ],
)
def test_bad_input_is_exit_2_and_no_traceback(args, tmp_path):
    done = tcc(*args, cwd=tmp_path)
    assert done.returncode == 2, done
    assert done.stderr.strip()
    assert "Traceback" not in done.stdout + done.stderr


def test_plan_json_of_the_smoke_study(tmp_path):
    done = tcc("plan", SMOKE, "--json", cwd=tmp_path)
    assert done.returncode == 0
    plan = json.loads(done.stdout)
    kinds = {trial["id"]: trial["kind"] for trial in plan["trials"]}
    assert len(kinds) == len(plan["trials"]) >= 20
    for trial in plan["trials"]:
        if trial["kind"] == "enhancement":
            assert sorted(kinds[need] for need in trial["needs"]) == ["base", "pretrain"]
    bases = [str(t["axes"]) for t in plan["trials"] if t["kind"] == "base"]
    assert len(set(bases)) == len(bases)
    assert {trial["state"] for trial in plan["trials"]} == {"new", "blocked"}
    assert list(tmp_path.iterdir()) == []  # a plan writes nothing


@pytest.mark.parametrize("verb", [("plan", SMOKE), ("check", SMOKE), ("list",)])
def test_light_verbs_do_not_import_what_is_heavy(verb, tmp_path):
    code = f"""
import sys
sys.argv = {["tcc", *map(str, verb)]!r}
from tcc.cli import main
try:
    main()
except SystemExit as end:
    assert not end.code, end.code
heavy = {{"torch", "torchvision", "compressai", "ray", "wandb", "matplotlib", "plotly"}}
assert not heavy & set(sys.modules), heavy & set(sys.modules)
"""
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    "does,code",
    [("return ['a']", 0), ("raise KeyboardInterrupt", 130), ("raise TccError('no')", 2)],
)
def test_output_that_nobody_reads_changes_no_exit_code(does, code):
    line = f"""
import sys
from tcc import cli, registry
from tcc.errors import TccError

def names(room):
    {does}

registry.names = names
sys.argv = ["tcc", "list", "tasks", "--json"]
cli.main()
"""
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run([sys.executable, "-c", line], stdout=write, stderr=write, timeout=60)
    os.close(write)
    assert done.returncode == code


def test_bdrate_of_two_files(tmp_path):
    for name, factor in (("anchor", 1.0), ("test", 2.0)):
        rates = [factor * bpp for bpp in (0.1, 0.2, 0.4, 0.8)]
        results = {"bpp": rates, "psnr": [30.0, 33.0, 36.0, 39.0]}
        (tmp_path / f"{name}.json").write_text(json.dumps({"name": name, "results": results}))
    done = tcc("bdrate", "anchor.json", "test.json", "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["bd_rate_percent"] == pytest.approx(100, abs=1e-6)
    assert found["overlap"] == 1
    refused = tcc("bdrate", "anchor.json", "test.json", "--baseline", "x", cwd=tmp_path)
    assert (refused.returncode, refused.stdout) == (2, "")
    assert tcc("bdrate", "anchor.json", "test.json", cwd=tmp_path).stdout.startswith(
        "BD-rate (psnr): +100.00 %"
    )


def test_one_trial_in_this_process_and_its_state_after(tmp_path, tiny_text):
    (tmp_path / "tiny.yaml").write_text(tiny_text)
    plan = json.loads(tcc("plan", "tiny.yaml", "--json", cwd=tmp_path).stdout)
    pixels = next(trial["id"] for trial in plan["trials"] if trial["kind"] == "pixels")
    done = tcc("trial", "tiny.yaml", pixels[:8], cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "depth/rmse" in done.stdout
    after = json.loads(tcc("plan", "tiny.yaml", "--json", cwd=tmp_path).stdout)
    states = {trial["id"]: trial["state"] for trial in after["trials"]}
    assert states.pop(pixels) == "cached"
    assert "cached" not in states.values()


@pytest.mark.timeout(180)  # three processes that load torch
def test_images_to_files_and_back(tmp_path, tiny_plan):
    from tcc.stores import open_store
    from tcc.trial import attempt

    base = next(trial for trial in tiny_plan() if trial.kind == "base")
    attempt(base, open_store(tmp_path / "runs"))
    (tmp_path / "images").mkdir()
    for name in "ab":
        Image.new("RGB", (50, 37), (200, 30, 90)).save(tmp_path / "images" / f"{name}.png")
    Image.new("RGB", (20, 20)).save(tmp_path / "images" / "small.png")

    done = tcc("encode", base.id[:8], "images", "images/c.png", "-o", "coded", cwd=tmp_path)
    assert done.returncode == 2
    assert done.stdout.startswith("encoded 3 images: ")
    assert "images/c.png: there is no such file" in done.stderr
    assert "Traceback" not in done.stderr
    done = tcc("decode", "coded", "-o", "out", "--json", cwd=tmp_path)
    assert done.returncode == 0
    assert "tcc:" not in done.stderr
    found = json.loads(done.stdout)
    assert [item["size"] for item in found["done"]] == [[37, 50]] * 2 + [[20, 20]]
    assert found["done"][0]["outputs"] == ["out/a.base.depth.png", "out/a.base.reconstruction.png"]
    assert found["failed"] == []

    (tmp_path / "coded" / "a.tcc").write_bytes(b"no such file")
    done = tcc("decode", "coded", "-o", "few", "--max-pixels", "400", cwd=tmp_path)
    assert done.returncode == 2
    assert done.stdout.startswith("decoded 1 file: ")
    title, *lines = done.stderr.splitlines()[-3:]  # before, libraries may warn
    assert title == "tcc: 2 of 3 could not be decoded:"
    assert "coded/a.tcc: magic is b'no'" in lines[0]
    assert "coded/b.tcc: size is 37×50 (1850 pixels), asked for were 400" in lines[1]
    assert {path.name.split(".")[0] for path in (tmp_path / "few").iterdir()} == {"small"}


@pytest.mark.parametrize(
    "words", [["list"], ["check", SMOKE], ["plan", SMOKE, "--store", "runs"], ["status"]]
)
def test_a_reader_that_is_gone_changes_no_exit_code(words, tmp_path):
    (tmp_path / "runs").mkdir()
    command = [sys.executable, "-m", "tcc", *map(str, words)]
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(command, stdout=writer, stderr=subprocess.PIPE, cwd=tmp_path, timeout=60)
    os.close(writer)
    assert (done.returncode, done.stderr) == (0, b"")
