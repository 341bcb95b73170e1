"""The browser of this machine, for tests that look at a page: `async def test_it(browser): await browser.new_page()`.

A test that asks for it is left out, and counted, where there is none; `CHROMIUM` says where one is that is not on PATH.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

import pytest
import pytest_asyncio

from test_framework.running.machine import find_browser
from test_framework.running.needs import requires

if TYPE_CHECKING:
    from playwright.async_api import Browser

SWITCHES = (
    "no-sandbox disable-gpu disable-quic disable-dev-shm-usage no-first-run disable-background-networking "
    "disable-component-update disable-sync "
    "no-zygote in-process-gpu enable-features=NetworkServiceInProcess2 "  # two processes where there were six
    "disable-gpu-compositing disable-software-rasterizer num-raster-threads=1"
)
FRUGAL = "--max-semi-space-size=1 --jitless"  # the driver takes two thirds of the memory, and no longer


@pytest_asyncio.fixture(scope="module", loop_scope="session")
@requires("chromium")
async def browser() -> AsyncIterator[Browser]:
    """One browser for the tests of a module; open a context of its own in each, and nothing of one is seen by another."""
    from playwright.async_api import async_playwright

    async with AsyncExitStack() as stack:
        with pytest.MonkeyPatch.context() as patch:  # the driver's environment is a copy of ours, made when it starts
            patch.setenv("NODE_OPTIONS", f"{os.environ.get('NODE_OPTIONS', '')} {FRUGAL}".strip())
            playwright = await stack.enter_async_context(async_playwright())
        started = await playwright.chromium.launch(
            executable_path=find_browser(), args=[f"--{switch}" for switch in SWITCHES.split()]
        )
        yield started
        await started.close()
