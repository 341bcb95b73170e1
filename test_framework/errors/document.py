"""docs/troubleshooting.md, written from the table of categories: `python -m test_framework.errors.document` writes it anew."""

from __future__ import annotations

from test_framework import CHECKOUT
from test_framework.errors.categories import REPRODUCE, TABLE, CategoryEntry

FILE = CHECKOUT / "docs" / "troubleshooting.md"
HEAD = """\
# Troubleshooting

A red run ends with the causes of its failures, the weightiest first:

```
======================= why: 53 failures of one cause ========================
1. Redis can't be reached (it was exited): Error 111 connecting to 127.0.0.1:6379. Connection refused.
   what:  redis (sure); the machine or its services are at fault, not the code
   hit:   53 tests, first tests/integration/test_orders.py::test_an_order_is_paid
   next:  invoke services.status
   again: SERVICES=compose python -m pytest --mode=integration -n 4 --randomly-seed=17 tests/integration/test_orders.py::test_an_order_is_paid
```

Begin with the first cause: what comes below it may be its echo. `next` is the command to run next, `again` makes the first failure again;
every single failure has such a line, under `reproduce`. A command that begins with `python -m` works after `nox -s setup`.
`sure`, `likely` and `perhaps` say how sure the explanation is.

Fault is one of three: **infrastructure** (the machine or its services: no line of the project need change), **code** (`app/`, `commitstream/`), **test**.

"""
TAIL = """\
## When an explanation is wrong

It goes by what was kept of a failure: classes of exceptions, SQLSTATEs, the innermost line of ours, the state of the services, and what
other tests saw at the same time. The rules are in `test_framework/errors/rules/`.
<!-- >>> template only -->
The real failures they are held against are in `test_framework/tests/corpus/`. Add a scenario that breaks the thing for real, make it
(`python -m test_framework.tests.corpus <family>`), then the rule that recognises it.
<!-- <<< template only -->
"""


def text() -> str:
    """Write the document."""
    return HEAD + "\n".join(_section(str(name), TABLE[name]) for name in TABLE) + "\n" + TAIL


def _section(name: str, entry: CategoryEntry) -> str:
    first = "the `again` line" if entry.first_command == REPRODUCE else f"`{entry.first_command}`"
    rows = [
        f"Means: {entry.means}.",
        f"Whose fault: {entry.mostly}.",
        f"What to do: {entry.do}.",
        f"First command: {first}",
    ]
    return f"## {name}\n\n" + "\\\n".join(rows) + "\n"


if __name__ == "__main__":
    FILE.write_text(text(), encoding="utf-8")
