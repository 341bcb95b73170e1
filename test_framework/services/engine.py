"""The container engine, wherever it is: Desktop, colima, rootless, or what DOCKER_HOST names. Found, never assumed.

It is started only where the user allowed that (`SERVICES_START_ENGINE=yes`) and only by its own start command.
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import shutil
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from test_framework.services.diagnosis import NO_ACCESS
from test_framework.services.state import EngineDownError

if TYPE_CHECKING:
    from docker import DockerClient

MAY_START = "SERVICES_START_ENGINE"
COMMAND_SECONDS = 10.0
STARTING_SECONDS = 60.0
NO_ANSWER = "the engine does not answer"
HTTP_OK, HTTP_SERVER_ERROR = 200, 500
DONE = frozenset({200, 201, 204, 304})
DEFAULT_SOCKET = "/var/run/docker.sock"
PLUGINS = (
    *("~/.docker/cli-plugins", "/usr/local/lib/docker/cli-plugins", "/usr/local/libexec/docker/cli-plugins"),
    *("/usr/lib/docker/cli-plugins", "/usr/libexec/docker/cli-plugins"),
)
_one_at_a_time = threading.Lock()
OFF_THE_PATH = ("/usr/local/bin", "/opt/homebrew/bin", "~/.docker/bin", "~/.rd/bin", "~/bin")


def docker_binary() -> str:
    places = os.pathsep.join([os.environ.get("PATH", os.defpath), *map(os.path.expanduser, OFF_THE_PATH)])
    if found := shutil.which("docker", path=places):
        return found
    raise EngineDownError("docker is not installed")


def compose_command() -> tuple[str, ...]:
    """Return how compose is called here: as docker's plugin, or as a program of its own."""
    with _one_at_a_time:
        return _find_compose()


@functools.cache
def _find_compose() -> tuple[str, ...]:
    plugin: tuple[str, ...] = (docker_binary(), "compose")
    if any(Path(os.path.expanduser(folder), "docker-compose").exists() for folder in PLUGINS):
        return plugin  # whatever is a plugin of docker's is not of version 1; to ask it takes a fifth of a second
    candidates = [plugin]
    if alone := shutil.which("docker-compose"):
        candidates.append((alone,))
    for candidate in candidates:
        done = subprocess.run(
            [*candidate, "version", "--short"], check=False, capture_output=True, text=True, timeout=COMMAND_SECONDS
        )
        if done.returncode == 0 and not done.stdout.startswith("1."):
            return candidate
    raise EngineDownError("docker compose version 2 is not installed")


@functools.cache
def endpoint() -> str:
    """Return the address that the docker command itself would use, its current context included."""
    if given := os.environ.get("DOCKER_HOST"):
        return given
    context = os.environ.get("DOCKER_CONTEXT") or current_context()
    if context in {"", "default"}:
        rootless = Path(os.environ.get("XDG_RUNTIME_DIR", "/nonexistent"), "docker.sock")
        return f"unix://{rootless}" if rootless.exists() and not Path(DEFAULT_SOCKET).exists() else ""
    command = [docker_binary(), "context", "inspect", context, "--format", "{{.Endpoints.docker.Host}}"]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=COMMAND_SECONDS)
    return done.stdout.strip()


def current_context() -> str:
    folder = Path(os.environ.get("DOCKER_CONFIG") or os.path.expanduser("~/.docker"))
    try:
        return str(json.loads((folder / "config.json").read_text(encoding="utf-8")).get("currentContext", ""))
    except (OSError, json.JSONDecodeError):
        return ""


def is_remote(address: str) -> bool:
    """Say whether the engine's loopback is not ours, so that ports published there can't be reached from here."""
    parts = urlsplit(address)
    return parts.scheme in {"tcp", "ssh"} and parts.hostname not in {"localhost", "127.0.0.1", "::1"}


def look(path: str) -> Any:
    """Ask the engine one question of its API, without the SDK, whose import takes longer than all that `up` needs to see.

    Return None for what does not exist.
    """
    status, text = call("GET", path)
    return json.loads(text) if status == HTTP_OK else None


