"""A double of the hub's HTTP API on a port of this machine: what huggingface-hub asks is answered, nothing is patched.

Endpoints as huggingface_hub calls them and https://huggingface.co/docs/hub/api describes them: repositories of commits
of files, small files in the commit itself, weights by Git LFS
(https://github.com/git-lfs/git-lfs/blob/main/docs/api/batch.md).
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest

TOKEN = "hf_SecretOfTheTests"


@dataclass
class Repository:
    private: bool
    commits: dict[str, dict[str, bytes]] = field(default_factory=dict)
    refs: dict[str, str] = field(default_factory=dict)
    messages: list[str] = field(default_factory=list)
    gated: bool = False

    def commit(self, files: dict[str, bytes], branch: str = "main", message: str = "") -> str:
        hashes = sorted((name, hashlib.sha1(data).hexdigest()) for name, data in files.items())
        sha = hashlib.sha1(f"{len(self.commits)} {hashes}".encode()).hexdigest()
        self.commits[sha] = files
        self.refs[branch] = sha
        self.messages.append(message)
        return sha

    def sha(self, revision: str) -> str | None:
        return revision if revision in self.commits else self.refs.get(revision)


@dataclass
class Hub:
    """What is on the hub, what was asked of it, and what goes wrong there."""

    url: str = ""
    repositories: dict[str, Repository] = field(default_factory=dict)
    blobs: dict[str, bytes] = field(default_factory=dict)
    requests: list[tuple[str, str]] = field(default_factory=list)
    tokens: set[str] = field(default_factory=set)
    # Of each download so many bytes, then the line goes dead; None: whole.
    cut_after: int | None = None
    # Every answer is this.
    broken: int | None = None
    may_write: bool = True
    claimed_size: int | None = None
    # What the double does not know of.
    unknown: list[str] = field(default_factory=list)

    def put(self, name: str, files: dict[str, bytes], *, private: bool = False, branch: str = "main") -> str:
        """A commit with these files and no others."""
        return self.repositories.setdefault(name, Repository(private=private)).commit(files, branch)

    def files(self, name: str, revision: str = "main") -> dict[str, bytes]:
        repository = self.repositories[name]
        sha = repository.sha(revision)
        assert sha is not None
        return repository.commits[sha]

    def asked(self, pattern: str) -> list[str]:
        return [path for _, path in self.requests if re.search(pattern, path)]


def blob_id(data: bytes) -> str:
    """As git names a file."""
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


def is_large(name: str) -> bool:
    return name.endswith((".safetensors", ".bin", ".pkl"))


class Answers(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    hub: Hub

    def log_message(self, *_: Any) -> None:
        pass

    def do_HEAD(self) -> None:
        self.answer()

    do_GET = do_POST = do_PUT = do_HEAD  # noqa: N815, the names that http.server calls

    def answer(self) -> None:
        path = unquote(urlsplit(self.path).path)
        self.hub.requests.append((self.command, path))
        self.body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.headers.get("Transfer-Encoding") == "chunked":
            self.body = self.chunks()
        token = (self.headers.get("Authorization") or "").removeprefix("Bearer ")
        self.token = token
        if token:
            self.hub.tokens.add(token)
        if self.hub.broken is not None:
            self.say(self.hub.broken, {"error": "no"})
            return
        for pattern, answer in self.routes:
            if found := re.fullmatch(pattern, path):
                answer(self, **found.groupdict())
                return
        self.hub.unknown.append(f"{self.command} {path}")
        self.say(404, {})

    def chunks(self) -> bytes:
        body = b""
        while size := int(self.rfile.readline(), 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return body

    def say(self, status: int, content: Any, **headers: str) -> None:
        data = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response(status)
        for name, value in ({"Content-Length": str(len(data))} | headers).items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def found(self, name: str, revision: str | None = None) -> tuple[Repository, str] | None:
        """The repository and the commit; what is not there, or not for the asker, is answered."""
        repository = self.hub.repositories.get(name)
        if repository is None or (repository.private and self.token != TOKEN):
            # The hub does not tell strangers whether there is such a repository.
            self.say(404 if self.token == TOKEN else 401, {"error": "no"}, X_Error_Code="RepoNotFound")
            return None
        if repository.gated:
            self.say(403, {"error": "gated"}, X_Error_Code="GatedRepo")
            return None
        sha = repository.sha(revision or "main")
        if sha is None:
            self.say(404, {"error": "no"}, X_Error_Code="RevisionNotFound")
            return None
        return repository, sha

    def entry(self, path: str, data: bytes) -> dict[str, Any]:
        size = len(data) if self.hub.claimed_size is None else self.hub.claimed_size
        lfs = {"oid": hashlib.sha256(data).hexdigest(), "size": size, "pointerSize": 134}
        return {"type": "file", "path": path, "size": size, "oid": blob_id(data)} | (
            {"lfs": lfs} if is_large(path) else {}
        )

    def info(self, name: str, revision: str | None = None) -> None:
        if (found := self.found(name, revision)) is None:
            return
        repository, sha = found
        files = [self.entry(*each) for each in sorted(repository.commits[sha].items())]
        siblings = [
            {"rfilename": each["path"], "size": each["size"], "blobId": each["oid"]} for each in files
        ]
        self.say(
            200, {"id": name, "sha": sha, "siblings": siblings, "private": repository.private, "tags": []}
        )

    def tree(self, name: str, revision: str) -> None:
        if (found := self.found(name, revision)) is not None:
            self.say(200, [self.entry(*each) for each in sorted(found[0].commits[found[1]].items())])

    def resolve(self, name: str, revision: str, path: str) -> None:
        if (found := self.found(name, revision)) is None:
            return
        data = found[0].commits[found[1]].get(path)
        if data is None:
            self.say(404, {"error": "no"}, X_Error_Code="EntryNotFound", X_Repo_Commit=found[1])
            return
        headers = {"X_Repo_Commit": found[1], "ETag": f'"{blob_id(data)}"'}
        if not is_large(path):
            self.send(data, headers)
            return
        digest = hashlib.sha256(data).hexdigest()
        self.hub.blobs[digest] = data
        # By another name: what is stored elsewhere is not asked for with the token.
        store = self.hub.url.replace("127.0.0.1", "localhost")
        location = f"{store}/cdn/{digest}?Signature=SecretOfTheStore"
        linked = {"X_Linked_Etag": f'"{digest}"', "X_Linked_Size": str(len(data)), "Location": location}
        self.say(302, b"", **headers | linked)

    def cdn(self, digest: str) -> None:
        assert not self.token
        self.send(self.hub.blobs[digest], {"ETag": f'"{digest}"'})

    def send(self, data: bytes, headers: dict[str, str]) -> None:
        start = int(found[1]) if (found := re.match(r"bytes=(\d+)-", self.headers.get("Range") or "")) else 0
        cut = self.hub.cut_after
        if self.command == "HEAD" or cut is None or cut >= len(data) - start:
            self.say(206 if start else 200, data[start:], **headers)
            return
        self.send_response(206 if start else 200)
        for name, value in (headers | {"Content_Length": str(len(data) - start)}).items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(data[start : start + cut])
        self.wfile.flush()
        self.close_connection = True

    def create(self) -> None:
        asked = json.loads(self.body)
        name = f"{asked['organization']}/{asked['name']}"
        if self.token != TOKEN or not self.hub.may_write:
            self.say(
                403 if self.token == TOKEN else 401, {"error": "You don't have the rights to create a model"}
            )
        elif name in self.hub.repositories:
            self.say(409, {"error": "You already created this model repo", "url": f"{self.hub.url}/{name}"})
        else:
            private = asked.get("private") or asked.get("visibility") == "private"
            self.hub.put(name, {".gitattributes": b"*.safetensors filter=lfs\n"}, private=bool(private))
            self.say(200, {"url": f"{self.hub.url}/{name}", "name": name, "id": "1"})

    def branch(self, name: str, branch: str) -> None:
        repository = self.hub.repositories[name]
        if branch in repository.refs:
            self.say(409, {"error": "Reference already exists"})
            return
        repository.refs[branch] = repository.refs["main"]
        self.say(200, {})

    def preupload(self, name: str, revision: str) -> None:
        if (found := self.found(name, revision)) is None:
            return
        there = found[0].commits[found[1]]
        files = [
            {
                "path": each["path"],
                "uploadMode": "lfs" if is_large(each["path"]) else "regular",
                "shouldIgnore": False,
                "oid": self.remote_oid(there, each["path"]),
            }
            for each in json.loads(self.body)["files"]
        ]
        self.say(200, {"files": files})

    def remote_oid(self, there: dict[str, bytes], path: str) -> str | None:
        if path not in there:
            return None
        return hashlib.sha256(there[path]).hexdigest() if is_large(path) else blob_id(there[path])

    def batch(self, name: str) -> None:
        objects = [
            {"oid": each["oid"], "size": each["size"]}
            | (
                {}
                if each["oid"] in self.hub.blobs
                else {"actions": {"upload": {"href": f"{self.hub.url}/lfs/{each['oid']}"}}}
            )
            for each in json.loads(self.body)["objects"]
        ]
        self.say(200, {"transfer": "basic", "objects": objects})

    def upload(self, digest: str) -> None:
        assert hashlib.sha256(self.body).hexdigest() == digest
        self.hub.blobs[digest] = self.body
        self.say(200, b"")

    def validate(self) -> None:
        self.say(200, {"errors": [], "warnings": []})

    def commit(self, name: str, revision: str) -> None:
        if (found := self.found(name, revision)) is None:
            return
        if self.token != TOKEN or not self.hub.may_write:
            self.say(403, {"error": "no rights"})
            return
        files, message = dict(found[0].commits[found[1]]), ""
        for line in self.body.splitlines():
            operation = json.loads(line)
            value = operation["value"]
            match operation["key"]:
                case "header":
                    message = value["summary"]
                case "file":
                    files[value["path"]] = base64.b64decode(value["content"])
                case "lfsFile":
                    files[value["path"]] = self.hub.blobs[value["oid"]]
                case "deletedFile":
                    del files[value["path"]]
                case other:
                    raise AssertionError(other)
        sha = found[0].commit(files, revision, message)
        url = f"{self.hub.url}/{name}/commit/{sha}"
        self.say(200, {"commitUrl": url, "commitOid": sha, "pullRequestUrl": None})

    _NAME = r"(?P<name>[^/]+/[^/]+)"
    routes = (
        (r"/api/repos/create", create),
        (r"/api/validate-yaml", validate),
        # Which programs drive other programs: the package asks once a day.
        (r"/api/agent-harnesses", lambda self: self.say(404, {})),
        (rf"/api/models/{_NAME}", info),
        (rf"/api/models/{_NAME}/revision/(?P<revision>.+)", info),
        (rf"/api/models/{_NAME}/tree/(?P<revision>.+)", tree),
        (rf"/api/models/{_NAME}/branch/(?P<branch>.+)", branch),
        (rf"/api/models/{_NAME}/preupload/(?P<revision>.+)", preupload),
        (rf"/api/models/{_NAME}/commit/(?P<revision>.+)", commit),
        (rf"/{_NAME}\.git/info/lfs/objects/batch", batch),
        (r"/lfs/(?P<digest>\w+)", upload),
        (r"/cdn/(?P<digest>\w+)", cdn),
        (rf"/{_NAME}/resolve/(?P<revision>[^/]+)/(?P<path>.+)", resolve),
    )


@pytest.fixture
def hub_server() -> Iterator[Hub]:
    """The double; an empty one."""
    hub = Hub()
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Own", (Answers,), {"hub": hub}))
    server.daemon_threads = True
    hub.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    yield hub
    server.shutdown()
    server.server_close()
    thread.join()
    assert not hub.unknown


@pytest.fixture
def hub(hub_server: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Hub:
    """The double as the hub of this process, logged in, and an empty cache: constants that the package reads from the
    environment when it is loaded have the values that `hub_environment` would give them.
    """
    from huggingface_hub import constants

    values = {
        "ENDPOINT": hub_server.url,
        "HUGGINGFACE_CO_URL_TEMPLATE": f"{hub_server.url}/{{repo_id}}/resolve/{{revision}}/{{filename}}",
        "HF_HUB_CACHE": str(tmp_path / "hub_cache"),
        "HF_TOKEN_PATH": str(tmp_path / "no_token"),
        "HF_HUB_DISABLE_XET": True,
        "HF_HUB_OFFLINE": False,
        "AGENT_HARNESSES_PATH": str(tmp_path / "harnesses.json"),
    }
    for name, value in values.items():
        monkeypatch.setattr(constants, name, value)
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    return hub_server


@pytest.fixture
def hub_environment(hub_server: Hub, tmp_path: Path) -> dict[str, str]:
    """What a program of its own needs to take the double for the hub."""
    return {
        "HF_ENDPOINT": hub_server.url,
        "HF_HOME": str(tmp_path / "hf_home"),
        "HF_HUB_DISABLE_XET": "1",
        "HF_TOKEN": TOKEN,
    }
