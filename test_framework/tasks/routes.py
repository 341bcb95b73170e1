"""What the service answers to."""

from __future__ import annotations

from invoke.context import Context
from invoke.tasks import task


@task(default=True, name="list")
def list_(context: Context) -> None:
    """List the routes of dev: method, path, name, and who may."""
    from rich.console import Console
    from rich.table import Table

    from test_framework.routes import routes_of_dev

    table = Table("method", "path", "name", "auth", box=None, pad_edge=False)
    for route in routes_of_dev():
        table.add_row(route.method, route.path, route.name, route.auth)
    Console().print(table)