def can_get(image: str) -> bool:
    """Say whether the engine has an image or finds it in a registry, without pulling it."""
    if look(f"/images/{image}/json") is not None:
        return True
    try:
        return look(f"/distribution/{image}/json") is not None
    except EngineDownError:  # it answered just before: it is the registry that does not
        return False


def tell(method: str, path: str) -> bool:
    """Have the engine do something; say whether it did, or found it done. A state that has moved is no error."""
    return call(method, path)[0] in DONE


def call(method: str, path: str) -> tuple[int, bytes]:
    address = endpoint()
    if not is_unix(address):
        return call_with_sdk(method, path)
    import http.client

    connection = http.client.HTTPConnection("engine", timeout=COMMAND_SECONDS)
    with contextlib.closing(connection), listener(address) as connection.sock:
        try:
            connection.request(method, path)
            answer = connection.getresponse()
            text = answer.read()
        except (OSError, http.client.HTTPException) as reason:
            raise EngineDownError(NO_ANSWER) from reason
    if method == "GET" and answer.status >= HTTP_SERVER_ERROR:
        raise EngineDownError(f"the engine answers with error {answer.status}")
    return answer.status, text


def call_with_sdk(method: str, path: str) -> tuple[int, bytes]:
    with contextlib.closing(connect()) as client:
        answer = client.api.request(method, f"{client.api.base_url}{path}", timeout=COMMAND_SECONDS)
        return answer.status_code, answer.content


def is_unix(address: str) -> bool:
    return sys.platform != "win32" and (address == "" or address.startswith("unix://"))


def listener(address: str) -> socket.socket:
    """Return a connection to the engine's socket, or say that nobody listens there."""
    connection = socket.socket(socket.AF_UNIX)
    connection.settimeout(COMMAND_SECONDS)
    try:
        connection.connect(address.removeprefix("unix://") or DEFAULT_SOCKET)
    except PermissionError as reason:
        connection.close()
        raise EngineDownError(NO_ACCESS.why) from reason
    except OSError as reason:
        connection.close()
        raise EngineDownError(NO_ANSWER) from reason
    return connection


def connect() -> DockerClient:
    """Return a client of an engine that answers."""
    docker_binary()
    address = endpoint()
    if is_remote(address):
        raise EngineDownError(f"the engine is on another machine ({address}), and its ports open only there")
    if is_unix(address):
        listener(address).close()  # the SDK would leave a socket open if nobody listened
    import docker
    from docker.errors import DockerException
    from requests.exceptions import RequestException

    try:
        client = docker.DockerClient(base_url=address or None, version="auto", timeout=int(COMMAND_SECONDS))
    except (DockerException, RequestException, OSError) as reason:
        raise EngineDownError(NO_ANSWER) from reason
    return client


def start_commands() -> list[list[str]]:
    """Return the start commands that this machine's engine may have, those first that the context speaks for."""
    context = current_context()
    if sys.platform == "darwin":
        colima = [["colima", "start"]] if shutil.which("colima") else []
        desktop = [["open", "--background", "-a", "Docker"]]
        return [*colima, *desktop] if context.startswith("colima") else [*desktop, *colima]
    if sys.platform == "win32":
        return [["docker", "desktop", "start"]]
    if context.startswith("desktop"):
        return [["systemctl", "--user", "start", "docker-desktop"]]
    if os.geteuid() == 0:
        return [["systemctl", "start", "docker"]]
    return [["systemctl", "--user", "start", "docker"], ["sudo", "--non-interactive", "systemctl", "start", "docker"]]


def start_if_allowed() -> bool:
    """Start the engine if the user has said that we may, and wait until it answers."""
    if os.environ.get(MAY_START, "").lower() not in {"1", "yes", "true"}:
        return False
    for command in start_commands():
        if shutil.which(command[0]) is None:
            continue
        done = subprocess.run(command, capture_output=True, timeout=STARTING_SECONDS, check=False)
        if done.returncode == 0 and answers_within(STARTING_SECONDS):
            return True
    return False


def answers_within(seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            connect().close()
        except EngineDownError:
            time.sleep(0.2)
        else:
            return True
    return False
