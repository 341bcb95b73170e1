"""The template's changes reach a project by an update, by copier or by cruft, and app/ and tests/ stay the project's."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.template.workbench import Outcome, Workbench, tree

pytestmark = pytest.mark.timeout(300)

UPDATE = {
    "copier": ("copier", "update", "--trust", "--skip-answered"),
    "cruft": ("cruft", "update", "--skip-apply-ask"),
}
FIXED = "app/agents/runs.py"
MIGRATION = "app/agents/migrations/0099_of_the_template.py"


@pytest.fixture(params=list(UPDATE))
def tool(request: pytest.FixtureRequest) -> str:
    """The tool that made the project and updates it."""
    name: str = request.param
    return name


@pytest.fixture
def address(workbench: Workbench, checkout: Path, tmp_path: Path) -> str:
    """An address that the template is published at, for one test to push to."""
    bare = tmp_path / "template.git"
    workbench.succeed("git", "clone", "--quiet", "--bare", str(checkout), str(bare))
    workbench.succeed("git", "tag", "v1.0.0", cwd=bare)
    return f"file://{bare}"


@pytest.fixture
def desk(workbench: Workbench, tool: str, address: str, tmp_path: Path) -> Path:
    """A project under git, made by the tool."""
    make = {"copier": workbench.copier_copy, "cruft": workbench.cruft_create}[tool]
    made = make(address, into=tmp_path)
    workbench.succeed("git", "init", "--quiet", cwd=made)
    workbench.commit(made, "a new project")
    return made


@pytest.fixture
def upstream(workbench: Workbench, address: str, tmp_path: Path) -> Path:
    """A clone of the template to commit to."""
    clone = tmp_path / "upstream"
    workbench.succeed("git", "clone", "--quiet", address, str(clone))
    return clone


def publish(workbench: Workbench, upstream: Path, tag: str = "v1.1.0", why: str = "a change of the template") -> None:
    workbench.commit(upstream, why)
    workbench.succeed("git", "tag", tag, cwd=upstream)
    workbench.succeed("git", "push", "--quiet", "origin", "HEAD", tag, cwd=upstream)


def update(workbench: Workbench, tool: str, desk: Path) -> None:
    workbench.succeed(*UPDATE[tool], cwd=desk, seconds=120)


def appended(path: Path, text: str) -> None:
    path.write_text(path.read_text(encoding="utf-8") + text, encoding="utf-8")


def missed(workbench: Workbench, desk: Path, *options: str) -> Outcome:
    return workbench.run("invoke", "template.missed", *options, cwd=desk)


@pytest.mark.parametrize("tool", ["cruft"])
def test_a_fresh_project_does_not_differ_from_its_template(workbench: Workbench, desk: Path) -> None:
    assert workbench.succeed("cruft", "diff", "--exit-code", cwd=desk) == ""
    assert workbench.succeed("git", "status", "--porcelain", cwd=desk) == ""


def test_an_update_brings_engine_and_kit_but_no_own_files(
    tool: str, workbench: Workbench, desk: Path, upstream: Path
) -> None:
    (desk / "app/planted/mine.py").write_text("# of the project\n")
    appended(desk / "app/main.py", "# of the project\n")
    (desk / "app/agents/web/index.html").unlink()
    identity = (desk / "pyproject.toml").read_text()
    (desk / "pyproject.toml").write_text(identity.replace('version = "0.1.0"', 'version = "0.4.0"'))
    workbench.commit(desk, "work of the project")
    before = tree(desk)
    brought = ("commitstream/planted.txt", "test_framework/planted/text.txt")
    for name in ("app/planted/__init__.py", "tests/planted/test_planted.py", *brought):
        (upstream / name).write_text("# the second edition\n")
    (upstream / "app/planted/new.py").write_text("# new\n")
    (upstream / MIGRATION).write_text("# new\n")
    (upstream / "app/planted/picture.png").unlink()
    appended(upstream / "app/main.py", "# of the template\n")
    appended(upstream / "app/agents/web/index.html", "<!-- of the template -->\n")
    (upstream / "test_framework/planted/new.bin").write_bytes(bytes(range(256)))
    (upstream / "test_framework/planted/goes.txt").unlink()
    learned = (
        (upstream / "pyproject.toml").read_text().replace("\ndependencies = [", '\ndependencies = [\n    "new>=1",')
    )
    (upstream / "pyproject.toml").write_text(learned)
    publish(workbench, upstream)

    update(workbench, tool, desk)

    after = tree(desk)
    changed = {name for name in before.keys() | after.keys() if before.get(name) != after.get(name)}
    assert changed == {
        "pyproject.toml",
        "test_framework/planted/goes.txt",
        "test_framework/planted/new.bin",
        *brought,
    }
    assert "test_framework/planted/goes.txt" not in after
    assert after["test_framework/planted/new.bin"].content == bytes(range(256))
    assert {after[name].content for name in brought} == {b"# the second edition\n"}
    assert b'version = "0.4.0"' in after["pyproject.toml"].content
    assert b'"new>=1"' in after["pyproject.toml"].content
    assert workbench.succeed("git", "diff", "--check", cwd=desk) == ""


def test_a_conflict_is_seen_by_what_the_readme_says_to_run(
    workbench: Workbench, tool: str, desk: Path, upstream: Path
) -> None:
    (desk / "test_framework/planted/text.txt").write_text("the project's edition\n")
    workbench.commit(desk, "work of the project")
    (upstream / "test_framework/planted/text.txt").write_text("an edition of another kind\n")
    publish(workbench, upstream)

    update(workbench, tool, desk)

    checked = workbench.run("git", "diff", "--check", cwd=desk)
    status = workbench.succeed("git", "status", "--short", cwd=desk)
    assert checked.code != 0 or ".rej" in status, status
    if tool == "copier":
        assert "UU test_framework/planted/text.txt" in status
        assert "the project's edition" in (desk / "test_framework/planted/text.txt").read_text()
        assert "an edition of another kind" in (desk / "test_framework/planted/text.txt").read_text()


@pytest.mark.parametrize("tool", ["copier"])
def test_copier_updates_to_the_newest_release_and_no_further(workbench: Workbench, desk: Path, upstream: Path) -> None:
    kit = "test_framework/planted/text.txt"
    for tag, edition in (("v1.9.0", "1.9\n"), ("v1.10.0", "1.10\n"), ("v2.0.0rc1", "rc\n"), ("notes", "later\n")):
        (upstream / kit).write_text(edition)
        publish(workbench, upstream, tag)
    before = workbench.run("copier", "check-update", "--quiet", cwd=desk)

    update(workbench, "copier", desk)

    assert (desk / kit).read_text() == "1.10\n"
    assert '_commit: "v1.10.0"' in (desk / ".copier-answers.yml").read_text()
    assert before.code == 2
    workbench.succeed("copier", "check-update", "--quiet", cwd=desk)


def test_a_fix_that_no_update_brings_is_listed_until_it_is_applied(
    workbench: Workbench, tool: str, desk: Path, upstream: Path
) -> None:
    appended(desk / FIXED, "\n# of the project\n")
    workbench.commit(desk, "work of the project")
    fresh = missed(workbench, desk)
    source = (upstream / FIXED).read_text()
    (upstream / FIXED).write_text(f"# the fix\n{source}")
    publish(workbench, upstream, why="Refuse a forged token")
    update(workbench, tool, desk)
    workbench.commit(desk, "an update")

    listed = missed(workbench, desk)
    line = next(line for line in listed.said.splitlines() if "| git apply --3way" in line)
    workbench.succeed("bash", "-o", "pipefail", "-c", line, cwd=desk)
    applied = missed(workbench, desk)

    assert fresh.code == 0, fresh.said
    assert listed.code == 1
    assert f"changed  {FIXED}" in listed.said
    assert "Refuse a forged token" in listed.said
    assert (desk / FIXED).read_text() == f"# the fix\n{source}\n# of the project\n"
    assert applied.code == 0, applied.said
    assert "No change in app/ or tests/ is missing" in applied.said


@pytest.mark.parametrize("tool", ["copier"])
def test_the_command_leaves_out_migrations_and_template_tests(workbench: Workbench, desk: Path, upstream: Path) -> None:
    (desk / "app/agents/web/index.html").unlink()
    workbench.commit(desk, "a project without a page")
    appended(upstream / "app/agents/web/index.html", "<!-- changed -->\n")
    (upstream / "app/new one.py").write_text("new = 1\n")
    (upstream / MIGRATION).write_text("# new\n")
    (upstream / "tests/template/test_new.py").write_text("# of the template\n")
    publish(workbench, upstream)

    listed = missed(workbench, desk)

    line = next(line for line in listed.said.splitlines() if "| git apply --3way" in line)
    workbench.succeed("bash", "-o", "pipefail", "-c", line, cwd=desk)
    assert "1 files that this project no longer has were changed too" in listed.said
    assert f"added    {MIGRATION}" in listed.said
    assert "invoke db.revision" in listed.said
    assert "test_new.py" not in listed.said
    status = workbench.succeed("git", "status", "--short", "--untracked-files=all", cwd=desk)
    assert status == 'A  "app/new one.py"\n'
    assert missed(workbench, desk, "--since", "v1.1.0").code == 0


@pytest.mark.parametrize("tool", ["copier"])
def test_what_hinders_the_list_is_named_with_the_next_command(
    workbench: Workbench, desk: Path, upstream: Path, address: str
) -> None:
    no_version = missed(workbench, desk, "--since", "v9.9.9")
    Path(address.removeprefix("file://")).rename(upstream.parent / "moved.git")
    unreachable = missed(workbench, desk)
    (desk / ".copier-answers.yml").write_text("no answers")
    unreadable = missed(workbench, desk)
    (desk / ".copier-answers.yml").unlink()
    unknown = missed(workbench, desk)

    assert [outcome.code for outcome in (no_version, unreachable, unreadable, unknown)] == [2, 2, 2, 2]
    assert "has no version v9.9.9" in no_version.said
    assert "can't be fetched" in unreachable.said
    assert f"Try: git ls-remote {address}" in unreachable.said
    assert "git checkout -- .copier-answers.yml" in unreadable.said
    assert "neither .copier-answers.yml nor .cruft.json" in unknown.said
    assert "Traceback" not in "".join(outcome.said for outcome in (no_version, unreachable, unreadable, unknown))
