"""A stand-in for a Kubernetes API server: a few objects in memory, as much of the API as the real kubectl asks for.

No API server can be had on a test machine, so states are those that a test writes down, in the form that the API's
documentation gives, and no controller acts on them. What is real is kubectl: what it is asked, in which words, what it
sends, prints and deletes. Of the server's own rules it has those that submissions meet: what is there cannot be created
again, an immutable ConfigMap cannot be changed, what is refused leaves the rest, and what is deleted in the foreground
stays until its pods are gone, which take their time.
"""

import contextlib
import json
import re
import shutil
import sys
import threading
import time
import traceback
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

# group/version: resource: (kind, what else it answers to)
APIS = {
    "v1": {"pods": "Pod", "services": "Service", "configmaps": "ConfigMap"},
    "batch/v1": {"jobs": "Job"},
    "jobset.x-k8s.io/v1alpha2": {"jobsets": "JobSet"},
    "trainer.kubeflow.org/v1alpha1": {"trainjobs": "TrainJob", "trainingruntimes": "TrainingRuntime"},
    "scheduling.volcano.sh/v1beta1": {"podgroups": "PodGroup"},
}
_PATH = re.compile(
    r"/(?:api|apis/(?P<group>[^/]+))/(?P<version>[^/]+)/namespaces/(?P<namespace>[^/]+)/(?P<resource>[a-z]+)"
    r"(?:/(?P<name>[^/]+))?(?P<log>/log)?"
)


def lacking() -> list[str]:
    """What its tests need and this machine lacks."""
    return [] if shutil.which("kubectl") else ["kubectl"]


@dataclass
class Cluster:
    """What the server holds."""

    folder: Path
    url: str = ""
    apis: dict[str, dict[str, str]] = field(default_factory=lambda: dict(APIS))
    objects: dict[tuple[str, str, str], dict[str, Any]] = field(default_factory=dict)
    """By resource, namespace, name."""
    logs: dict[str, list[str]] = field(default_factory=dict)
    """Lines by pod; None ends a log that is followed."""
    ended: set[str] = field(default_factory=set)
    """Pods whose containers have ended: a followed log ends."""
    refused: dict[tuple[str, str], int] = field(default_factory=dict)
    """Resource and part of the name of what cannot be made, and the code with which that is answered."""
    silent: dict[str, float] = field(default_factory=dict)
    """Resources that are made, and seconds before that is answered."""
    lingering: float = 0.0
    """Seconds that pods take to end once what made them is deleted."""
    asked: list[str] = field(default_factory=list)
    """METHOD PATH of requests for objects."""
    delay: float = 0.0
    """Seconds before each answer."""
    faults: list[str] = field(default_factory=list)
    """Tracebacks of the server's own; who starts it fails at the end where there are any."""

    def add(self, resource: str, name: str, namespace: str = "default", **content: Any) -> None:
        """Put an object there: labels, spec, status."""
        version, kind = next((v, r[resource]) for v, r in self.apis.items() if resource in r)
        metadata = {
            "name": name,
            "namespace": namespace,
            "labels": content.pop("labels", {}),
            "creationTimestamp": "2026-01-02T03:04:05Z",
        }
        self.objects[resource, namespace, name] = {
            "apiVersion": version,
            "kind": kind,
            "metadata": metadata,
            **content,
        }

    def pod_of(self, resource: str, name: str, pod: str, namespace: str = "default", **labels: str) -> None:
        """A running pod of a workload, which ends with it."""
        every = {"slipway/run": name, **labels}
        self.add("pods", pod, namespace, labels=every, spec={}, status={"phase": "Running"})
        self.objects["pods", namespace, pod]["owner"] = (resource, namespace, name)

    def names(self, resource: str) -> list[str]:
        """Of the objects of a resource."""
        return sorted(key[2] for key in self.objects if key[0] == resource)

    def delete(self, key: tuple[str, str, str], foreground: bool) -> None:
        """As controllers and the garbage collector do, in a while."""
        pods = [pod for pod, one in self.objects.items() if one.get("owner") == key]
        for pod in pods:
            self.objects[pod]["metadata"]["deletionTimestamp"] = "2026-01-02T03:04:05Z"
        if foreground and pods:
            self.objects[key]["metadata"]["deletionTimestamp"] = "2026-01-02T03:04:05Z"
        else:
            del self.objects[key]

        def end() -> None:
            for pod in [*pods, key]:
                self.objects.pop(pod, None)

        if pods and self.lingering:
            timer = threading.Timer(self.lingering, end)
            timer.daemon = True
            timer.start()
        else:
            end()

    def write_config(self, *contexts: str) -> Path:
        """A kubeconfig in which the contexts mean this server; the first one is the current."""
        path = self.folder / "kubeconfig"
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "test", "cluster": {"server": self.url}}],
            "users": [{"name": "me", "user": {}}],
            "contexts": [{"name": one, "context": {"cluster": "test", "user": "me"}} for one in contexts],
            "current-context": contexts[0],
        }
        path.write_text(json.dumps(config))
        return path


