"""Status and report of a study in an object store: a real S3-compatible server on loopback."""

from __future__ import annotations

import boto3
import pytest
from moto.server import ThreadedMotoServer

from tcc.records import Progress
from tcc.report import build_report, status, studies
from tcc.stores import open_store

TRIALS = 8  # of the study, that are copied to the server

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]


@pytest.fixture
def store(make_store, monkeypatch, tmp_path):
    """The study with a few of its trials done, in a bucket."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    environment = {
        "AWS_ENDPOINT_URL": f"http://{host}:{port}",
        "AWS_ACCESS_KEY_ID": "tester",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
        "TCC_CACHE": str(tmp_path / "cache"),
    }
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    boto3.client("s3").create_bucket(Bucket="bucket")
    local, found = make_store(), open_store("s3://bucket/runs")
    for file in ("spec.yaml", "plan.json"):
        found.write_study("made_up", file, local.read_study("made_up", file))
    for id in sorted(local.result_ids())[:TRIALS]:
        data = local.checkpoint(id).read_bytes()
        found.save_checkpoint(id, lambda path, data=data: path.write_bytes(data))
        found.commit(local.record(id))
    yield found
    server.stop()


def test_status_tells_done_running_and_disk(store):
    reader = open_store(store.uri, write=False)
    ready = next(id for id, s in states(reader).items() if s == "new")
    with store.working_on(ready, "host-1234"):
        told = {"phase": "train", "step": 3, "steps": 400, "loss": 1.0, "bpp": 0.5}
        store.write_progress(Progress(trial=ready, elapsed_s=1.0, eta_s=9.0, **told))
        found = status("made_up", reader)
    (running,) = found.running
    assert (running.trial, running.step) == (ready, 3)
    assert found.disk.total > TRIALS * 1000
    (after,) = status("made_up", reader).interrupted
    assert after.trial == ready
    (line,) = studies(reader).studies
    assert (line.trials, line.disk_bytes) == (94, status("made_up", reader).disk.total)


def test_a_report_lands_in_the_bucket_and_is_found_there(store, monkeypatch):
    monkeypatch.setattr("tcc.report.build.draw_figures", lambda *_: ())
    files = build_report("made_up", open_store(store.uri, write=False))
    assert files.fresh
    assert store.read_study("made_up", "report/index.html") == files.page.read_text()
    assert store.read_study("made_up", "report/points.csv").startswith("study,")
    for curve in files.curves:
        assert store.read_study("made_up", f"report/curves/{curve.name}") == curve.read_text()
    assert not build_report("made_up", open_store(store.uri, write=False)).fresh


def states(store):
    from tcc.report.study import read_study

    return {id: state.state for id, state in read_study("made_up", store).states.items()}
