"""Plays wandb's server as far as training and `wandb sync` need it, and keeps the history that it is sent."""

import gzip
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

KEY = "0123456789" * 4


class Server(ThreadingHTTPServer):
    """Answers on a free loopback port."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.history: dict[str, dict[int, dict]] = {}  # run id -> number of the line -> line
        self.exits: list[tuple[str, int]] = []

    def handle_error(self, request: object, client_address: object) -> None:
        """Clients hang up as they end."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def steps(self, run_id: str) -> list[int]:
        lines = self.history[run_id]
        assert sorted(lines) == list(range(len(lines)))
        return [lines[number]["step"] for number in sorted(lines) if "train/loss" in lines[number]]

    def answer(self, operation: str, variables: dict) -> dict:
        entity, project = {"id": "E1", "name": "someone"}, {"id": "P1", "name": variables.get("project")}
        if operation == "RunResumeStatus":
            lines = self.history.get(variables["name"])
            bucket = lines is not None and {
                "id": "B1",
                "name": variables["name"],
                "summaryMetrics": "{}",
                "displayName": "n",
                "logLineCount": 0,
                "historyLineCount": len(lines),
                "eventsLineCount": 0,
                "historyTail": json.dumps([json.dumps(lines[max(lines)])] if lines else []),
                "eventsTail": "[]",
                "config": "{}",
                "tags": [],
                "notes": None,
                "wandbConfig": "{}",
            }
            return {"model": {**project, "entity": entity, "bucket": bucket or None}}
        if operation == "UpsertBucket":
            self.history.setdefault(variables["name"], {})
            bucket = {
                "id": "B1",
                "name": variables["name"],
                "displayName": "n",
                "description": None,
                "config": "{}",
                "sweepName": None,
                "historyLineCount": len(self.history[variables["name"]]),
                "project": {**project, "entity": entity},
            }
            return {"upsertBucket": {"bucket": bucket, "inserted": True}}
        if operation == "CreateRunFiles":
            files = [{"name": name, "uploadUrl": f"{self.url}/file"} for name in variables["files"]]
            return {"createRunFiles": {"runID": "B1", "uploadHeaders": [], "files": files}}
        return {}


class Handler(BaseHTTPRequestHandler):
    """One request."""

    protocol_version = "HTTP/1.1"
    server: Server

    def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002
        return

    def reply(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.headers.get("Content-Encoding") == "gzip":
            body = gzip.decompress(body)
        answer = {}
        if self.path.endswith("/graphql"):
            asked = json.loads(body)
            operation = re.search(r"(?:query|mutation)\s+(\w+)", asked["query"])
            answer = {
                "data": self.server.answer(operation[1] if operation else "", asked.get("variables") or {})
            }
        elif self.path.endswith("/file_stream"):
            run_id, sent = self.path.split("/")[-2], json.loads(body)
            stream = sent.get("files", {}).get("wandb-history.jsonl", {"offset": 0, "content": []})
            for number, line in enumerate(stream["content"], stream["offset"]):
                self.server.history.setdefault(run_id, {})[number] = json.loads(line)
            if sent.get("complete"):
                self.server.exits.append((run_id, sent.get("exitcode")))
        text = json.dumps(answer).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    do_GET = do_POST = do_PUT = reply  # noqa: N815


@contextmanager
def wandb_server() -> Iterator[Server]:
    """A server that runs for the length of the block."""
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join(10)
