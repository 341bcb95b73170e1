"""The service under test is the service: the same routes, layers and dependencies as `nox -s dev` serves."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from dataclasses import asdict

from app.settings import ROOT
from test_framework.fixtures import MakeSettings
from test_framework.routes import middleware_of, routes_of
from test_framework.servers import in_loop

AS_DEV_DOES = """
import json, sys
from dataclasses import asdict
from app.main import create_app
from app.settings import load_settings
from test_framework.routes import middleware_of, routes_of

app = create_app(load_settings(env_file=None))
print(json.dumps([[asdict(route) for route in routes_of(app)], middleware_of(app), "pytest" in sys.modules]))
"""


async def test_the_service_under_test_is_the_one_that_dev_serves(make_settings: MakeSettings) -> None:
    environment = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", AS_DEV_DOES, cwd=ROOT, env=environment, stdout=asyncio.subprocess.PIPE
    )
    routes, middleware, knows_pytest = json.loads((await process.communicate())[0])

    async with in_loop(make_settings()) as server:
        assert [asdict(route) for route in routes_of(server.app)] == routes
        assert middleware_of(server.app) == middleware
    assert len(routes) > 5
    assert not knows_pytest
