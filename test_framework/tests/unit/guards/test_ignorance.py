"""The service cannot tell a test from its real work; words that merely look like it are left alone."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from test_framework.guards import ignorance
from test_framework.guards.source import Source

Plant = Callable[[str, str], Source]

TELLTALES = {
    "an import of pytest": "import pytest",
    "an import of pytest's insides": "from _pytest.monkeypatch import MonkeyPatch",
    "an import of mock": "from unittest.mock import AsyncMock",
    "an import of unittest": "import unittest",
    "an import of the kit": "from test_framework.ports import lease",
    "an import of the tests": "import tests.unit.fakes",
    "an import of the engine's tests": "from commitstream.tests.auction import application",
    "an import inside a function": "def f():\n    import fakeredis",
    "an import by name": "import importlib\nimportlib.import_module('pytest')",
    "a look at the loaded modules": "import sys\npublish = 'pytest' not in sys.modules",
    "a look at the command line": "import sys\nif 'pytest' in sys.argv[0]: pass",
    "a look for any test on the command line": "import sys\nif any(['x']) and 'test' in sys.argv: pass",
    "pytest's own variable": "import os\nos.environ.get('PYTEST_CURRENT_TEST')",
    "pytest's own variable in a set": "VARIABLES = {'PYTEST_XDIST_WORKER'}",
    "TESTING in the environment": "import os\nif os.environ.get('TESTING'): pass",
    "TESTING by subscript": "import os\nif os.environ['TESTING'] == '1': pass",
    "TEST_MODE by getenv": "import os\nos.getenv('TEST_MODE', '0')",
    "a prefixed TEST_MODE": "from os import getenv\ngetenv('APP_TEST_MODE')",
    "CI in the environment": "import os\nif 'CI' in os.environ: pass",
    "CI by get": "from os import environ\nenviron.get('CI')",
    "GITHUB_ACTIONS": "import os\nos.getenv('GITHUB_ACTIONS')",
    "RUN_INTEGRATION": "import os\nos.getenv('RUN_INTEGRATION')",
    "a setting that reads CI": "from pydantic import Field\nfast: bool = Field(False, validation_alias='CI')",
    "a mock's name": "def healthy(x):\n    return hasattr(x, '_mock_name')",
    "a mock's attribute": "def healthy(x):\n    return x._mock_return_value",
    "a mock's calls": "def healthy(x):\n    return x.mock_calls",
    "a mock's class": "def healthy(x):\n    return type(x).__name__ == 'MagicMock'",
    "a mock's module": "def healthy(x):\n    return 'mock' in type(x).__name__",
    "a parameter is_test": "def publish(event, is_test=False): ...",
    "a parameter testing": "def create_app(*, testing: bool): ...",
    "an argument test_mode": "connect(url, test_mode=True)",
    "a field test_mode": "class Settings:\n    test_mode: bool = False",
    "an attribute testing": "def f(settings):\n    return settings.testing",
    "a flag in capitals": "TESTING = False",
    "a flag in camel case": "isTesting = False",
    "a flag under_test": "under_test = True",
    "a flag use_mock": "def connect(use_mock: bool): ...",
    "a flag is_ci": "is_ci = True",
    "a question": "def running_in_pytest(): ...\ndef is_testing(): ...",
    "an environment called test": "def f(settings):\n    return settings.environment == 'test'",
    "a mode matched": "def f(settings):\n    match settings.environment:\n        case 'dev' | 'test': ...",
    "a mode declared": "from typing import Literal\nclass S:\n    environment: Literal['dev', 'testing'] = 'dev'",
    "a mode by its beginning": "def f(env):\n    return env.startswith('test')",
    "a caller by its name": "import inspect\nany(f.function.startswith('test_') for f in inspect.stack())",
    "a mark on the interpreter": "import sys\ndef f():\n    return getattr(sys, 'x', 0) or sys._called_from_test",
    "any of pytest's variables": "import os\nany(name.startswith('PYTEST') for name in os.environ)",
    "an environment among testing ones": "def f(env):\n    return env in ('test', 'ci')",
}

HARMLESS = {
    "contest": "contest = 'latest'",
    "latest": "def latest(attest, protest): ...",
    "words in a docstring": '"""Under pytest, TEST_MODE is not read; nor is _mock_name, nor PYTEST_CURRENT_TEST."""',
    "words in a comment": "# never 'pytest' in sys.modules\nx = 1",
    "a sentence that names pytest": "hint = 'install pytest to contribute'",
    "an enum that counts tests": "status = 'tests passed'",
    "a variable that ends in CI": "import os\nos.environ.get('FANCI')\nos.environ.get('LATEST')",
    "CI that is no variable": "units = {'CI': 'confidence interval'}",
    "a tool that runs tests": "def run_tests(suite): ...\nregister('run_tests')",
    "a test of a health check": "def self_test(): ...\nsmoke_test = self_test()",
    "the module as a program": "if __name__ == '__main__':\n    pass",
    "an environment": "def f(settings):\n    return settings.environment == 'production'",
    "the environment's host": "import os\nos.environ.get('APP_HOST', 'localhost')",
    "mocking in words": "def mock_turtle(): ...\nsmock = 1",
    "a relative import": "from . import mocking",
    "a neighbour's module": "import app.contest",
    "a test for equality": "def is_tested(): ...\ntested = True",
    "assertions": "def f(x):\n    assert x\n    x.assert_open()",
    "modes declared": "from typing import Literal\nclass S:\n    mode: Literal['fast', 'latest'] = 'fast'",
    "modes matched": "def f(mode):\n    match mode:\n        case 'latest' | 1: ...",
    "another beginning": "def f(url):\n    return url.startswith('testament://')",
    "a mode called latest": "def f(mode):\n    return mode == 'latest'",
}


@pytest.mark.parametrize("code", TELLTALES.values(), ids=TELLTALES)
def test_a_service_that_could_recognise_a_test_is_refused(plant: Plant, code: str) -> None:
    findings = ignorance.check([plant("commitstream/outbox.py", code + "\n")])

    assert findings
    assert {finding.path for finding in findings} == {"commitstream/outbox.py"}
    assert all("let the test choose" in finding.message for finding in findings)


@pytest.mark.parametrize("code", HARMLESS.values(), ids=HARMLESS)
def test_a_word_that_only_looks_like_it_passes(plant: Plant, code: str) -> None:
    assert ignorance.check([plant("app/main.py", code + "\n")]) == []


def test_a_finding_names_the_line(plant: Plant) -> None:
    source = plant("app/bus.py", "import sys\n\n\ndef on():\n    return 'pytest' not in sys.modules\n")

    assert {finding.line for finding in ignorance.check([source])} == {5}


def test_no_comment_excuses_it(plant: Plant) -> None:
    source = plant("app/bus.py", "import pytest  # on purpose: we are special\n")

    assert ignorance.check([source])


PATHS = (
    "app/a.py",
    "commitstream/a.py",
    "commitstream/latest/tests/a.py",
    "commitstream/tests/a.py",
    "tests/a.py",
    "app/a.html",
    "apple/a.py",
)


def test_only_the_service_is_concerned(plant: Plant) -> None:
    concerned = [path for path in PATHS if _concerned(plant(path, ""))]

    assert concerned == ["app/a.py", "commitstream/a.py", "commitstream/latest/tests/a.py"]


def _concerned(source: Source) -> bool:
    return ignorance.GUARD.concerns(source.pure_path)
