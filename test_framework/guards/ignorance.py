"""The service does not know that tests exist.

A service that recognises its tests is not the service that was tested: an event path switched off under pytest is
green and broken. So `app/` and `commitstream/` import nothing made for tests, and ask neither the interpreter, nor the environment,
nor an object, nor a flag of its own whether a test is running. There is no exception to this rule.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Sequence
from pathlib import PurePosixPath

from test_framework import SERVICE, TESTS_OF_THE_ENGINE
from test_framework.guards.source import Finding, Guard, Source, python_below, words

MADE_FOR_TESTS = words(
    "_pytest conftest doctest fakeredis freezegun hypothesis mock nose pytest pytest_asyncio respx"
    " test_framework testcontainers tests unittest"
)
TELLTALE_WORDS = words("pytest _pytest unittest unittest.mock test_framework conftest")
MOCK_CLASSES = words("Mock MagicMock AsyncMock NonCallableMock")
TELLTALE_PATTERN = re.compile(r"\bPYTEST(?:_[A-Z_]*)?\b|\bTEST_MODE\b|\b_mock_(?:name|methods|parent|return_value)\b")
TEST_VARIABLE = re.compile(
    r"(?:APP_)?(?:(?:IS|IN|UNDER|RUNNING)_)?(?:(?:UNIT|INTEGRATION)_?)?(?:TEST(?:S|ING)?|CI)"
    r"(?:_(?:MODE|ENV|ENVIRONMENT|RUN))?|CONTINUOUS_INTEGRATION|GITHUB_ACTIONS|GITLAB_CI|RUN_INTEGRATION"
)
MOCK_ATTRIBUTE = re.compile(r"_mock_\w+|mock_calls|assert_(?:any_)?(?:called|awaited)\w*")

LIKE_A_TEST = re.compile(r"(?i)_?(?:py)?tests?_?|mock_?")

ASKING = words("is in as for under running during use using are")
NEEDS_ASKING = words("test tests mock mocks mocked ci unittest")
FLAG = words(
    "testing pytest test_mode testing_mode mock_mode ci_mode test_env test_environment test_run unit_test"
    " called_from_test called_from_tests"
    " unit_tests unit_testing"
)
MODE_NAMES = words("env environment mode stage")
TEST_MODES = words("test tests testing ci pytest")
ABOUT_THE_INTERPRETER = words("sys.modules sys.argv sys.executable __name__ __file__")

REMEDY = "pass in what differs (a setting, a dependency, create_app's arguments) and let the test choose it"


def check(files: Sequence[Source]) -> list[Finding]:
    """Find every place where the service could tell a test from its real work."""
    return [finding for source in files for finding in _check_file(source)]


def _check_file(source: Source) -> Iterator[Finding]:
    docstrings = set(_docstrings(source.tree))
    for node in ast.walk(source.tree):
        if node in docstrings:
            continue
        for what in _telltales(node):
            message = f"{what}: the service that runs in a test must be the one that runs for people; {REMEDY}"
            yield Finding(source.path, getattr(node, "lineno", 1), message)


def _docstrings(tree: ast.Module) -> Iterator[ast.AST]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            yield node.value


def _telltales(node: ast.AST) -> Iterator[str]:
    match node:
        case ast.Import(names=names):
            yield from (f"imports {name.name}" for name in names if _made_for_tests(name.name))
        case ast.ImportFrom(module=str(module), level=0) if _made_for_tests(module):
            yield f"imports {module}"
        case ast.Constant(value=str(text)) if text in TELLTALE_WORDS | MOCK_CLASSES or TELLTALE_PATTERN.search(text):
            yield f"looks for {text!r}"
        case ast.Call() | ast.Subscript() | ast.Compare():
            yield from _questions(node)
        case ast.Match(subject=subject, cases=cases) if _names_a_mode({_dotted(subject)}):
            named = {
                part.value
                for case in cases
                for part in ast.walk(case.pattern)
                if isinstance(part, ast.Constant) and isinstance(part.value, str)
            }
            yield from (f"compares its mode with {word!r}" for word in named & TEST_MODES)
        case ast.AnnAssign(target=target, annotation=annotation) if _names_a_mode({_dotted(target)}):
            named = {
                part.value
                for part in ast.walk(annotation)
                if isinstance(part, ast.Constant) and isinstance(part.value, str)
            }
            yield from (f"has a mode {word!r}" for word in named & TEST_MODES)
        case ast.Attribute(attr=name) if MOCK_ATTRIBUTE.fullmatch(name) or _is_flag(name):
            yield f"reads {name}"
        case ast.Name(id=name) | ast.arg(arg=name) | ast.keyword(arg=str(name)) if _is_flag(name):
            yield f"has a flag {name}"
        case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) if _is_flag(name):
            yield f"has a question {name}()"
        case _:
            return


def _questions(node: ast.Call | ast.Subscript | ast.Compare) -> Iterator[str]:
    """Find questions put to the environment, the interpreter or the mode the service runs in."""
    names = {_dotted(part) for part in ast.walk(node)} - {""}
    words = _asked_words(node)
    if names & {"os.environ", "environ", "os.getenv", "getenv"} or _declares_variable(node):
        yield from (f"looks up the variable {word}" for word in words if TEST_VARIABLE.fullmatch(word.upper()))
    match node:
        case ast.Call(func=ast.Attribute(attr="startswith" | "endswith")):
            yield from (f"looks for a name like {word!r}" for word in words if LIKE_A_TEST.fullmatch(word))
        case ast.Compare():
            yield from _comparisons(names, words)


def _comparisons(names: set[str], words: list[str]) -> Iterator[str]:
    if _names_a_mode(names):
        yield from (f"compares its mode with {word!r}" for word in words if word.lower() in TEST_MODES)
    elif names & ABOUT_THE_INTERPRETER or any(name.endswith("__name__") for name in names):
        yield from (
            f"looks for {word!r} in the interpreter" for word in words if re.search(r"(?i)\b(py)?tests?\b|mock", word)
        )


def _asked_words(node: ast.Call | ast.Subscript | ast.Compare) -> list[str]:
    parts: list[ast.expr]
    match node:
        case ast.Call():
            parts = [*node.args, *(keyword.value for keyword in node.keywords)]
        case ast.Subscript():
            parts = [node.slice]
        case ast.Compare():
            parts = [node.left, *node.comparators]
    within = [element for part in parts for element in getattr(part, "elts", [part])]
    return [part.value for part in within if isinstance(part, ast.Constant) and isinstance(part.value, str)]


def _names_a_mode(names: set[str]) -> bool:
    return any(MODE_NAMES.intersection(name.rsplit(".", 1)[-1].lower().split("_")) for name in names)


def _declares_variable(node: ast.AST) -> bool:
    return isinstance(node, ast.Call) and any(
        keyword.arg in {"alias", "validation_alias", "env"} for keyword in node.keywords
    )


def _made_for_tests(module: str) -> bool:
    first, *below = module.split(".")
    return first in MADE_FOR_TESTS or "tests" in below


def _is_flag(name: str) -> bool:
    words = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower().strip("_").split("_")
    asking = 0
    while asking < len(words) and words[asking] in ASKING:
        asking += 1
    rest = "_".join(words[asking:])
    return rest in FLAG or (asking > 0 and rest in NEEDS_ASKING)


def _dotted(node: ast.AST) -> str:
    match node:
        case ast.Name(id=name):
            return name
        case ast.Attribute(value=value, attr=attribute):
            return f"{_dotted(value)}.{attribute}"
        case _:
            return ""


def concerns(path: PurePosixPath) -> bool:
    """Concern the service's Python files, but not the tests that lie below the engine."""
    return python_below(*SERVICE)(path) and PurePosixPath(TESTS_OF_THE_ENGINE) not in path.parents


GUARD = Guard("ignorance", concerns, check)
