"""Where alembic enters: the connection comes from `commitstream.db.migrate`, which is the only one to call it."""

from __future__ import annotations

from alembic import context

from app.db.schema import migrations
from commitstream.db import autogenerate

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=migrations.metadata,
    render_as_batch=True,
    render_item=autogenerate.render_item,
    compare_server_default=True,
    autogenerate_plugins=autogenerate.PLUGINS,
)
with context.begin_transaction():
    context.run_migrations()
