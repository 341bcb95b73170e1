"""Alembic's entry point; `commitstream.db.migrate`, its only caller, sets the attributes."""

from __future__ import annotations

from alembic import context

from commitstream.db import autogenerate

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=context.config.attributes["metadata"],
    render_as_batch=True,
    render_item=autogenerate.render_item,
    compare_server_default=True,
    autogenerate_plugins=autogenerate.PLUGINS,
)
with context.begin_transaction():
    context.run_migrations()
