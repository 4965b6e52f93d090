"""A small Hugging Face hub: as much of its HTTP interface as creating, committing, listing and downloading need."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urlsplit

TOKEN = "hf_of_a_test"


class Hub:
    """Repositories of models, by name and commit."""

    def __init__(self) -> None:
        self.commits: dict[str, dict[str, dict[str, bytes]]] = {}
        self.refs: dict[str, dict[str, str]] = {}
        self.url = ""
        self.asked: list[str] = []

    def create(self, name: str) -> None:
        if name not in self.commits:
            self.commits[name], self.refs[name] = {}, {}
            self.commit(name, "main", {".gitattributes": b""}, [])

    def commit(self, name: str, revision: str, files: dict[str, bytes], deleted: list[str]) -> str:
        before = self.commits[name].get(self.refs[name].get(revision, ""), {})
        after = {path: data for path, data in before.items() if path not in deleted} | files
        sha = hashlib.sha1(repr((name, len(self.commits[name]), sorted(after.items()))).encode()).hexdigest()
        self.commits[name][sha] = after
        self.refs[name][revision] = sha
        return sha

    def files(self, name: str, revision: str) -> tuple[str, dict[str, bytes]] | None:
        sha = self.refs[name].get(revision, revision)
        return (sha, self.commits[name][sha]) if sha in self.commits[name] else None


def _oid(data: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


def _handler(hub: Hub) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, format: str, *arguments: Any) -> None:
            pass

        def _send(self, status: int, body: bytes = b"", **headers: str) -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            for name, value in headers.items():
                self.send_header(name.replace("_", "-"), value)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

        def _json(self, value: Any, status: int = 200) -> None:
            self._send(status, json.dumps(value).encode(), Content_Type="application/json")

        def _refuse(self, status: int, code: str) -> None:
            self._send(status, json.dumps({"error": code}).encode(), X_Error_Code=code, X_Error_Message=code)

        def do_GET(self) -> None:
            path = unquote(urlsplit(self.path).path)
            hub.asked.append(path)
            if found := re.fullmatch(r"/api/models/([^/]+/[^/]+)(?:/(revision|tree)/(.+))?", path):
                name, kind, revision = found[1], found[2] or "revision", found[3] or "main"
            elif found := re.fullmatch(r"/([^/]+/[^/]+)/resolve/([^/]+)/(.+)", path):
                name, kind, revision = found[1], "resolve", found[2]
            else:
                return self._refuse(404, "NotFound")
            if name not in hub.commits:
                return self._refuse(404, "RepoNotFound")
            there = hub.files(name, revision)
            if there is None:
                return self._refuse(404, "RevisionNotFound")
            sha, files = there
            if kind == "revision":
                return self._json({"id": name, "sha": sha, "siblings": [{"rfilename": each} for each in files]})
            if kind == "tree":
                entries = [{"type": "file", "path": p, "size": len(d), "oid": _oid(d)} for p, d in files.items()]
                return self._json(entries)
            if found[3] not in files:
                return self._refuse(404, "EntryNotFound")
            data = files[found[3]]
            return self._send(200, data, ETag=f'"{_oid(data)}"', X_Repo_Commit=sha)

        def do_HEAD(self) -> None:
            self.do_GET()

        def do_POST(self) -> None:
            path = unquote(urlsplit(self.path).path)
            hub.asked.append(path)
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            if path == "/api/validate-yaml":
                return self._json({"errors": [], "warnings": []})
            if self.headers.get("Authorization") != f"Bearer {TOKEN}":
                return self._refuse(401, "Unauthorized")
            if path == "/api/repos/create":
                asked = json.loads(body)
                name = f"{asked['organization']}/{asked['name']}" if asked.get("organization") else asked["name"]
                if name in hub.commits:
                    return self._json({"url": f"{hub.url}/{name}"}, 409)
                hub.create(name)
                return self._json({"url": f"{hub.url}/{name}"})
            if found := re.fullmatch(r"/api/models/([^/]+/[^/]+)/preupload/(.+)", path):
                files = json.loads(body)["files"]
                told = [{"path": each["path"], "uploadMode": "regular", "shouldIgnore": False} for each in files]
                return self._json({"files": told})
            if found := re.fullmatch(r"/api/models/([^/]+/[^/]+)/commit/(.+)", path):
                lines = [json.loads(line) for line in body.splitlines()]
                files = {
                    each["value"]["path"]: base64.b64decode(each["value"]["content"])
                    for each in lines
                    if each["key"] == "file"
                }
                deleted = [each["value"]["path"] for each in lines if each["key"] == "deletedFile"]
                sha = hub.commit(found[1], found[2], files, deleted)
                return self._json({"commitUrl": f"{hub.url}/{found[1]}/commit/{sha}", "commitOid": sha})
            return self._refuse(404, "NotFound")

    return Handler


@contextmanager
def running_hub() -> Iterator[Hub]:
    """A hub on a free port of this machine."""
    hub = Hub()
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(hub))
    hub.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
