"""What the template changed in the files that an update leaves alone."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from invoke.context import Context
from invoke.exceptions import Exit
from invoke.tasks import task

from test_framework import CHECKOUT

COPIER, CRUFT = ".copier-answers.yml", ".cruft.json"
OWN = ("app", "tests", ":(exclude)tests/template")
"""What an update leaves alone; the tests of the template itself never reach a project."""
REVISIONS = re.compile(r"app/(?:.+/)?migrations/")
CLONE = Path(".data/template.git")
SHORT_FORMS = {"gh:": "https://github.com/", "gl:": "https://gitlab.com/"}
RELEASE = re.compile(r"v?\d+(\.\d+)*(\.post\d+)?")
GIT_TIMEOUT = 120.0


class GitError(Exception):
    """A git command that failed, with the last line it printed."""


@dataclass(frozen=True)
class Origin:
    """Where a project came from: the template's address and the version it is at."""

    address: str
    version: str
    by_copier: bool


@dataclass(frozen=True)
class TemplateChange:
    """A file that the template changed and this project didn't, with the commits that changed it."""

    path: str
    what: str
    commits: list[str]


@task(
    help={
        "since": "the version to compare from; the one the project was made from if left out",
        "until": "the version to compare with; the newest release if left out, or the newest commit for cruft",
    }
)
def missed(context: Context, since: str = "", until: str = "") -> None:
    """List the template's changes in app/ and tests/ that this project lacks; fail if there are any."""
    try:
        report(CHECKOUT, since, until)
    except GitError as error:
        raise Exit(f"git failed: {error}", 2) from error


def report(project: Path, since: str, until: str) -> None:
    """Print the changes, and the command that applies them."""
    now = origin(project)
    clone = fetched(project, now.address)
    old = existing(clone, now.address, since or first_version(project) or now.version)
    new = existing(clone, now.address, until or newest(clone, now))
    missing, elsewhere = compare(project, clone, old, new)
    revisions = [change for change in missing if REVISIONS.match(change.path)]
    others = [change for change in missing if change not in revisions]
    if elsewhere:
        print(f"{elsewhere} files that this project no longer has were changed too, and are left out.")
    if not missing:
        print(f"No change in app/ or tests/ is missing: {old} to {new} of {now.address}.")
        return
    print(f"The template changed this from {old} to {new}, and this project doesn't have it:\n")
    width = max(len(change.path) for change in missing)
    for change in missing:
        print(f"  {change.what:8} {change.path.ljust(width)}  {'; '.join(change.commits)}")
    if others:
        diff = ["git", "-C", CLONE.as_posix(), "diff", "--binary", "--full-index", old, new, "--"]
        print(
            "\nTo apply it, with conflict markers where both sides changed the same lines (name fewer files for less):\n"
        )
        print(f"  {shlex.join([*diff, *(change.path for change in others)])} | git apply --3way")
    if revisions:
        print("\nThe command leaves out the migrations: a revision's number may be taken here. After you have applied")
        print('the changed models, write a revision of this project: invoke db.revision --message "…"')
    print(f"\nAfter you have decided on them, leave them out: invoke template.missed --since {new}")
    raise Exit(code=1)


def origin(project: Path) -> Origin:
    """Read what copier or cruft noted about the template."""
    for name in (COPIER, CRUFT):
        if (project / name).exists():
            return parsed(name, (project / name).read_text(encoding="utf-8"))
    if (project / "copier.yml").exists():
        raise Exit("This is the template itself, so it misses nothing. Run it in a project that was made from it.", 2)
    raise Exit(
        f"The template of this project is unknown: it has neither {COPIER} nor {CRUFT}. "
        "README.md says how to make the first, under 'Update from the template'.",
        2,
    )


def parsed(name: str, text: str) -> Origin:
    """Read one of the two files."""
    try:
        noted: dict[str, Any] = yaml.safe_load(text) if name == COPIER else json.loads(text)
        address, version = (
            (noted["_src_path"], noted["_commit"]) if name == COPIER else (noted["template"], noted["commit"])
        )
    except (yaml.YAMLError, ValueError, KeyError, TypeError) as error:
        raise Exit(f"{name} can't be read: {error!r}. Restore it: git checkout -- {name}", 2) from error
    return Origin(str(address), str(version), by_copier=name == COPIER)


def first_version(project: Path) -> str:
    """Return the version that the project was made from: the first that its history noted, or nothing."""
    try:
        added = git(project, "log", "--diff-filter=A", "--format=%H", "--", COPIER, CRUFT).split()
        for name in (COPIER, CRUFT) if added else ():
            if git(project, "ls-tree", "--name-only", added[-1], "--", name):
                return parsed(name, git(project, "show", f"{added[-1]}:./{name}")).version
    except GitError:
        pass  # not under git, or without commits
    return ""