@contextlib.contextmanager
def running(folder: Path) -> Iterator[Cluster]:
    """A server on a free port of 127.0.0.1."""
    cluster = Cluster(folder)
    server = _Server(("127.0.0.1", 0), type("Handler", (_Handler,), {"cluster": cluster}))
    server.faults = cluster.faults
    cluster.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield cluster
    finally:
        server.shutdown()
        server.server_close()
        thread.join(10)
    assert not cluster.faults, "\n".join(cluster.faults)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    faults: list[str]

    def handle_error(self, request: object, client_address: object) -> None:
        """Note what went wrong, not where tests read what programs say; a client that has gone away is no fault."""
        if not isinstance(sys.exception(), ConnectionError):
            self.faults.append(traceback.format_exc())


class _Handler(BaseHTTPRequestHandler):
    cluster: Cluster

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        found = self._discovery(url.path)
        if found is not None:
            return self._answer(found)
        match = _PATH.fullmatch(url.path)
        if match is None:
            return self._missing(url.path)
        self.cluster.asked.append(f"GET {self.path}")
        time.sleep(self.cluster.delay)
        query = {name: values[0] for name, values in parse_qs(url.query).items()}
        key = match["resource"], match["namespace"], match["name"]
        if match["log"]:
            return self._log(match["name"], query)
        if match["name"]:
            return (
                self._answer(self.cluster.objects[key])
                if key in self.cluster.objects
                else self._missing(url.path)
            )
        selector = query.get("labelSelector", "")
        items = [
            one
            for (resource, namespace, _), one in list(
                self.cluster.objects.items()
            )  # others may come meanwhile
            if (resource, namespace) == key[:2]
            and _selected(one["metadata"]["labels"], selector)
            and query.get("fieldSelector", "")
            in ("", f"status.phase={(one.get('status') or {}).get('phase')}")
        ]
        version, kind = next((v, r[key[0]]) for v, r in self.cluster.apis.items() if key[0] in r)
        self._answer({"kind": f"{kind}List", "apiVersion": version, "metadata": {}, "items": items})

    def do_DELETE(self) -> None:
        body = self._body()
        self.cluster.asked.append(f"DELETE {self.path}")
        match = _PATH.fullmatch(urlsplit(self.path).path)
        key = (match["resource"], match["namespace"], match["name"]) if match else ("", "", "")
        if key not in self.cluster.objects:
            return self._missing(self.path)
        self.cluster.delete(key, foreground=body.get("propagationPolicy") == "Foreground")
        self._answer({"kind": "Status", "apiVersion": "v1", "status": "Success"})

    def do_POST(self) -> None:
        self._make(self._body(), new=True)

    def do_PATCH(self) -> None:
        self._make(self._body(), new=False)

    def _make(self, content: dict[str, Any], new: bool) -> None:
        """Create (new) or apply an object."""
        self.cluster.asked.append(f"{self.command} {self.path}")
        match = _PATH.fullmatch(urlsplit(self.path).path)
        assert match is not None, self.path
        name = content["metadata"]["name"]
        key = match["resource"], match["namespace"], name
        there = self.cluster.objects.get(key)
        code = next((c for (r, n), c in self.cluster.refused.items() if r == key[0] and n in name), None)
        if code is not None:
            return self._failure("Forbidden", f"{key[0]} {name} is forbidden: exceeded quota", code)
        if there is not None and new:
            return self._failure("AlreadyExists", f'{key[0]} "{name}" already exists', 409)
        if there is not None and there.get("immutable") and there.get("data") != content.get("data"):
            return self._failure(
                "Invalid", f'{there["kind"]} "{name}" is invalid: data: field is immutable', 422
            )
        metadata = {"labels": {}, "creationTimestamp": "2026-01-02T03:04:05Z", **content["metadata"]}
        made = self.cluster.objects[key] = {**content, "metadata": metadata}
        time.sleep(self.cluster.silent.get(key[0], 0.0))
        with contextlib.suppress(BrokenPipeError):  # who asked has given up
            self._answer(made, 201)  # it may be deleted by now

    def _body(self) -> dict[str, Any]:
        return json.loads(self.rfile.read(int(self.headers.get("Content-Length") or 0)) or "{}")

    def _openapi(self, path: str) -> dict[str, Any]:
        """What kubectl looks up before it sends: that the server checks fields itself."""
        if path == "/openapi/v3":
            every = self.cluster.apis
            return {"paths": {_root(one)[1:]: {"serverRelativeURL": f"/openapi/v3/{one}"} for one in every}}
        version = path.removeprefix("/openapi/v3/")
        group, _, short = version.rpartition("/")
        paths = {}
        for name, kind in self.cluster.apis[version].items():
            own = {"group": group, "version": short, "kind": kind}
            asked = [{"name": "fieldValidation", "in": "query"}]
            patch = {"parameters": asked, "responses": {}, "x-kubernetes-group-version-kind": own}
            paths[f"{_root(version)}/namespaces/{{namespace}}/{name}/{{name}}"] = {"patch": patch}
        return {"openapi": "3.0.0", "info": {"title": "test", "version": "1"}, "paths": paths}

    def _discovery(self, path: str) -> dict[str, Any] | None:
        groups = {version.rpartition("/")[0]: version for version in self.cluster.apis if "/" in version}
        if path == "/api":
            return {"kind": "APIVersions", "versions": ["v1"]}
        if path == "/apis":
            each = {
                group: {"groupVersion": version, "version": version.rpartition("/")[2]}
                for group, version in groups.items()
            }
            listed = [
                {"name": name, "versions": [one], "preferredVersion": one} for name, one in each.items()
            ]
            return {"kind": "APIGroupList", "apiVersion": "v1", "groups": listed}
        if path.startswith("/openapi/v3"):
            return self._openapi(path)
        version = path.removeprefix("/apis/").removeprefix("/api/")
        if version not in self.cluster.apis:
            return None
        resources = [
            {
                "name": name,
                "singularName": kind.lower(),
                "kind": kind,
                "namespaced": True,
                "verbs": ["get", "list", "delete", "deletecollection", "create", "patch"],
            }
            for name, kind in self.cluster.apis[version].items()
        ]
        return {
            "kind": "APIResourceList",
            "apiVersion": "v1",
            "groupVersion": version,
            "resources": resources,
        }

    def _log(self, pod: str, query: dict[str, str]) -> None:
        self.send_response(200)
        self.end_headers()
        lines = self.cluster.logs.get(pod, [])
        at = max(0, len(lines) - int(query.get("tailLines", 10**6)))
        limit = time.monotonic() + 30
        while time.monotonic() < limit:
            for line in lines[at:]:
                self.wfile.write(f"{line}\n".encode())
                at += 1
            self.wfile.flush()
            if query.get("follow") != "true" or pod in self.cluster.ended:
                return
            time.sleep(0.05)

    def _answer(self, content: dict[str, Any], code: int = 200) -> None:
        body = json.dumps(content).encode()
        self.send_response(code)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _missing(self, path: str) -> None:
        self._failure("NotFound", f"{path} not found", 404)

    def _failure(self, reason: str, message: str, code: int) -> None:
        status = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": reason, "code": code}
        self._answer({**status, "message": message}, code)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


def _root(version: str) -> str:
    return f"/api/{version}" if version == "v1" else f"/apis/{version}"


def _selected(labels: dict[str, str], selector: str) -> bool:
    for name, equal, among in re.findall(r"([^,=\s]+)(?:=([^,]+)|\s+in\s+\(([^)]*)\))", selector):
        if labels.get(name) not in ([equal] if equal else among.split(",")):
            return False
    return True
