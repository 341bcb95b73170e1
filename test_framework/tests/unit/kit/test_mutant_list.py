"""The list of ways to break the service fits today's code, and is read for what it says."""

from __future__ import annotations

from pathlib import Path
from textwrap import indent

import pytest

from test_framework import CHECKOUT
from test_framework.modes import Mode
from test_framework.mutants.__main__ import lists, run
from test_framework.mutants.patches import Mutant, Patch, StaleMutant, read

MUTANTS = [mutant for file in lists(CHECKOUT) for mutant in read(file)]

ENTRY = """# Ways

## drop it

It is gone.
Noticed by `tests/test_it.py tests/test_more.py` in integration.

```diff
--- app/it.py
 def it():
-    return 1
+    return 2
```
"""


def test_each_way_has_another_name() -> None:
    assert len({mutant.name for mutant in MUTANTS}) == len(MUTANTS)


def test_every_way_fits_the_code_and_leaves_python(tmp_path: Path) -> None:
    for place, mutant in enumerate(MUTANTS):
        tree = tmp_path / str(place)
        for patch in mutant.patches:
            copy = tree / patch.file
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_text((CHECKOUT / patch.file).read_text(encoding="utf-8"), encoding="utf-8")

        mutant.apply(tree)

        for patch in mutant.patches:
            compile((tree / patch.file).read_text(encoding="utf-8"), patch.file, "exec")
        assert [test for test in mutant.tests.split() if not (CHECKOUT / test).exists()] == [], mutant.name


def test_an_entry_is_read_for_what_it_says(tmp_path: Path) -> None:
    document = tmp_path / "list.md"
    document.write_text(ENTRY, encoding="utf-8")

    (mutant,) = read(document)

    assert mutant == Mutant(
        "drop it",
        (Patch("app/it.py", "def it():\n    return 1\n", "def it():\n    return 2\n"),),
        "tests/test_it.py tests/test_more.py",
        Mode.INTEGRATION,
    )


def test_a_list_may_be_empty_and_explain_an_entry(tmp_path: Path) -> None:
    document = tmp_path / "list.md"
    document.write_text(f"# Ways\n\n{indent(ENTRY, ' ' * 4)}", encoding="utf-8")

    assert read(document) == []


async def test_an_empty_list_is_no_failure_but_no_list_is(tmp_path: Path) -> None:
    said: list[str] = []
    missing = await run(tmp_path, [], 1, said.append)
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests/mutants.md").write_text("# Ways\n", encoding="utf-8")
    empty = await run(tmp_path, [], 1, said.append)

    assert (missing, empty) == (2, 0)
    assert said[0] == "there is no mutants.md below tests/"
    assert "names no way to break the service yet" in said[1]


@pytest.mark.parametrize(
    ("entry", "complaint"),
    [
        (ENTRY.replace("## drop it", "drop it"), "names no way to break anything"),
        (ENTRY.replace("Noticed by", "Seen by"), "drop it: needs a line like"),
        (ENTRY.replace("```diff", "```python"), "drop it: needs a line like"),
        (ENTRY.replace("in integration", "in dreams"), "'dreams' is not a valid Mode"),
        (ENTRY.replace("-    return", "x    return"), "lines that begin with none of"),
    ],
    ids=["no heading", "nobody notices", "no diff", "no such mode", "no such mark"],
)
def test_an_entry_that_can_not_be_understood_is_refused(tmp_path: Path, entry: str, complaint: str) -> None:
    document = tmp_path / "list.md"
    document.write_text(entry, encoding="utf-8")

    with pytest.raises(ValueError, match=complaint):
        read(document)


@pytest.mark.parametrize(("code", "count"), [("def it():\n    return 3\n", 0), ("def it():\n    return 1\n" * 2, 2)])
def test_a_way_that_no_longer_fits_says_which_and_what_it_looked_for(tmp_path: Path, code: str, count: int) -> None:
    document = tmp_path / "list.md"
    document.write_text(ENTRY, encoding="utf-8")
    (tmp_path / "app").mkdir()
    (tmp_path / "app" / "it.py").write_text(code, encoding="utf-8")

    with pytest.raises(StaleMutant, match=rf"drop it: app/it\.py holds this {count} times instead of once:\ndef it"):
        read(document)[0].apply(tmp_path)
