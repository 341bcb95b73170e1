"""What a line from an engine, a compose run or a server's log means, and the command that helps."""

from __future__ import annotations

import re
from dataclasses import dataclass


@dataclass(frozen=True)
class Diagnosis:
    why: str
    next_command: str
    engine: bool = False  # the way to run services is at fault, so another way may do


NO_ACCESS = Diagnosis(
    "this user may not use the engine", "sudo usermod -aG docker $USER, and log in again", engine=True
)
KNOWN: tuple[tuple[str, Diagnosis], ...] = (
    (
        r"port is already allocated|address already in use|ports are not available|bind.*failed",
        Diagnosis(
            "its port is taken by another process",
            "invoke ports.list, then stop that process or clear its *_PORT line in .env.local",
        ),
    ),
    (
        r"no such image|manifest unknown|pull access denied|failed to resolve|not found: manifest|"
        r"error pulling image|error response from daemon: get \"https?://|no such host|registry|tls handshake|request canceled",
        Diagnosis("its image is not here and could not be pulled", "docker pull {image}", engine=True),
    ),
    (
        r"no space left on device|disk full|could not write|disk quota exceeded",
        Diagnosis("the disk is full", "df -h, or docker system df"),
    ),
    (
        r"cannot connect to the docker daemon|is the docker daemon running|connection refused.*docker",
        Diagnosis("the engine does not answer", "invoke doctor", engine=True),
    ),
    (
        r"permission denied.*docker.*sock|docker.*sock.*permission denied",
        NO_ACCESS,
    ),
    (
        r"database files are incompatible|initialized by PostgreSQL version",
        Diagnosis("its data was written by another version", "invoke services.reset --only {service}"),
    ),
    (
        r"is not a valid data directory|could not open file|could not find the database system|lacks? .*PG_VERSION|could not locate a valid checkpoint|"
        r"could not locate required checkpoint|incorrect checksum in control file|could not read file|invalid data in file|"
        r"invalid magic number|Bad file format reading the append only file|Wrong signature|initdb: error: directory",
        Diagnosis("its data is damaged", "invoke services.reset --only {service}"),
    ),
    (
        r"is already in use by container",
        Diagnosis("a container of somebody else has its name", "docker ps --all, then rename or remove that container"),
    ),
    (
        r"out of memory|OOMKilled|cannot allocate memory",
        Diagnosis("it ran out of memory", "raise its mem_limit in compose/compose.yml"),
    ),
)


def diagnose(text: str, service: str, image: str = "") -> Diagnosis | None:
    """Return what is known about a failure that left these words, or None."""
    for pattern, known in KNOWN:
        if re.search(pattern, text, re.IGNORECASE):
            return Diagnosis(known.why, known.next_command.format(service=service, image=image), known.engine)
    return None


def command_against(why: str, otherwise: str) -> str:
    """Return the command that helps where a provider or a need is lacking for this reason."""
    return NO_ACCESS.next_command if why == NO_ACCESS.why else otherwise
