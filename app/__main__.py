"""`python -m app` serves, and prints where; `python -m app migrate` migrates the database."""

from __future__ import annotations

import argparse
import socket
import sys
from contextlib import suppress
from functools import partial
from pathlib import Path

try:
    from app.dev_secret import kept_secret
    from app.identity import identity
    from app.settings import ROOT, Settings, load_settings
    from commitstream.service import logs
    from commitstream.settings import SettingsError
except ModuleNotFoundError as missing:
    if str(missing.name).startswith(("app", "commitstream")):
        raise
    sys.exit(f"python -m app needs the package {missing.name}, which is not installed; next: nox -s setup")

LONGEST_WAIT = 86400


def main(arguments: list[str] | None = None) -> int:
    who = identity()
    parser = argparse.ArgumentParser(prog="python -m app", description=who.description)
    parser.add_argument("--host", help="the address to listen on (APP_HOST)")
    parser.add_argument("--port", type=int, help="the port to listen on (APP_PORT)")
    commands = parser.add_subparsers(dest="command", metavar="command", help="without one the service is started")
    migrating = commands.add_parser("migrate", help="bring the database to the newest migration, then end")
    migrating.add_argument("--wait", type=_seconds, default=60.0, help="seconds to wait for the database (default: 60)")
    chosen = vars(parser.parse_args(arguments))
    given = {name: chosen[name] for name in ("host", "port") if chosen[name] is not None}
    try:
        settings = load_settings(given=given)
        if settings.environment == "dev" and not settings.token_secret.get_secret_value():
            settings = load_settings(given={**given, "token_secret": kept_secret(ROOT / ".data")})
    except SettingsError as error:
        return _complain(str(error))
    logs.set_up(settings.log_level, settings.log_format)
    if chosen["command"] == "migrate":
        from app.db.schema import migrations
        from commitstream.db import migrate_command

        return migrate_command.run(settings, migrations, chosen["wait"])

    from app.main import create_app
    from commitstream.service.server import CannotListen, listen, run

    try:
        listener = listen(settings)
    except CannotListen as error:
        return _complain(str(error))
    return run(partial(create_app, settings), listener, lambda: print(_banner(settings, listener), flush=True))  # noqa: T201


def _seconds(text: str) -> float:
    with suppress(ValueError):
        if 0 <= (seconds := float(text)) <= LONGEST_WAIT:  # false for nan
            return seconds
    raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds from 0 to {LONGEST_WAIT}")


def _banner(settings: Settings, listener: socket.socket) -> str:
    who = identity()
    host, port = listener.getsockname()[:2]
    address = f"http://{f'[{host}]' if ':' in host else host}:{port}"
    lines = {
        who.name: f"{address}  (version {who.version}, {settings.environment})",
        "database": _database(settings),
        "bus": "embedded: in this process" if settings.embedded_bus else "real: Redis",
        "model": "embedded: scripted" if settings.model == "scripted" else f"real: {settings.model_name}",
        "stop": "Ctrl-C",
    }
    if settings.port and port != settings.port:
        lines["note"] = f"port {settings.port} is taken, so this is the next free one"
    width = max(len(name) for name in lines)
    return "\n".join(f"  {name:<{width}}  {value}" for name, value in lines.items())


def _database(settings: Settings) -> str:
    if not settings.embedded_database:
        return "real: Postgres"
    file = Path(settings.database_url.partition(":///")[2])
    return f"embedded: SQLite in {file.relative_to(ROOT) if file.is_relative_to(ROOT) else file}"


def _complain(message: str) -> int:
    print(message, file=sys.stderr)  # noqa: T201
    return 2


if __name__ == "__main__":
    sys.exit(main())
