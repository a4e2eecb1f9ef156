"""Files that grow in working folders: they reach the storage, and no line is lost on the way."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from tcc.stores import open_store
from tcc.stores.objects import ObjectBackend, _working


def test_rows_are_in_the_storage_before_the_state_that_they_belong_to(store, backend):
    store.append_metrics("aa11", 1, {"loss": 1.0})
    with store.log_path("aa11").open("a") as log:
        log.write("begun\n")
    assert backend.get("trials/aa11/metrics.jsonl") is None
    store.save_state("aa11", lambda path: path.write_bytes(b"state"))
    assert backend.get("trials/aa11/metrics.jsonl") == b'{"step": 1, "loss": 1.0}\n'
    assert backend.get("trials/aa11/log.txt") == b"begun\n"


def test_a_reader_on_another_machine_sees_what_was_sent(store, backend, uri, elsewhere):
    store.append_metrics("aa11", 1, {"loss": 1.0})
    (store.preview_dir("aa11") / "ev1").mkdir()
    (store.preview_dir("aa11") / "ev1" / "a.png").write_bytes(b"\x89PNG")
    backend.put("trials/aa11/any.json", b"")
    code = """
store = open_store(URI, write=False)
print(list(store.metrics("aa11")))
print((store.preview_dir("aa11") / "ev1" / "a.png").read_bytes())
"""
    assert elsewhere(code, uri).splitlines() == ["[{'step': 1, 'loss': 1.0}]", r"b'\x89PNG'"]


def test_the_next_attempt_on_another_machine_adds_to_rows_and_log(store, uri, elsewhere):
    code = """
store = open_store(URI)
store.append_metrics("aa11", 1, {"loss": 1.0})
store.append_metrics("aa11", 2, {"loss": 1.0})
with store.log_path("aa11").open("a") as log:
    log.write("first\\n")
"""
    elsewhere(code, uri)  # sent at its end
    store.append_metrics("aa11", 2, {"loss": 2.0})
    with store.log_path("aa11").open("a") as log:
        log.write("second\n")
    store.save_state("aa11", lambda path: path.write_bytes(b"state"))
    assert [row["loss"] for row in store.metrics("aa11")] == [1.0, 2.0]
    seen = 'print(open_store(URI, write=False).log_path("aa11").read_text())'
    assert elsewhere(seen, uri, "third").split() == ["first", "second"]


def test_lines_that_another_machine_added_meanwhile_are_kept(store, backend, uri, elsewhere):
    def say(line):
        with store.log_path("aa11").open("a") as log:
            log.write(f"{line}\n")
        backend.put("trials/aa11/any", b"")

    say("here 1")
    add = 'open_store(URI).log_path("aa11").open("a").write("there\\n")'
    elsewhere(add, uri)
    say("here 2")
    say("here 3")
    lines = backend.get("trials/aa11/log.txt").decode().splitlines()
    assert lines == ["here 1", "there", "here 2", "here 3"]


def test_a_torn_row_of_a_killed_machine_is_cut_off(store, backend):
    backend.put("trials/aa11/metrics.jsonl", b'{"step": 1, "loss": 1.0}\n{"step": 2, "lo')
    store.append_metrics("aa11", 2, {"loss": 2.0})
    assert [row["loss"] for row in store.metrics("aa11")] == [1.0, 2.0]
    assert backend.get("trials/aa11/metrics.jsonl").count(b"\n") == 2


def test_growing_files_are_sent_without_a_put(store, backend, monkeypatch):
    monkeypatch.setattr(_working, "SEND_EVERY_S", 0.2)
    store.log_path("aa11").write_text("hello\n")
    (store.directory / "wandb").mkdir()
    (store.directory / "wandb" / "run.wandb").write_bytes(b"\0")
    end = time.monotonic() + 20
    while len(backend.find("**")) < 2 and time.monotonic() < end:
        time.sleep(0.1)
    assert sorted(backend.find("**")) == ["trials/aa11/log.txt", "wandb/run.wandb"]


def test_a_large_growing_file_is_sent_less_often(store, backend, monkeypatch):
    monkeypatch.setattr(_working, "SEND_EVERY_S", 0.05)
    monkeypatch.setattr(_working, "BYTES_PER_S", 1)
    path = store.log_path("aa11")
    path.write_text("x" * 100)
    backend._site.working.send(due=True)
    path.write_text("x" * 200)
    backend._site.working.send(due=True)
    assert backend.stamp("trials/aa11/log.txt").size == 100
    backend.flush()
    assert backend.stamp("trials/aa11/log.txt").size == 200


def test_records_do_not_go_through_the_folder(store, backend, make_record):
    store.commit(make_record())
    store.save_checkpoint("aa11", lambda path: path.write_bytes(b"weights"))
    folder = store.log_path("aa11").parent
    store.commit(make_record())
    assert list(folder.iterdir()) == []
    (folder / "result.json").write_text("{}")  # as by mistake
    backend.put("trials/aa11/any", b"")
    assert store.record("aa11") == make_record()


def test_a_report_reaches_the_storage_and_its_old_parts_leave_it(store, backend, uri, elsewhere):
    folder = store.study_dir("tiny") / "report"
    (folder / "figures").mkdir(parents=True)
    (folder / "figures" / "old.png").write_bytes(b"old")
    store.write_study("tiny", "report/index.html", "<p>1")
    assert (folder / "index.html").read_text() == "<p>1"
    assert backend.get("studies/tiny/report/figures/old.png") == b"old"
    (folder / "figures" / "old.png").unlink()
    (folder / "figures" / "new.png").write_bytes(b"new")
    store.write_study("tiny", "report/index.html", "<p>2")
    assert sorted(backend.find("studies/tiny/report/figures/*")) == [
        "studies/tiny/report/figures/new.png"
    ]
    code = """
