"""`python -m commitstream.tests.jobs` serves, and prints where; `… migrate [seconds]` migrates."""

from __future__ import annotations

import sys
from functools import partial

from commitstream import listen, run
from commitstream.db import migrate_command
from commitstream.service import logs
from commitstream.tests.jobs.application import JobsSettings, create_app, migrations


def main() -> int:
    settings = JobsSettings()
    logs.set_up(settings.log_level, settings.log_format)
    if sys.argv[1:2] == ["migrate"]:
        return migrate_command.run(settings, migrations, float(sys.argv[2]) if sys.argv[2:] else 60.0)
    listener = listen(settings)
    host, port = listener.getsockname()[:2]
    return run(partial(create_app, settings), listener, lambda: print(f"http://{host}:{port}", flush=True))


if __name__ == "__main__":
    sys.exit(main())
