"""What a user adds to a new project, how many files that takes, and that everything is green afterwards."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest

from cos_scaffold.live_files import live_files
from tests.template.workbench import ANSWERS, ROOT, Workbench

MINUTES = 60
EVENTS, TOOLS = "app/agents/events.py", "app/agents/tools.py"
HANDOVER = "tests/agents/unit/test_handover.py"
DECLARED = (
    (
        "class AgentCompleted(RunEvent):",
        "class AgentHandedOver(RunEvent):\n    to: str\n\n\nclass AgentCompleted(RunEvent):",
    ),
    (
        "_MIDDLE = (AgentThinking, ToolExecuting, AgentCompleted)",
        "_MIDDLE = (AgentThinking, AgentHandedOver, ToolExecuting, AgentCompleted)",
    ),
    ("        AgentThinking: _MIDDLE,\n", "        AgentThinking: _MIDDLE,\n        AgentHandedOver: _MIDDLE,\n"),
    ("    ToolCompleted,\n    AgentCompleted,\n)", "    ToolCompleted,\n    AgentHandedOver,\n    AgentCompleted,\n)"),
)
WRITTEN = (
    (
        "from datetime import UTC, datetime\n",
        "from datetime import UTC, datetime\n\nfrom app.agents.events import AgentHandedOver\nfrom app.agents.tool_context import ToolContext\n",
    ),
    (
        "TOOLS = (",
        'async def hand_over(to: str, context: ToolContext) -> str:\n    """Hand the run over to a person."""\n    await context.emit(AgentHandedOver(run_id=context.run_id, to=to))\n    return to\n\n\nTOOLS = (hand_over, ',
    ),
)
SEEN = '''"""A run that is handed over shows it."""

from __future__ import annotations

from tests.agents.context import AgentsContext


async def test_a_handover_is_seen(ada: AgentsContext) -> None:
    run = await ada.run_agent('!call hand_over {"to": "bob"}')

    ada.capture.assert_grammatical(run.id)
    assert [event.payload for event in ada.capture.events if event.type == "agent_handed_over"] == [{"to": "bob"}]
'''


@pytest.fixture(scope="module")
def project(workbench: Workbench) -> Path:
    return workbench.cookiecutter(str(ROOT), into=workbench.folder / "for additions")


def contents(project: Path) -> dict[str, str]:
    return {name: (project / name).read_text(encoding="utf-8", errors="replace") for name in live_files(project)}


def replace(file: Path, pairs: tuple[tuple[str, str], ...]) -> None:
    text = file.read_text(encoding="utf-8")
    for old, new in pairs:
        assert text.count(old) == 1, old
        text = text.replace(old, new)
    file.write_text(text, encoding="utf-8")


@dataclass(frozen=True)
class Change:
    """The files of a project before and after something was added to it."""

    before: dict[str, str]
    after: dict[str, str]

    @property
    def changed(self) -> set[str]:
        return {name for name, text in self.before.items() if self.after[name] != text}

    @property
    def added(self) -> set[str]:
        return self.after.keys() - self.before.keys()


@pytest.fixture(scope="module")
def domain(project: Path, workbench: Workbench) -> Change:
    """A domain, made by the command."""
    before = contents(project)
    workbench.succeed("invoke", "new.domain", "orders", cwd=project)
    return Change(before, contents(project))


@pytest.fixture(scope="module")
def event_type(project: Path) -> Change:
    """An event type of the agents, and a tool that writes it."""
    before = contents(project)
    replace(project / EVENTS, DECLARED)
    replace(project / TOOLS, WRITTEN)
    change = Change(before, contents(project))
    (project / HANDOVER).write_text(SEEN, encoding="utf-8")
    return change


@pytest.mark.timeout(5 * MINUTES)
def test_a_domain_takes_a_folder_a_line_and_a_migration(project: Path, domain: Change, workbench: Workbench) -> None:
    migrations = {name for name in domain.added if name.startswith("app/orders/migrations/")}
    lines = [files["app/domains.py"].split("\n") for files in (domain.before, domain.after)]
    assert domain.changed == {"app/domains.py"}
    assert [line for line in lines[1] if line not in lines[0]] == ['    "app.orders",']
    assert len(lines[1]) == len(lines[0]) + 1
    assert len(migrations) == 1
    assert {name.rpartition("/")[0] for name in domain.added - migrations} == {
        "app/orders",
        "tests/orders/mission_critical",
    }
    for mode in ("lightweight", "integration"):
        tested = ("--mode", mode, "-n0", "tests/orders")
        workbench.succeed("python", "-m", "pytest", *tested, cwd=project, seconds=2 * MINUTES)


@pytest.mark.timeout(2 * MINUTES)
def test_an_event_type_takes_one_file_beside_its_writer(
    project: Path, event_type: Change, workbench: Workbench
) -> None:
    assert event_type.changed == {EVENTS, TOOLS}
    assert event_type.added == set()
    tested = ("--mode", "lightweight", "-n0", HANDOVER)
    workbench.succeed("python", "-m", "pytest", *tested, cwd=project, seconds=MINUTES)


@pytest.mark.timeout(10 * MINUTES)
@pytest.mark.usefixtures("domain", "event_type")
def test_a_project_with_additions_is_green(project: Path, workbench: Workbench) -> None:
    for command in (("ruff", "check"), ("ruff", "format", "--check"), ("lint-imports", "--no-cache"), ("mypy",)):
        workbench.succeed(*command, cwd=project, seconds=3 * MINUTES)
    workbench.succeed("python", "-m", "test_framework.guards", cwd=project)
    tested = ("--mode", "lightweight", "--share-out")
    workbench.succeed("python", "-m", "pytest", *tested, cwd=project, seconds=7 * MINUTES)


@pytest.mark.timeout(5 * MINUTES)
def test_the_first_domain_of_a_bare_project_is_green(workbench: Workbench) -> None:
    into = workbench.folder / "without the example"
    ended = workbench.typed({"example": "none"}, template=ROOT, into=into)
    assert ended.code == 0, ended.said
    bare = into / ANSWERS["project_slug"]

    workbench.succeed("invoke", "new.domain", "orders", cwd=bare)

    assert not (bare / "app/agents").exists()
    for command in (("ruff", "check"), ("ruff", "format", "--check"), ("mypy",)):
        workbench.succeed(*command, cwd=bare, seconds=3 * MINUTES)
    for mode in ("lightweight", "integration"):
        tested = ("--mode", mode, "-n0", "tests/orders")
        workbench.succeed("python", "-m", "pytest", *tested, cwd=bare, seconds=2 * MINUTES)
