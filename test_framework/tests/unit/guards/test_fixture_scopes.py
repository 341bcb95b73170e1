"""An async fixture that outlives a test names its loop; read off the file."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from test_framework.guards import fixture_scopes
from test_framework.guards.source import Source

Plant = Callable[[str, str], Source]

FAULTS = {
    "pytest's own": 'import pytest\n@pytest.fixture(scope="session")\nasync def a(): ...',
    "pytest-asyncio's": 'import pytest_asyncio\n@pytest_asyncio.fixture(scope="module")\nasync def a():\n    yield',
    "under another name": 'from pytest import fixture as given\n@given(scope="class")\nasync def a(): ...',
    "a loop that ends first": (
        'import pytest_asyncio\n@pytest_asyncio.fixture(scope="session", loop_scope="module")\nasync def a(): ...'
    ),
    "in a class": 'import pytest\nclass TestA:\n    @pytest.fixture(scope="class")\n    async def a(self): ...',
}

HARMLESS = {
    "a loop as long": (
        'import pytest_asyncio\n@pytest_asyncio.fixture(scope="module", loop_scope="session")\nasync def a(): ...'
    ),
    "a function's": "import pytest_asyncio\n@pytest_asyncio.fixture\nasync def a(): ...",
    "a function's, said": 'import pytest_asyncio\n@pytest_asyncio.fixture(scope="function")\nasync def a(): ...',
    "not async": 'import pytest\n@pytest.fixture(scope="session")\ndef a(): ...',
    "another decorator": '@cache(scope="session")\nasync def fixture(): ...',
    "a scope decided later": "import pytest\n@pytest.fixture(scope=SCOPE)\nasync def a(): ...",
}


@pytest.mark.parametrize("code", FAULTS.values(), ids=FAULTS)
def test_a_fixture_that_outlives_its_loop_or_names_none_is_refused(plant: Plant, code: str) -> None:
    (finding,) = fixture_scopes.check([plant("tests/conftest.py", code + "\n")])

    assert 'loop_scope="session")' in finding.message


@pytest.mark.parametrize("code", HARMLESS.values(), ids=HARMLESS)
def test_any_other_fixture_passes(plant: Plant, code: str) -> None:
    assert fixture_scopes.check([plant("tests/conftest.py", code + "\n")]) == []