def fetched(project: Path, address: str) -> Path:
    """Return an up-to-date bare clone of the template, which git ignores."""
    clone = project / CLONE
    url = address.removeprefix("git+")
    for short, long in SHORT_FORMS.items():
        if url.startswith(short):
            url = f"{long}{url.removeprefix(short).removesuffix('.git')}.git"
    try:
        if not clone.exists():
            git(project, "init", "--quiet", "--bare", str(clone))
        heads = ("+refs/heads/*:refs/heads/*", "+refs/tags/*:refs/tags/*", "+HEAD:refs/template/head")
        git(clone, "fetch", "--quiet", "--prune", url, *heads)
    except GitError as error:
        raise Exit(f"The template at {address} can't be fetched: {error}. Try: git ls-remote {url}", 2) from error
    return clone


def newest(clone: Path, now: Origin) -> str:
    """Return what an update would go to: copier takes the newest release, cruft the newest commit."""
    tags = git(clone, "tag", "--list", "--sort=-version:refname").split()
    releases = [tag for tag in tags if RELEASE.fullmatch(tag)]
    if now.by_copier and releases:
        return releases[0]
    return git(clone, "rev-parse", "--short=12", "refs/template/head").strip()


def existing(clone: Path, address: str, version: str) -> str:
    """Return the version, which the template must have."""
    try:
        git(clone, "rev-parse", "--quiet", "--verify", f"{version}^{{commit}}")
    except GitError as error:
        raise Exit(
            f"The template at {address} has no version {version}: its history was rewritten, or the name is wrong. "
            f"Name one that it has: git -C {CLONE.as_posix()} tag; invoke template.missed --since …",
            2,
        ) from error
    return version


def compare(project: Path, clone: Path, old: str, new: str) -> tuple[list[TemplateChange], int]:
    """Return what the project lacks of the changes, and how many of them are in files that it has removed."""
    names = git(clone, "diff", "--name-status", "--no-renames", "-z", old, new, "--", *OWN).split("\0")[:-1]
    missing, elsewhere = [], 0
    for status, path in zip(names[::2], names[1::2], strict=True):
        here = project / path
        if status != "A" and not here.exists():
            elsewhere += status == "M"
        elif not has_change(clone, here, f"{old}:{path}", f"{new}:{path}", status):
            what = {"A": "added", "D": "removed"}.get(status, "changed")
            commits = git(clone, "log", "--reverse", "--format=%h %s", f"{old}..{new}", "--", path).splitlines()
            missing.append(TemplateChange(path, what, commits))
    return missing, elsewhere


def has_change(clone: Path, here: Path, old: str, new: str, status: str) -> bool:
    """Say whether merging the template's change into the project's file would leave it as it is."""
    if status == "D" or not here.exists():
        return False
    mine, theirs = here.read_bytes(), blob(clone, new)
    if mine == theirs or status == "A":
        return mine == theirs
    with tempfile.TemporaryDirectory() as folder:
        sides = {"mine": mine, "old": blob(clone, old), "new": theirs}
        for name, content in sides.items():
            Path(folder, name).write_bytes(content)
        merged = run_git(Path(folder), "merge-file", "-p", *sides)
    return merged.returncode == 0 and merged.stdout == mine  # it returns the number of conflicts


def blob(clone: Path, name: str) -> bytes:
    return run_git(clone, "cat-file", "blob", name).stdout


def git(folder: Path, *arguments: str) -> str:
    """Run a git command that must succeed, and return what it printed."""
    ended = run_git(folder, *arguments)
    if ended.returncode != 0:
        complaint = os.fsdecode(ended.stderr).strip().splitlines()
        raise GitError(complaint[-1] if complaint else f"git {arguments[0]} ended with {ended.returncode}")
    return os.fsdecode(ended.stdout)


def run_git(folder: Path, *arguments: str) -> subprocess.CompletedProcess[bytes]:
    """Run a git command that asks no questions."""
    environment = {**os.environ, "GIT_TERMINAL_PROMPT": "0", "LC_ALL": "C"}
    try:
        return subprocess.run(
            ["git", *arguments], cwd=folder, env=environment, capture_output=True, timeout=GIT_TIMEOUT, check=False
        )
    except FileNotFoundError as error:
        raise Exit("git is not installed: install it, then repeat the command", 2) from error
    except subprocess.TimeoutExpired as error:
        raise GitError(f"git {arguments[0]} didn't end within {GIT_TIMEOUT:g} s") from error
