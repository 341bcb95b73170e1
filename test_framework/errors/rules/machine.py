"""What the machine lacks: memory, disk, descriptors, permissions, ports, a network, an engine, settings."""

from __future__ import annotations

import errno

from test_framework.errors.categories import REPRODUCE, Category, Responsibility, category_of
from test_framework.errors.evidence import Evidence, RuleFinding
from test_framework.services.drivers import drivers

FEW_DESCRIPTORS = 256
STATE = "test_framework.services.state."
DISK_FULL = (errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC), errno.EFBIG)
NO_DESCRIPTORS = (errno.EMFILE, errno.ENFILE)
FORBIDDEN = (errno.EACCES, errno.EPERM, errno.EROFS)
TAKEN = (errno.EADDRINUSE, errno.EADDRNOTAVAIL, 10048)
UNREACHABLE = (errno.ENETUNREACH, errno.EHOSTUNREACH, errno.ENETDOWN, errno.EHOSTDOWN)


def out_of_memory(seen: Evidence) -> RuleFinding | None:
    if seen.link("MemoryError") is None and seen.sqlstate != "53200":
        return None
    limited = bool(seen.fact("limit"))
    fault = Responsibility.INFRASTRUCTURE if limited or seen.sqlstate else seen.blamed
    why = "this process may use little of it" if limited else f"asked for at {seen.place()}"
    return RuleFinding(Category.RESOURCES, fault, f"there is not enough memory: {why}", 0.9, f"memory {seen.place()}")


def recursion(seen: Evidence) -> RuleFinding | None:
    if seen.link("RecursionError") is None:
        return None
    cause = f"a function calls itself without end, at {seen.place()}"
    return RuleFinding(Category.RESOURCES, seen.blamed, cause, 0.93, f"recursion {seen.place()}", REPRODUCE)


def disk_full(seen: Evidence) -> RuleFinding | None:
    found = (
        seen.errno(*DISK_FULL)
        or seen.sqlstate in {"53100", "53400"}
        or seen.says(r"database or disk is full|no space left on device|disk full|file too large")
    )
    if not found:
        return None
    return RuleFinding(
        Category.RESOURCES,
        Responsibility.INFRASTRUCTURE,
        f"the disk, or what may be written to it, is full: {seen.said()}",
        0.93,
        "disk",
        "df -h",
    )


def no_descriptors(seen: Evidence) -> RuleFinding | None:
    """Few allowed is the machine's matter, all of many used is ours."""
    link = seen.errno(*NO_DESCRIPTORS)
    if link is None and not seen.says("too many open files"):
        return None
    limit = seen.fact("limit")
    few = isinstance(limit, int) and limit < FEW_DESCRIPTORS
    why = f"only {limit} are allowed" if few else f"all {limit or ''} are used, at {seen.place()}"
    return RuleFinding(
        Category.RESOURCES,
        Responsibility.INFRASTRUCTURE if few else seen.blamed,
        f"no file descriptor is left: {why}",
        0.9,
        "descriptors",
        "ulimit -n",
    )


def no_threads(seen: Evidence) -> RuleFinding | None:
    if not seen.says(r"can't start new thread|resource temporarily unavailable.*fork|BlockingIOError.*fork"):
        return None
    return RuleFinding(
        Category.RESOURCES,
        Responsibility.INFRASTRUCTURE,
        f"no more threads or processes may be started: {seen.said()}",
        0.85,
        "threads",
        "ulimit -u",
    )


def forbidden(seen: Evidence) -> RuleFinding | None:
    link = seen.errno(*FORBIDDEN)
    if link is None or seen.through("asyncpg", "redis", "docker"):
        return None
    cause = f"this user may not do that: {seen.said(link)}"
    return RuleFinding(
        Category.RESOURCES,
        Responsibility.INFRASTRUCTURE,
        cause,
        0.85,
        f"permission {link.fact('file') or seen.place()}",
        "id",
    )


def port_taken(seen: Evidence) -> RuleFinding | None:
    link = seen.errno(*TAKEN)
    match = seen.says(
        r"address already in use|port is already allocated|ports? .{0,60}(?:is|are all) taken|can't listen on port|cannot assign requested address|test_framework\S*PortError"
    )
    if link is None and match is None:
        return None
    place = seen.place("test", "app")
    direct = (
        place is not None
        and place.owner == "test"
        and seen.blamed is Responsibility.TEST
        and not seen.link("docker.errors.", "RuntimeError")
    )
    cause = f"the port can't be had: {seen.said(link)}"
    return RuleFinding(
        Category.PORT,
        Responsibility.TEST if direct else Responsibility.INFRASTRUCTURE,
        cause,
        0.92,
        f"port {place if direct else ''}",
    )


def service_error(seen: Evidence) -> RuleFinding | None:
    """The kit's own words, which name the thing, the reason and the next command."""
    link = seen.link(f"{STATE}ServiceError", f"{STATE}EngineDownError")
    if link is None:
        return None
    why, next_command = str(link.fact("why") or link.message), str(link.fact("next_command") or "")
    what = str(link.fact("what") or "a service can't be had")
    cause = f"{what}: {why}".partition("\n")[0][:220]
    text = f"{what} {why}".lower()
    service = service_in(what) or service_in(cause)

    def found(category: Category, key: str) -> RuleFinding:
        return RuleFinding(category, Responsibility.INFRASTRUCTURE, cause, 0.93, key, next_command)

    if any(word in text for word in ("_url is not set", "names no ", " is unknown", "_url is of no use")):
        if any(word in text for word in ("password", "authentication", "_url is of no use")):
            return found(category_of(service), f"service {service}")
        return found(Category.CONFIGURATION, f"setting {what}")
    if "port" in text and ("taken" in text or "in use" in text):
        return found(Category.PORT, "port")
    if (
        any(word in text for word in ("engine", "image", "docker", "container", "compose", "pull"))
        and "no compose" not in text
    ):
        return found(Category.CONTAINER, "engine" if "engine" in text or "docker" in text else f"container {service}")
    if "disk" in text and "full" in text:
        return found(Category.RESOURCES, "disk")
    return found(Category.SERVICE, f"service {service}" if service else f"service {what}")


