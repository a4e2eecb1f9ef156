"""A W&B server on loopback: enough of the protocol for the real SDK, and it keeps what the real
service would keep, so that a test can say what a run holds.

A chunk of history replaces all lines from its offset on; resuming tells how many lines there are
and the last of them.
"""

from __future__ import annotations

import gzip
import json
import re
import socket
import threading
from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

HISTORY, SUMMARY = "wandb-history.jsonl", "wandb-summary.json"


@dataclass
class ServerRun:
    """What the service knows of one run."""

    name: str
    display_name: str = ""
    group: str = ""
    job_type: str = ""
    tags: list[str] = field(default_factory=list)
    config: dict[str, Any] = field(default_factory=dict)
    summary: dict[str, Any] = field(default_factory=dict)
    lines: list[str] = field(default_factory=list)
    state: str = "running"
    opened: int = 0  # times that a process opened it

    @property
    def rows(self) -> list[dict[str, Any]]:
        """Its history as it was logged: ``_step`` and the values, without W&B's own columns."""
        rows = [json.loads(line) for line in self.lines]
        return [{k: v for k, v in row.items() if k == "_step" or k[0] != "_"} for row in rows]


class WandbServer:
    """Listens at ``port`` from `start` to `stop`, and may come back at the same port."""

    def __init__(self) -> None:
        self.runs: dict[str, ServerRun] = {}
        self.queries: list[tuple[str, dict[str, Any]]] = []  # GraphQL operation, variables
        self.chunks: list[tuple[str, int, int]] = []  # run, offset, lines
        self.deleted: set[str] = set()  # runs, whose ids are never taken again
        self.reports: dict[str, dict[str, Any]] = {}  # id → what `upsertView` was sent last
        self.artifacts: list[tuple[str, str]] = []  # type, name
        self.dies_after: int | None = None  # chunks of history, from here on
        self.port = 0
        self._lock = threading.RLock()
        self._server: _Listener | None = None
        self.start()

    def reset(self) -> None:
        """Up, and without a run."""
        for kept in (self.runs, self.deleted, self.queries, self.chunks, self.reports):
            kept.clear()
        self.artifacts.clear()
        self.dies_after = None
        if self._server is None:
            self.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        self._server = _Listener(("127.0.0.1", self.port), _handler(self))
        self.port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def stop(self) -> None:
        """Refuses new connections and cuts those that are open."""
        server, self._server = self._server, None
        if server is not None:
            server.cut()
            threading.Thread(target=server.shutdown, daemon=True).start()

    def delete(self, name: str) -> None:
        """As by its button on the run's page."""
        del self.runs[name]
        self.deleted.add(name)

    def opened(self) -> int:
        """How often any run was opened."""
        return sum(run.opened for run in self.runs.values())

    # --- what the handlers ask -----------------------------------------------------------------

    def graphql(self, query: str, sent: dict[str, Any]) -> dict[str, Any]:
        """Raises FileExistsError where the service refuses the id of a run that was deleted."""
        found = re.search(r"(?:query|mutation)\s+(\w+)", query)
        name = found[1] if found else query
        with self._lock:
            self.queries.append((name, sent))
            answer = getattr(self, f"_{_snake(name)}", None)
            return {} if answer is None else answer(sent)

    def file_stream(self, name: str, sent: Mapping[str, Any]) -> bool:
        """Takes a chunk; False when the server is to die of it."""
        with self._lock:
            run, files = self.runs[name], sent.get("files") or {}
            if (history := files.get(HISTORY)) is not None:
                if self.dies_after is not None:
                    self.dies_after -= 1
                    if self.dies_after < 0:
                        self.dies_after = None
                        return False
                self.chunks.append((name, history["offset"], len(history["content"])))
                assert history["offset"] <= len(run.lines), "a chunk left a hole"
                run.lines[history["offset"] :] = history["content"]
            if (summary := files.get(SUMMARY)) is not None:
                run.summary = json.loads(summary["content"][-1])
            if sent.get("complete"):
                run.state = "failed" if sent.get("exitcode") else "finished"
            return True

    def _viewer(self, sent: dict[str, Any]) -> dict[str, Any]:
        return {"viewer": {"id": "V", "entity": "someone", "username": "someone", "flags": "{}",
                           "teams": {"edges": []}, "email": "", "admin": False}}  # fmt: skip

    _get_default_entity = _get_viewer = _viewer_account = _viewer

    def _run_resume_status(self, sent: dict[str, Any]) -> dict[str, Any]:
        run = self.runs.get(sent["name"])
        bucket = None
        if run is not None:
            bucket = {
                "id": run.name, "name": run.name, "displayName": run.display_name,
                "summaryMetrics": json.dumps(run.summary), "tags": run.tags, "notes": None,
                "config": json.dumps({k: {"value": v} for k, v in run.config.items()}),
                "historyLineCount": len(run.lines), "logLineCount": 0, "eventsLineCount": 0,
                "historyTail": json.dumps(run.lines[-1:]), "eventsTail": "[]",
                "wandbConfig": json.dumps({"t": 1}),
            }  # fmt: skip
        return {"model": {**_PROJECT, "bucket": bucket}}

    def _upsert_bucket(self, sent: dict[str, Any]) -> dict[str, Any]:
        if sent["name"] in self.deleted:
            raise FileExistsError(f"run {sent['name']} was previously created and deleted")
        run = self.runs.setdefault(sent["name"], ServerRun(sent["name"]))
        inserted = not run.opened
        if sent.get("displayName") is not None:  # later ones change the config alone
            run.display_name, run.group = sent["displayName"], sent["groupName"]
            run.job_type, run.tags = sent["jobType"], list(sent["tags"] or ())
            run.opened, run.state = run.opened + 1, "running"
        if sent.get("config"):
            run.config = {k: v["value"] for k, v in json.loads(sent["config"]).items()}
        bucket = {"id": run.name, "name": run.name, "displayName": run.display_name,
                  "config": "{}", "historyLineCount": len(run.lines),
                  "project": _PROJECT}  # fmt: skip
        return {"upsertBucket": {"bucket": bucket, "inserted": inserted}}

    def _artifact_type(self, sent: dict[str, Any]) -> dict[str, Any]:
        return {"project": {"artifact": None}}

    def _create_artifact(self, sent: dict[str, Any]) -> dict[str, Any]:
        """Tables are files of the run and artifacts as well; these are said to be there."""
        asked = sent["input"]
        self.artifacts.append((asked["artifactTypeName"], asked["artifactCollectionName"]))
        artifact = {"id": "A", "state": "COMMITTED", "artifactSequence": {"latestArtifact": None}}
        return {"createArtifact": {"artifact": artifact}}

    def _create_run_files(self, sent: dict[str, Any]) -> dict[str, Any]:
        files = [{"name": it, "uploadUrl": f"{self.url}/upload/{it}"} for it in sent["files"]]
        return {"createRunFiles": {"runID": "B", "uploadHeaders": [], "files": files}}

    def _project_internal_id(self, sent: dict[str, Any]) -> dict[str, Any]:
        return {"project": {"internalId": "1"}}

    def _get_projects(self, sent: dict[str, Any]) -> dict[str, Any]:
        node = {"id": "P", "name": "tcc", "entityName": "someone", "isBenchmark": False,
                "createdAt": "2026-01-01T00:00:00", "user": None}  # fmt: skip
        page = {"endCursor": None, "hasNextPage": False}
        return {"models": {"edges": [{"node": node, "cursor": "P"}], "pageInfo": page}}

    def _project_views(self, sent: dict[str, Any]) -> dict[str, Any]:
        edges = [{"node": _view(id, it), "cursor": id} for id, it in self.reports.items()]
        page = {"endCursor": None, "hasNextPage": False}
        return {"project": {"allViews": {"edges": edges, "pageInfo": page}}}

    def _specific_report(self, sent: dict[str, Any]) -> dict[str, Any]:
        return {"view": _view(sent["reportId"], self.reports[sent["reportId"]])}

    def _upsert_view(self, sent: dict[str, Any]) -> dict[str, Any]:
        id = sent["id"] or b64encode(f"View:{1000 + len(self.reports)}".encode()).decode()
        inserted, self.reports[id] = id not in self.reports, sent
        return {"upsertView": {"view": _view(id, sent), "inserted": inserted}}

    def _runs(self, sent: dict[str, Any]) -> dict[str, Any]:
        if not self.runs:
            return {"project": None}
        asked = json.loads(sent["filters"])["name"]["$in"]
        found = [self.runs[name] for name in asked if name in self.runs]
        edges = [{"node": _node(run), "cursor": run.name} for run in found]
        page = {"endCursor": None, "hasNextPage": False}
        return {"project": {"internalId": "1", "runCount": len(found), "readOnly": False,
                            "runs": {"edges": edges, "pageInfo": page}}}  # fmt: skip


