"""What the template learns reaches a project by `cruft update`, and what belongs to the user stays the user's."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.template.workbench import Workbench, tree


@pytest.fixture
def address(workbench: Workbench, checkout: Path, tmp_path: Path) -> str:
    """An address that the template is published at, for one test to push to."""
    bare = tmp_path / "template.git"
    workbench.succeed("git", "clone", "--quiet", "--bare", str(checkout), str(bare))
    return f"file://{bare}"


@pytest.fixture
def desk(workbench: Workbench, address: str, tmp_path: Path) -> Path:
    """A project under git, made by `cruft create`."""
    made = workbench.cruft_create(address, into=tmp_path)
    workbench.succeed("git", "init", "--quiet", cwd=made)
    workbench.commit(made, "a new project")
    return made


@pytest.fixture
def upstream(workbench: Workbench, address: str, tmp_path: Path) -> Path:
    """A clone of the template to commit to."""
    clone = tmp_path / "upstream"
    workbench.succeed("git", "clone", "--quiet", address, str(clone))
    return clone


def publish(workbench: Workbench, upstream: Path) -> None:
    workbench.commit(upstream, "the template has learned")
    workbench.succeed("git", "push", "--quiet", "origin", "HEAD", cwd=upstream)


def test_a_fresh_project_does_not_differ_from_its_template(workbench: Workbench, desk: Path) -> None:
    assert workbench.succeed("cruft", "diff", "--exit-code", cwd=desk) == ""
    assert workbench.succeed("git", "status", "--porcelain", cwd=desk) == ""


def test_an_update_brings_the_framework_and_leaves_the_users_own_alone(
    workbench: Workbench, desk: Path, upstream: Path
) -> None:
    (desk / "app/planted/mine.py").write_text("# of the user\n")
    identity = (desk / "pyproject.toml").read_text()
    (desk / "pyproject.toml").write_text(identity.replace('version = "0.1.0"', 'version = "0.4.0"'))
    workbench.commit(desk, "work of the user")
    before = tree(desk)
    for name in ("app/planted/__init__.py", "tests/planted/test_planted.py", "test_framework/tests/planted.txt"):
        (upstream / name).write_text("# the second edition\n")
    (upstream / "app/planted/new.py").write_text("# new\n")
    (upstream / "test_framework/planted/new.bin").write_bytes(bytes(range(256)))
    (upstream / "test_framework/planted/goes.txt").unlink()
    learned = (
        (upstream / "pyproject.toml").read_text().replace("\ndependencies = [", '\ndependencies = [\n    "new>=1",')
    )
    (upstream / "pyproject.toml").write_text(learned)
    publish(workbench, upstream)

    workbench.succeed("cruft", "update", "--skip-apply-ask", cwd=desk)

    after = tree(desk)
    changed = {name for name in before.keys() | after.keys() if before.get(name) != after.get(name)}
    assert changed == {
        "pyproject.toml",
        "test_framework/planted/goes.txt",
        "test_framework/planted/new.bin",
        "test_framework/tests/planted.txt",
    }
    assert "test_framework/planted/goes.txt" not in after
    assert after["test_framework/planted/new.bin"].content == bytes(range(256))
    assert after["test_framework/tests/planted.txt"].content == b"# the second edition\n"
    assert b'version = "0.4.0"' in after["pyproject.toml"].content
    assert b'"new>=1"' in after["pyproject.toml"].content
    assert workbench.succeed("git", "diff", "--check", cwd=desk) == ""
    workbench.succeed("cruft", "check", cwd=desk)


def test_a_conflict_is_seen_by_what_the_readme_says_to_run(workbench: Workbench, desk: Path, upstream: Path) -> None:
    (desk / "test_framework/tests/planted.txt").write_text("the user's edition\n")
    workbench.commit(desk, "work of the user")
    (upstream / "test_framework/tests/planted.txt").write_text("an edition of another kind\n")
    publish(workbench, upstream)

    workbench.succeed("cruft", "update", "--skip-apply-ask", cwd=desk)

    checked = workbench.run("git", "diff", "--check", cwd=desk)
    status = workbench.succeed("git", "status", "--short", cwd=desk)
    assert checked.code != 0 or ".rej" in status, status
