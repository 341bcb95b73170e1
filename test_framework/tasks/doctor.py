"""What this machine lacks, and the command that mends it."""

from __future__ import annotations

from invoke.context import Context
from invoke.exceptions import Exit
from invoke.tasks import task
from rich.console import Console
from rich.markup import escape

from test_framework.environment import checkup
from test_framework.environment.checkup import CheckResult, CheckVerdict, examine
from test_framework.services.checks import SERVICE_CHECKS

CHECKS = [*checkup.CHECKS, *SERVICE_CHECKS]

COLOURS = {CheckVerdict.GOOD: "green", CheckVerdict.BAD: "red", CheckVerdict.NOTE: "yellow"}
OPTIONAL = f"Lines with {CheckVerdict.NOTE.value} are optional: nox -s dev needs none of them."
IN_ASCII = str.maketrans({"✓": "+", "✗": "x", "–": "-", "→": ">", "…": "."})


@task(default=True)
def check(context: Context) -> None:
    """Look at everything; fail if a need is not met."""
    console = Console(soft_wrap=True, highlight=False)
    in_ascii = not console.encoding.startswith("utf")
    width = max(len(check.name) for check in CHECKS)
    bad = notes = 0
    for check, diagnosis in examine(CHECKS):
        text = line(check.name.ljust(width), diagnosis)
        console.print(text.translate(IN_ASCII) if in_ascii else text)
        bad += diagnosis.verdict is CheckVerdict.BAD
        notes += diagnosis.verdict is CheckVerdict.NOTE
    if notes:
        console.print(OPTIONAL.translate(IN_ASCII) if in_ascii else OPTIONAL)
    if bad:
        raise Exit(f"{bad} to mend", 1)


def line(name: str, diagnosis: CheckResult) -> str:
    """Write one line of the report, with the command that mends it where there is one."""
    colour = COLOURS[diagnosis.verdict]
    remedy = f" → [bold]{escape(diagnosis.remedy)}[/]" if diagnosis.remedy else ""
    return f"[{colour}]{diagnosis.verdict.value}[/] {escape(name)}  {escape(diagnosis.seen)}{remedy}"
