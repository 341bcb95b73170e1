"""What a test may ask for, and what it is told that asks for something else."""

from __future__ import annotations

import pytest

from app.db.schema import migrations
from test_framework import CHECKOUT
from test_framework.isolation import template
from test_framework.isolation.levels import Level, level_named, level_of

INI = """
[pytest]
asyncio_default_fixture_loop_scope = session
addopts = --strict-markers -p no:anyio -p no:schemathesis -p no:randomly -p no:cacheprovider
"""
MARKED = """
    import pytest

    pytestmark = pytest.mark.isolation("rollback")

    @pytest.mark.isolation("clone")
    def test_near(isolation_level):
        assert isolation_level == "clone"

    def test_far(isolation_level):
        assert isolation_level == "rollback"
"""


@pytest.fixture(autouse=True)
def _the_kit_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(CHECKOUT))
    monkeypatch.delenv("TEST_MODE", raising=False)


def test_reset_is_what_nobody_asked_for(request: pytest.FixtureRequest) -> None:
    assert level_of(request.node) is Level.RESET


@pytest.mark.parametrize("words", [["truncate"], [], ["clone", "reset"], [None]])
def test_an_unknown_level_is_told_which_there_are(words: list[object]) -> None:
    with pytest.raises(ValueError, match=r"test_a asks for isolation .*: choose one of reset, rollback, clone"):
        level_named(words, "test_a")


def test_the_closest_marker_counts(pytester: pytest.Pytester) -> None:
    pytester.makeini(INI)
    pytester.mkdir("tests").joinpath("unit").mkdir()
    pytester.path.joinpath("tests/unit/test_inner.py").write_text(MARKED.replace("\n    ", "\n"))

    pytester.runpytest_subprocess("-p", "test_framework.plugin").assert_outcomes(passed=2)


def test_an_unknown_level_is_an_error_at_collection(pytester: pytest.Pytester) -> None:
    pytester.makeini(INI)
    pytester.mkdir("tests").joinpath("unit").mkdir()
    pytester.path.joinpath("tests/unit/test_inner.py").write_text(
        MARKED.replace("\n    ", "\n").replace("clone", "drop")
    )

    result = pytester.runpytest_subprocess("-p", "test_framework.plugin")

    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*test_near asks for isolation 'drop': choose one of reset, rollback, clone*"])


def test_a_template_is_named_after_all_that_its_migrations_are_made_of(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = template.digest_of_migrations(migrations)
    folder = tmp_path_factory.mktemp("migrations")
    for source in (file for versions in migrations.folders for file in versions.glob("*.py")):
        (folder / source.name).write_bytes(source.read_bytes() + b"# changed without a new number\n")
    monkeypatch.setattr(migrations, "versions", folder)

    template.digest_of_migrations.cache_clear()
    after = template.digest_of_migrations(migrations)
    template.digest_of_migrations.cache_clear()

    assert before != after
