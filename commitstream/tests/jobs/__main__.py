"""`python -m commitstream.tests.jobs` serves, and prints where."""

from __future__ import annotations

import sys
from functools import partial

from commitstream import listen, run
from commitstream.service import logs
from commitstream.tests.jobs.application import JobsSettings, create_app


def main() -> int:
    settings = JobsSettings()
    logs.set_up(settings.log_level, settings.log_format)
    listener = listen(settings)
    host, port = listener.getsockname()[:2]
    return run(partial(create_app, settings), listener, lambda: print(f"http://{host}:{port}", flush=True))


if __name__ == "__main__":
    sys.exit(main())
