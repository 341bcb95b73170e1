"""Remove what this checkout made and no longer needs; never a prune, never what another checkout uses."""

from __future__ import annotations

from collections.abc import Iterable

from invoke.context import Context
from invoke.tasks import task

from test_framework.services import leftovers
from test_framework.services.stack import Stack

DRY = {"dry-run": "only say what would be removed"}


@task(help=DRY)
def run(context: Context, dry_run: bool = False) -> None:
    """Remove what ended runs left; running ones and the dev stack stay."""
    remove(leftovers.of_ended_runs(Stack.dev()), dry_run)


@task(name="all", help=DRY)
def all_(context: Context, dry_run: bool = False) -> None:
    """Remove what ended runs left, this checkout's dev stack, data and images, and caches no other checkout uses."""
    stack = Stack.dev()
    found = (*leftovers.of_ended_runs(stack), *leftovers.of_the_dev_stack(stack), *leftovers.caches(stack))
    remove(found, dry_run)


def remove(found: Iterable[leftovers.Leftover], dry_run: bool) -> None:
    count = 0
    for leftover in found:
        print(f"{'would remove' if dry_run else 'removing'} {leftover.what}")
        count += 1
        if not dry_run:
            leftover.remove()
    if not count:
        print("nothing to remove")