folder = open_store(URI, write=False).study_dir("tiny") / "report"
print(*sorted(path.name for path in folder.rglob("*.*")), (folder / "index.html").read_text())
"""
    assert elsewhere(code, uri).split() == ["index.html", "new.png", "<p>2"]


def test_a_reader_sees_what_changed_since_it_looked(uri, store):
    reader = open_store(uri, write=False)
    folder = reader.study_dir("tiny")
    assert list(folder.iterdir()) == []
    backend = ObjectBackend(uri)
    for text in (b"1", b"2"):
        backend._site.remote.put("studies/tiny/report/index.html", text)
        assert (reader.study_dir("tiny") / "report" / "index.html").read_bytes() == text
    backend._site.remote.delete("studies/tiny/report/index.html")
    assert not (reader.study_dir("tiny") / "report" / "index.html").exists()


def test_a_reader_sends_nothing(uri, backend):
    reader = open_store(uri, write=False)
    (reader.study_dir("tiny") / "mine.txt").write_text("x")
    backend.flush()
    assert backend.find("**") == []


def test_processes_of_a_machine_have_folders_of_their_own_and_take_over_the_dead_ones(
    uri, backend, store, environment
):
    code = f"""
import time
from tcc.stores import open_store
store = open_store({uri!r})
path = store.log_path("aa11")
path.write_text("lost\\n")
print(path, flush=True)
time.sleep(60)
"""
    mine = store.log_path("aa11")
    started = [
        subprocess.Popen([sys.executable, "-c", code], env=environment, stdout=subprocess.PIPE)
        for _ in range(2)
    ]
    paths = [process.stdout.readline().decode().strip() for process in started]
    assert len({str(mine), *paths}) == 3
    for process in started:
        os.kill(process.pid, signal.SIGKILL)
        process.wait(10)
    code = code.replace('path.write_text("lost\\n")', "").replace("time.sleep(60)", "")
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=50
    )
    assert done.stdout.strip() in paths, done.stderr
    assert backend.find("**") == []  # what the dead one left is not taken for its own


def test_a_forked_child_has_a_folder_and_a_connection_of_its_own(store, backend):
    store.log_path("aa11").write_text("parent\n")
    parent = str(store.directory)
    read, write = os.pipe()
    child = os.fork()
    if not child:
        try:
            own = str(store.directory) != parent
            store.write_study("tiny", "spec.yaml", "child")
            os.write(write, b"1" if own else b"0")
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    os.close(write)
    assert os.read(read, 1) == b"1"
    os.close(read)
    assert store.read_study("tiny", "spec.yaml") == "child"


def test_losing_the_server_costs_no_line(uri, server, monkeypatch, environment):
    """Another process's end is held up, but bounded, and it says so."""
    code = f"""
from tcc.stores import open_store
from tcc.stores.objects import _drivers, _remote
_remote.PATIENCE_S = _drivers.ANSWER_S = 1
store = open_store({uri!r})
store.log_path("aa11").write_text("line\\n")
print(store.log_path("aa11"), flush=True)
input()
"""
    process = subprocess.Popen(
        [sys.executable, "-c", code],
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    path = process.stdout.readline().strip()
    os.kill(server.process.pid, signal.SIGSTOP)
    try:
        monkeypatch.undo()
        process.stdin.write("\n")
        process.stdin.flush()
        _, said = process.communicate(timeout=50)
    finally:
        os.kill(server.process.pid, signal.SIGCONT)
    assert "wait on this machine" in said
    assert Path(path).read_text() == "line\n"


def test_the_name_of_the_server_can_be_resolved_at_the_end(uri, server, environment, backend):
    code = f"""
from tcc.stores import open_store
store = open_store({uri!r})
store.log_path("aa11").write_text("last words\\n")
"""
    named = environment | {"AWS_ENDPOINT_URL": f"http://localhost:{server.port}"}
    command = [sys.executable, "-c", code]
    begun = time.monotonic()
    done = subprocess.run(command, env=named, capture_output=True, text=True, timeout=50)
    assert done.stderr == ""
    assert time.monotonic() - begun < 30
    assert backend.get("trials/aa11/log.txt") == b"last words\n"


def test_a_folder_is_there_once_it_is_asked_for(backend):
    for key in ("", "trials/aa11", "trials/aa11/previews"):
        assert backend.folder(key, create=True).is_dir()
        assert backend.folder(key, create=False).is_dir()
