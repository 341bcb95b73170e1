"""Run the workflows here, job by job, as GitHub would: each in a clean clone, artifacts handed on, the merge at the end.

`nox -s rehearse` runs them all, `nox -s rehearse -- test-parallel` one. Of a matrix of systems and Pythons only what this machine
is gets run; of a matrix of shards every entry. What an action would do is stood in for where it moves files, and left out where
it installs what is here already.
"""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from typing import Any

import yaml

STEP_SECONDS = 1800
SYSTEMS = {"Linux": "ubuntu-latest", "Darwin": "macos-latest", "Windows": "windows-latest"}
EXPRESSION = re.compile(r"\$\{\{ *([\w.]+) *\}\}")
GITHUB = {"github.run_id": "1", "github.run_attempt": "1", "github.ref": "refs/heads/rehearsal"}

Step = Mapping[str, Any]
Job = Mapping[str, Any]


@dataclass
class Rehearsal:
    """One workflow, run from its file."""

    root: Path
    place: Path
    results: dict[str, bool] = field(default_factory=dict)

    def run(self, workflow: Path) -> bool:
        """Run every job after those it needs; true where all of them passed."""
        jobs: dict[str, Job] = yaml.safe_load(workflow.read_text(encoding="utf-8"))["jobs"]
        self.results = {}
        while waiting := [name for name in jobs if name not in self.results]:
            ready = [name for name in waiting if set(needed_by(jobs[name])) <= self.results.keys()]
            if not ready:
                raise ValueError(f"{workflow.name}: {', '.join(waiting)} wait for each other")
            for name in ready:
                self.results[name] = self._run_job(workflow.stem, name, jobs[name])
        return all(self.results.values())

    def _run_job(self, workflow: str, name: str, job: Job) -> bool:
        needs_met = all(self.results[need] for need in needed_by(job))
        if not needs_met and job.get("if") != "always()":
            print(f"--- {workflow} / {name}: left out, as what it needs has failed", flush=True)
            return False
        passed = [self._run_variant(workflow, name, job, entry, needs_met=needs_met) for entry in variants(job)]
        return all(passed)

    def _run_variant(self, workflow: str, name: str, job: Job, entry: Mapping[str, str], *, needs_met: bool) -> bool:
        values = GITHUB | {f"matrix.{key}": value for key, value in entry.items()}
        title = " ".join([f"{workflow} / {name}", *map(str, entry.values())])
        clone = Path(tempfile.mkdtemp(prefix="job-", dir=self.place))
        environment = {key: filled(str(value), values) for key, value in job.get("env", {}).items()}
        passed = True
        for step in job["steps"]:
            if not wanted(step, passed=passed, needs_met=needs_met):
                continue
            began = time.monotonic()
            worked = self._run_step(step, clone, values, environment)
            if "run" in step:
                word = "ok" if worked else "FAILED"
                print(f"--- {title}: {step['run']}: {word} in {time.monotonic() - began:.0f} s", flush=True)
            passed = passed and worked
        shutil.rmtree(clone, ignore_errors=True)
        return passed

    def _run_step(self, step: Step, clone: Path, values: Mapping[str, str], environment: Mapping[str, str]) -> bool:
        action = step.get("uses", "").partition("@")[0]
        inputs = {key: filled(str(value), values) for key, value in step.get("with", {}).items()}
        if action == "actions/checkout":
            subprocess.run(["git", "clone", "-q", str(self.root), str(clone)], check=True, timeout=STEP_SECONDS)
        elif action == "actions/upload-artifact":
            return self._upload(clone / inputs["path"], inputs["name"])
        elif action == "actions/download-artifact":
            return self._download(clone / inputs["path"], inputs)
        elif "run" in step and not step["run"].startswith("python -m pip install"):
            own = os.environ | environment | {"NOX_ENVDIR": str(self.place / "nox")}
            shell = ["bash", "-euo", "pipefail", "-c", filled(step["run"], values)]
            return subprocess.run(shell, cwd=clone, env=own, timeout=STEP_SECONDS, check=False).returncode == 0
        return True

    def _upload(self, path: Path, name: str) -> bool:
        if not path.is_dir() or not any(path.iterdir()):
            print(f"nothing to upload in {path.name} for {name}", flush=True)
            return False
        shutil.copytree(path, self.place / "artifacts" / name, dirs_exist_ok=True)
        return True

    def _download(self, path: Path, inputs: Mapping[str, str]) -> bool:
        folder = self.place / "artifacts"
        if "name" in inputs:
            shutil.copytree(folder / inputs["name"], path, dirs_exist_ok=True)
            return True
        for found in folder.glob(inputs["pattern"]):
            shutil.copytree(found, path / found.name)
        return True


def needed_by(job: Job) -> list[str]:
    """Name the jobs that come before this one."""
    needs = job.get("needs", [])
    return [needs] if isinstance(needs, str) else list(needs)


def variants(job: Job) -> Iterator[dict[str, str]]:
    """Every entry of a job's matrix that this machine can be."""
    matrix: dict[str, Any] = job.get("strategy", {}).get("matrix", {})
    if "include" in matrix:
        yield from matrix["include"]
        return
    here = {"system": SYSTEMS.get(platform.system()), "python": ".".join(platform.python_version_tuple()[:2])}
    axes = {name: [here[name]] if here.get(name) in values else values[:1] for name, values in matrix.items()}
    yield from (dict(zip(axes, chosen, strict=True)) for chosen in product(*axes.values()))


def wanted(step: Step, *, passed: bool, needs_met: bool) -> bool:
    """Whether a step runs: after a failure only what is to run always, and the verdict only where something failed."""
    condition = step.get("if", "")
    if "needs.*.result" in condition:
        return not needs_met
    if "refs/heads/main" in condition:
        return False
    return passed or "always()" in condition


def filled(text: str, values: Mapping[str, str]) -> str:
    """Put values where a workflow names them; what is unknown is empty, as on GitHub."""
    return EXPRESSION.sub(lambda found: str(values.get(found[1], "")), text)


def main(arguments: Sequence[str], root: Path) -> int:
    """Rehearse the named workflows, or all; 0 where every job passed."""
    folder = root / ".github" / "workflows"
    files = [folder / f"{name}.yml" for name in arguments] or sorted(folder.glob("*.yml"))
    if not files:
        print(f"nothing to rehearse: {folder} has no workflow")
        return 2
    if absent := [file.name for file in files if not file.exists()]:
        print(f"no such workflow: {absent}; there are {', '.join(sorted(file.stem for file in folder.glob('*.yml')))}")
        return 2
    with tempfile.TemporaryDirectory(prefix="rehearsal-") as place:
        outcomes = {file.stem: Rehearsal(root, Path(place)).run(file) for file in files}
    print("\n" + "\n".join(f"{name:<16} {'green' if passed else 'RED'}" for name, passed in outcomes.items()))
    return 0 if all(outcomes.values()) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], Path.cwd()))
