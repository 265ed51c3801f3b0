"""A Hub on loopback for tests: the routes and headers that `huggingface_hub` uses, served from a folder.

`HubServer` is started by the `hub` fixture of tests/conftest.py. Each `publish` is a commit: it becomes `main`, and a
tag if one is given. `requests` logs what was asked; `faults` make chosen answers break.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import re
import shutil
import tempfile
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import uvicorn
from starlette.responses import JSONResponse, Response

LARGE = 4096  # bytes from which a file is stored as the Hub stores large ones: known by its sha256, sent by the CDN


@dataclass(frozen=True)
class Asked:
    """One request as the log keeps it."""

    method: str
    path: str
    range: str | None
    token: str | None
    agent: str


@dataclass
class Fault:
    """Makes answers to `method` for paths that end in `suffix` break, `times` times.

    `status`: that status, with no body. `cut`: so many bytes of the body, then the line is dead. `delay`: seconds of
    silence first. `whole`: a Range is ignored. `plain`: none of the Hub's own headers.
    `commit`: another X-Repo-Commit.
    """

    suffix: str = ""
    method: str = "GET"
    status: int = 0
    cut: int | None = None
    delay: float = 0.0
    whole: bool = False
    plain: bool = False
    commit: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    times: int = 1_000_000

    def hits(self, method: str, path: str) -> bool:
        """Whether this answer is to break; counts down."""
        hit = self.times > 0 and method == self.method and path.endswith(self.suffix)
        self.times -= hit
        return hit


@dataclass
class Repository:
    """One repository: its commits, and where branches and tags stand."""

    folder: Path
    refs: dict[str, str] = field(default_factory=dict)
    gated: bool = False
    private: bool = False
    moved_to: str | None = None
    also_listed: tuple[str, ...] = ()  # names that the API gives beside those of the files

    def commit(self, revision: str) -> str | None:
        """The commit of a branch, tag, commit, or the beginning of a commit."""
        if revision in self.refs:
            return self.refs[revision]
        commits = [path.name for path in self.folder.iterdir() if path.is_dir()]
        found = [c for c in commits if re.fullmatch(r"[0-9a-f]{5,40}", revision) and c.startswith(revision)]
        return found[0] if len(found) == 1 else None


class HubServer:
    """Repositories on loopback, and a log of what was asked."""

    token = "hf_member"  # opens everything
    stranger = "hf_stranger"  # an account that signed no agreement

    def __init__(self, root: Path) -> None:
        self.root = root
        self.repositories: dict[str, Repository] = {}
        self.requests: list[Asked] = []
        self.faults: list[Fault] = []
        self.cdn = False  # large files are sent by another host, as the real Hub does
        config = uvicorn.Config(
            self._answer, host="127.0.0.1", port=0, interface="asgi3", lifespan="off", log_level="critical"
        )
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._server.run, daemon=True)

    def __enter__(self) -> HubServer:
        self._thread.start()
        until = time.monotonic() + 10
        while not self._server.started and time.monotonic() < until:
            time.sleep(0.01)
        assert self._server.started, "the server of the tests did not start"
        self.port: int = self._server.servers[0].sockets[0].getsockname()[1]
        return self

    def __exit__(self, *_: object) -> None:
        self._server.should_exit = True
        self._server.force_exit = True
        self._thread.join(timeout=10)

    def clear(self) -> None:
        """Forget everything: repositories, log and faults."""
        self.repositories.clear()
        self.requests.clear()
        self.faults.clear()
        self.cdn = False
        for folder in self.root.iterdir():
            shutil.rmtree(folder)

    @property
    def url(self) -> str:
        """What HF_ENDPOINT is to be."""
        return f"http://127.0.0.1:{self.port}"

    def publish(
        self, name: str, source: Path, tag: str | None = None, gated: bool = False, private: bool = False
    ) -> str:
        """A new commit of `name` with the files of the folder `source`; returns its name."""
        repository = self.repositories.setdefault(name, Repository(self.root / name))
        repository.gated, repository.private = gated, private
        commit = hashlib.sha1(f"{name} {len(repository.refs)} {time.monotonic_ns()}".encode()).hexdigest()
        shutil.copytree(source, repository.folder / commit)
        repository.refs["main"] = commit
        if tag is not None:
            repository.refs[tag] = commit
        return commit

    def move(self, old: str, new: str) -> None:
        """From now on `old` redirects to `new`, as renamed repositories do."""
        self.repositories[old] = Repository(self.root / old, moved_to=new)

    def asked(self, suffix: str = "", method: str = "") -> list[Asked]:
        """The log: requests whose path ends in `suffix`."""
        return [r for r in self.requests if r.path.endswith(suffix) and method in ("", r.method)]

    async def _answer(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        headers = {k.decode().lower(): v.decode() for k, v in scope["headers"]}
        method, path = scope["method"], scope["raw_path"].decode().partition("?")[0]
        token = headers.get("authorization", "").removeprefix("Bearer ") or None
        self.requests.append(Asked(method, unquote(path), headers.get("range"), token, headers.get("user-agent", "")))
        fault = next((f for f in self.faults if f.hits(method, unquote(path))), Fault())
        if fault.delay:
            await asyncio.sleep(fault.delay)
        if fault.status:
            response = Response(status_code=fault.status, headers=dict(fault.headers))
        elif method == "POST":
            response = self._take(path, await _body(receive), token)
        else:
            response = self._respond(method, path, None if fault.whole else headers.get("range"), token)
        if fault.plain:
            for name in ("x-repo-commit", "x-error-code", "x-linked-etag", "x-linked-size"):
                if name in response.headers:
                    del response.headers[name]
        if fault.commit is not None:
            response.headers["x-repo-commit"] = fault.commit
        if fault.cut is None:
            await response(scope, receive, send)
            return
        await send({"type": "http.response.start", "status": response.status_code, "headers": response.raw_headers})
        await send({"type": "http.response.body", "body": response.body[: fault.cut], "more_body": True})
        # returning now, with the body unfinished, makes uvicorn close the connection

    def _respond(self, method: str, path: str, wanted: str | None, token: str | None) -> Response:
        parts = [unquote(part) for part in path.strip("/").split("/")]
        if parts[0] == "cdn":
            return _file(self.root.joinpath(*parts[1:]), wanted, {})
        if parts[0] == "datasets":  # a repository of data is called datasets/owner/name in addresses of its files
            parts = parts[1:]
        if parts[0] == "api" and parts[1] in ("models", "datasets") and len(parts) >= 4:
            return self._api("/".join(parts[2:4]), parts[4:], path, token)
        if len(parts) >= 5 and parts[2] == "resolve":
            return self._resolve("/".join(parts[:2]), parts[3], "/".join(parts[4:]), path, wanted, token)
        return _refusal(404, None, "Not found")

    def _take(self, path: str, body: bytes, token: str | None) -> Response:
        """What is written: a repository is made, it is asked how files are to be sent, and a commit."""
        if token != self.token:
            return _refusal(401, None, "Invalid username or password.")
        parts = [unquote(part) for part in path.strip("/").split("/")]
        if parts == ["api", "repos", "create"]:
            wanted = json.loads(body)
            name = f"{wanted.get('organization') or 'owner'}/{wanted['name']}"
            there = name in self.repositories
            if not there:
                empty = self.root / "empty"
                empty.mkdir(exist_ok=True)
                self.publish(name, empty, private=wanted.get("visibility") == "private")
            prefix = "datasets/" if wanted.get("type") == "dataset" else ""
            return JSONResponse({"url": f"{self.url}/{prefix}{name}"}, 409 if there else 200)
        name = "/".join(parts[2:4])
        if parts[4:5] == ["preupload"]:
            files = [{"path": f["path"], "uploadMode": "regular", "shouldIgnore": False, "oid": None}
                     for f in json.loads(body)["files"]]  # fmt: skip
            return JSONResponse({"files": files})
        if parts[4:5] == ["commit"]:
            repository = self.repositories[name]
            with tempfile.TemporaryDirectory() as made:
                shutil.copytree(repository.folder / repository.refs["main"], made, dirs_exist_ok=True)
                for line in map(json.loads, body.splitlines()):
                    if line["key"] == "file":
                        target = Path(made, line["value"]["path"])
                        target.parent.mkdir(parents=True, exist_ok=True)
                        target.write_bytes(base64.b64decode(line["value"]["content"]))
                commit = self.publish(name, Path(made), private=repository.private)
            return JSONResponse({"commitUrl": f"{self.url}/{name}/commit/{commit}", "commitOid": commit})
        return _refusal(404, None, "Not found")

    def _open(self, name: str, path: str, token: str | None) -> Repository | Response:
        repository = self.repositories.get(name)
        if token not in (None, self.token, self.stranger):
            return _refusal(401, None, "Invalid credentials in Authorization header")
        if repository is None or (repository.private and token != self.token):
            # the real Hub tells nobody without a token whether a repository exists
            return _refusal(404 if token else 401, "RepoNotFound", "Repository not found")
        if repository.moved_to:
            return Response(status_code=307, headers={"Location": path.replace(name, repository.moved_to, 1)})
        return repository

    def _api(self, name: str, rest: list[str], path: str, token: str | None) -> Response:
        repository = self._open(name, path, token)
        if isinstance(repository, Response):
            return repository
        revision = rest[1] if len(rest) > 1 and rest[0] in ("revision", "tree") else "main"
        commit = repository.commit(revision)
        if commit is None:
            return _refusal(404, "RevisionNotFound", f"Invalid rev id: {revision}")
        folder = repository.folder / commit
        files = sorted(p for p in folder.rglob("*") if p.is_file())
        names = [p.relative_to(folder).as_posix() for p in files]
        if rest[:1] == ["tree"]:
            rows = [
                {"type": "file", "oid": _etag(p, "sha1"), "size": p.stat().st_size, "path": n}
                for p, n in zip(files, names, strict=True)
            ]
            return JSONResponse(rows)
        siblings = [{"rfilename": n} for n in (*names, *repository.also_listed)]
        return JSONResponse({"id": name, "modelId": name, "sha": commit, "private": False, "siblings": siblings})

    def _resolve(
        self, name: str, revision: str, file: str, path: str, wanted: str | None, token: str | None
    ) -> Response:
        repository = self._open(name, path, token)
        if isinstance(repository, Response):
            return repository
        if repository.gated and token != self.token:
            return _refusal(403 if token else 401, "GatedRepo", f"Access to model {name} is restricted")
        commit = repository.commit(revision)
        if commit is None:
            return _refusal(404, "RevisionNotFound", f"Invalid rev id: {revision}")
        target = repository.folder / commit / file
        if not target.is_file():
            return _refusal(404, "EntryNotFound", "Entry not found", {"X-Repo-Commit": commit})
        headers = {"X-Repo-Commit": commit}
        if self.cdn and target.stat().st_size >= LARGE:
            linked = {"X-Linked-Etag": f'"{_etag(target, "sha256")}"', "X-Linked-Size": str(target.stat().st_size)}
            location = f"http://localhost:{self.port}/cdn/{target.relative_to(self.root).as_posix()}"
            return Response(status_code=302, headers=headers | linked | {"Location": location})
        return _file(target, wanted, headers)


async def _body(receive: Any) -> bytes:
    """All that a request sends."""
    body, more = b"", True
    while more:
        message = await receive()
        body, more = body + message.get("body", b""), message.get("more_body", False)
    return body


def _file(path: Path, wanted: str | None, headers: Mapping[str, str]) -> Response:
    """The bytes, or the part of them that a Range asks for. uvicorn leaves the body out of answers to HEAD."""
    body, status = path.read_bytes(), 200
    more = {"ETag": f'"{_etag(path, "sha1")}"', "Accept-Ranges": "bytes"}
    match = re.fullmatch(r"bytes=(\d+)-(\d*)", wanted or "")
    if match:
        start, end = int(match[1]), int(match[2] or len(body) - 1)
        if start >= len(body):
            return Response(status_code=416, headers={"Content-Range": f"bytes */{len(body)}"})
        more["Content-Range"] = f"bytes {start}-{end}/{len(body)}"
        body, status = body[start : end + 1], 206
    return Response(body, status, headers=dict(headers) | more, media_type="application/octet-stream")


def _etag(path: Path, kind: str) -> str:
    return hashlib.new(kind, path.read_bytes()).hexdigest()


def _refusal(status: int, code: str | None, message: str, headers: Mapping[str, str] | None = None) -> Response:
    named = {"X-Error-Code": code} if code else {}
    content = json.dumps({"error": message})
    extra = named | {"X-Error-Message": message} | dict(headers or {})
    return Response(content, status, headers=extra, media_type="application/json")