_PROJECT = {"id": "P", "name": "tcc", "entity": {"id": "E", "name": "someone"}}


def _node(run: ServerRun) -> dict[str, Any]:
    return {
        "projectId": "1", "id": run.name, "tags": run.tags, "name": run.name, "state": run.state,
        "displayName": run.display_name, "sweepName": None, "group": run.group, "commit": None,
        "jobType": run.job_type, "readOnly": False, "createdAt": "2026-01-01T00:00:00",
        "heartbeatAt": None, "description": None, "notes": None, "systemMetrics": "{}",
        "config": json.dumps({k: {"value": v} for k, v in run.config.items()}),
        "summaryMetrics": json.dumps(run.summary), "historyLineCount": len(run.lines),
        "user": {"name": "s", "username": "someone"}, "historyKeys": None,
    }  # fmt: skip


def _view(id: str, sent: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "id": id, "type": "runs", "name": sent["name"], "displayName": sent["displayName"],
        "description": sent["description"], "spec": sent["spec"],
        "project": {"id": "P", "name": "tcc", "entityName": "someone"},
        "createdAt": "2026-01-01T00:00:00", "updatedAt": "2026-01-01T00:00:00",
        "user": {"username": "someone", "photoUrl": "", "email": ""},
    }  # fmt: skip


def _snake(name: str) -> str:
    return re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower()


class _Listener(ThreadingHTTPServer):
    daemon_threads = True
    allow_reuse_address = True

    def __init__(self, *args: Any):
        self._open: set[socket.socket] = set()
        super().__init__(*args)

    def process_request(self, request: Any, client_address: Any) -> None:
        self._open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        self._open.discard(request)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        pass  # a client that was killed, or a connection that was cut

    def cut(self) -> None:
        self.socket.close()
        for connection in list(self._open):
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                continue  # it was closed meanwhile


def _handler(server: WandbServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            if self.headers.get("Content-Encoding") == "gzip":
                body = gzip.decompress(body)
            status, reply = 200, {}
            if self.path == "/graphql":
                asked = json.loads(body)
                try:
                    reply = {"data": server.graphql(asked["query"], asked.get("variables") or {})}
                except FileExistsError as error:
                    status, reply = 409, {"errors": [{"message": str(error)}]}
            elif self.path.endswith("/file_stream") and not server.file_stream(
                self.path.split("/")[-2], json.loads(body)
            ):
                server.stop()
                return
            data = json.dumps(reply).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        do_PUT = do_POST

        def log_message(self, *_: Any) -> None:
            pass

    return Handler
