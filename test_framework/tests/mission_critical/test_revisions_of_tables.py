"""Change the models, `invoke db.revision`, `invoke db.upgrade`: on a copy of the checkout."""

from __future__ import annotations

import asyncio
import os
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from app.db.base import Base
from test_framework import CHECKOUT, SERVICE

pytestmark = [pytest.mark.isolation("clone"), pytest.mark.timeout(150)]

PARTS = (*SERVICE, "test_framework", "tests/support", "tasks.py", "pyproject.toml")
TIMEOUT = 60.0


@dataclass(frozen=True)
class Copy:
    """A copy of the checkout whose models and migrations a test may change."""

    root: Path
    database_url: str

    @property
    def models(self) -> Path:
        return self.root / "app" / "agents" / "tables.py"

    def migrations(self) -> set[Path]:
        return {*self.root.glob("app/**/migrations/**/*.py")}

    async def run(self, *arguments: str) -> tuple[int, str]:
        """Run a Python program there; return its exit code and all that it printed."""
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", *arguments),
            cwd=self.root,
            env={"PATH": os.environ["PATH"], "HOME": str(self.root), "DATABASE_URL": self.database_url},
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        try:
            printed, _ = await asyncio.wait_for(process.communicate(), TIMEOUT)
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        assert process.returncode is not None
        return process.returncode, printed.decode()

    async def succeed(self, *arguments: str) -> str:
        code, printed = await self.run(*arguments)
        assert code == 0, printed
        return printed

    async def refuses(self, reason: str, *task: str) -> str:
        """Run a task that fails with a reason and no traceback; return all that it printed."""
        code, printed = await self.run("invoke", *task)
        assert (code, reason in printed, "Traceback" in printed) == (1, True, False), printed
        return printed

    async def revise(self, message: str, *options: str) -> Path:
        """Write a revision and return its file."""
        before = self.migrations()
        await self.succeed("invoke", "db.revision", "--message", message, *options)
        (written,) = self.migrations() - before
        return written

    def replace(self, old: str, new: str) -> None:
        """Change the models."""
        source = self.models.read_text(encoding="utf-8")
        assert old in source
        self.models.write_text(source.replace(old, new, 1), encoding="utf-8")


@pytest.fixture
def copy(tmp_path: Path, database_url: str) -> Copy:
    root = tmp_path / "copy"
    for part in PARTS:
        source = CHECKOUT / part
        if source.is_dir():
            shutil.copytree(source, root / part, ignore=shutil.ignore_patterns("__pycache__", "tests"))
        else:
            shutil.copy(source, root / part)
    return Copy(root, database_url)


def table_of_every_type() -> str:
    """Declare a table with a column of each type that the models use, required and optional."""
    found = {repr(column.type): column.type for table in Base.metadata.sorted_tables for column in table.columns}
    lines = []
    for number, (spelling, kind) in enumerate(sorted(found.items())):
        python = kind.python_type
        mapped = "datetime" if python.__name__ == "datetime" else python.__name__
        made = f"sqlalchemy.{spelling}" if type(kind).__module__.startswith("sqlalchemy.") else spelling
        lines += [
            f"    required_{number}: Mapped[{mapped}] = mapped_column({made})",
            f"    optional_{number}: Mapped[{mapped} | None] = mapped_column({made})",
        ]
    return "\n".join(
        [
            *("", "", "import sqlalchemy", "", "", "class Sample(Base):"),
            *(
                '    __tablename__ = "Order"  # a name that has to be quoted',
                "    id: Mapped[int] = mapped_column(primary_key=True)",
            ),
            *(*lines, '    grade: Mapped[str] = mapped_column(String(8), server_default="new")'),
            *("    __table_args__ = (sqlalchemy.CheckConstraint(\"grade IN ('new', 'old')\", name=\"grade\"),)", ""),
        ]
    )


async def test_a_revision_with_every_column_type_can_be_applied(copy: Copy) -> None:
    copy.models.write_text(copy.models.read_text(encoding="utf-8") + table_of_every_type(), encoding="utf-8")

    written = await copy.revise("Samples of everything")

    await copy.succeed("ruff", "check", str(written))
    await copy.succeed("ruff", "format", "--check", str(written))
    await copy.succeed("invoke", "db.upgrade", "db.check", "db.downgrade")
    await copy.succeed("invoke", "db.upgrade")  # invoke runs a task once in a call
    await copy.refuses("no migration was written", "db.revision", "--message", "Nothing more")


@pytest.mark.parametrize(
    "column",
    [
        "Mapped[str] = mapped_column(Text, server_default='')",
        "Mapped[str] = mapped_column(Text, server_default='0')",
        "Mapped[str] = mapped_column(Text, server_default='new')",
        "Mapped[bool] = mapped_column(server_default=sqlalchemy.false())",
        "Mapped[datetime] = mapped_column(Moment, server_default=sqlalchemy.func.now())",
    ],
    ids=["empty", "zero", "word", "false", "now"],
)
async def test_a_default_of_the_server_settles(copy: Copy, column: str) -> None:
    table = f"""

import sqlalchemy


class Sample(Base):
    __tablename__ = "samples"
    id: Mapped[int] = mapped_column(primary_key=True)
    sample: {column}
"""
    copy.models.write_text(copy.models.read_text(encoding="utf-8") + table, encoding="utf-8")

    await copy.revise("Samples with a default")

    await copy.succeed("invoke", "db.upgrade", "db.check")
    await copy.refuses("no migration was written", "db.revision", "--message", "Nothing more")


async def test_a_changed_check_is_part_of_the_revision(copy: Copy) -> None:
    table = """

import sqlalchemy


class Parcel(Base):
    __tablename__ = "parcels"
    __table_args__ = (sqlalchemy.CheckConstraint("size IN ('small', 'large')", name="size"),)
    id: Mapped[int] = mapped_column(primary_key=True)
    size: Mapped[str] = mapped_column(Text)
"""
    copy.models.write_text(copy.models.read_text(encoding="utf-8") + table, encoding="utf-8")
    await copy.revise("Parcels")
    await copy.succeed("invoke", "db.upgrade")
    copy.replace("'large')", "'large', 'huge')")

    written = await copy.revise("Huge parcels")

    assert "huge" in written.read_text(encoding="utf-8")
    await copy.succeed("invoke", "db.upgrade", "db.check")
    await copy.refuses("no migration was written", "db.revision", "--message", "Nothing more")


async def test_a_revision_without_a_change_is_refused(copy: Copy) -> None:
    before = copy.migrations()

    await copy.refuses("invoke db.revision --empty", "db.revision", "--message", "Nothing at all")

    assert copy.migrations() == before


async def test_two_branches_of_migrations_are_named_and_merged(copy: Copy) -> None:
    mine = await copy.revise("same words", "--empty")
    kept = mine.rename(mine.with_suffix(".kept"))
    theirs = await copy.revise("same words", "--empty")
    kept.rename(mine)

    assert mine != theirs
    await copy.refuses("invoke db.merge", "db.upgrade")
    await copy.succeed("invoke", "db.merge", "--message", "Join them")
    await copy.succeed("invoke", "db.upgrade", "db.check")


async def test_two_migrations_of_one_name_are_both_named(copy: Copy) -> None:
    newest = max(copy.migrations())
    twin = newest.with_name(f"{newest.stem}_again.py")
    shutil.copy(newest, twin)

    printed = await copy.refuses(newest.name, "db.upgrade")

    assert twin.name in printed