def service_in(text: str) -> str:
    """Return the service that a text names, by its name or by the variable of its URL; empty where it names none."""
    named = (driver for driver in drivers().values() if driver.name in text.lower() or driver.url_variable in text)
    return next((driver.name for driver in named), "")


def engine(seen: Evidence) -> RuleFinding | None:
    """The container engine through its SDK, or through its command."""
    link = seen.link(
        "docker.errors.",
        "requests.exceptions.",
        "test_framework.services.state.EngineDownError",
        "subprocess.CalledProcessError",
        "FileNotFoundError",
    )
    if link is None:
        return None
    if not any(name.startswith("docker.errors.") for each in seen.links for name in each.types):
        if not seen.says(r"\bdocker\b|containers?/json|unix:/+\S*docker\.sock"):
            return None
        if link.type == "FileNotFoundError" and not seen.says(r"directory: 'docker"):
            return None
    if link.type.startswith("docker.errors.ImageNotFound") or seen.says(
        r"no such image|pull access denied|manifest unknown|failed to resolve reference"
    ):
        cause, key, command = (
            f"an image is not here and could not be pulled: {seen.said(link)}",
            "image",
            "docker images",
        )
    elif seen.says(r"no such container|is not running|is paused|already in use by container|409|404"):
        cause, key, command = f"a container is not as it should be: {seen.said(link)}", "container", "docker ps --all"
    else:
        cause, key, command = f"the container engine can't be used: {seen.said(link)}", "engine", "invoke doctor"
    return RuleFinding(Category.CONTAINER, Responsibility.INFRASTRUCTURE, cause, 0.9, key, command)


def blocked_by_the_guard(seen: Evidence) -> RuleFinding | None:
    link = seen.link("test_framework.guards.network.NetworkBlocked", "pytest_socket.SocketBlockedError")
    if link is None:
        return None
    return RuleFinding(
        Category.NETWORK, Responsibility.TEST, seen.said(link), 0.97, f"blocked {seen.place()}", REPRODUCE
    )


def network(seen: Evidence) -> RuleFinding | None:
    """Names, routes and certificates."""
    link = seen.link("socket.gaierror", "ssl.SSLError", "ssl.CertificateError") or seen.errno(*UNREACHABLE)
    match = seen.says(
        r"name or service not known|nodename nor servname|temporary failure in name resolution|getaddrinfo failed|certificate[_ ]verify|\[SSL:|wrong version number|network is unreachable|no route to host|name does not resolve|no address associated"
    )
    if link is None and match is None:
        return None
    if (link and "ssl" in link.type.lower()) or seen.says(r"\[SSL|certificate"):
        what = "no secure connection can be made"
    elif (link and link.type == "socket.gaierror") or seen.says("name|getaddrinfo"):
        what = "a name can't be resolved"
    else:
        what = "a host can't be reached"
    return RuleFinding(
        Category.NETWORK, Responsibility.INFRASTRUCTURE, f"{what}: {seen.said(link)}", 0.88, f"network {what}"
    )


def setting_refused(seen: Evidence) -> RuleFinding | None:
    """The service's settings, or a variable that somebody reads and nobody sets."""
    link = seen.link("commitstream.settings.SettingsError")
    invalid = seen.link("pydantic_core._pydantic_core.ValidationError", "pydantic_settings.")
    if link is None and (invalid is None or not seen.says(r"validation errors? for \w*Settings|SettingsError")):
        return None
    by_the_test = link is None and seen.failure.phase == "call"
    said = " ".join((link or invalid or seen.links[0]).message.split())[:200]
    return RuleFinding(
        Category.CONFIGURATION,
        Responsibility.TEST if by_the_test else Responsibility.INFRASTRUCTURE,
        f"a setting is refused: {said}",
        0.9,
        f"setting {said[:60]}",
    )


def variable_missing(seen: Evidence) -> RuleFinding | None:
    link = seen.link("KeyError")
    if link is None or not any(
        frame.file in {"os.py", "<frozen os>"} and frame.function == "__getitem__" for frame in link.frames
    ):
        return None
    name = link.message.strip("'\"\n ")
    return RuleFinding(
        Category.CONFIGURATION,
        Responsibility.INFRASTRUCTURE,
        f"the environment variable {name} is not set",
        0.9,
        f"variable {name}",
        f"export {name}=…",
    )


def program_missing(seen: Evidence) -> RuleFinding | None:
    """A program that somebody wants to start and this machine does not have."""
    link = seen.exactly("FileNotFoundError")
    if link is None or not any(frame.file == "subprocess.py" for frame in link.frames):
        return None
    place = seen.place("test", "app", "kit")
    starting = seen.place("kit")
    category = Category.SERVICE if starting and "/services/" in starting.file else Category.CONFIGURATION
    cause = f"a program is not installed, or not on the PATH, at {place}: {seen.said(link)}"
    return RuleFinding(
        category, Responsibility.INFRASTRUCTURE, cause, 0.8, f"program {seen.said(link)}", "invoke doctor"
    )


RULES = (
    blocked_by_the_guard, out_of_memory, recursion, disk_full, no_descriptors, no_threads, setting_refused, variable_missing,
    service_error, port_taken, engine, network, forbidden, program_missing,
)  # fmt: skip
