"""Runs and their journal."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from commitstream.db.base import Moment

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "runs",
        sa.Column("id", sa.String(64), nullable=False),
        sa.Column("user_id", sa.String(64), nullable=False),
        sa.Column("message", sa.Text(), nullable=False),
        sa.Column("status", sa.String(16), nullable=False),
        sa.Column("idempotency_key", sa.String(200)),
        sa.Column("cancel_requested", sa.Boolean(), nullable=False),
        sa.Column("owner", sa.String(64), nullable=False),
        sa.Column("lease_until", Moment(), nullable=False),
        sa.Column("created_at", Moment(), nullable=False),
        sa.Column("finished_at", Moment()),
        sa.PrimaryKeyConstraint("id", name="pk_runs"),
        sa.UniqueConstraint("user_id", "idempotency_key", name="uq_runs_user_id_idempotency_key"),
    )
    op.create_index("ix_runs_user_id_created_at", "runs", ["user_id", "created_at"])
    op.create_index("ix_runs_status_lease_until", "runs", ["status", "lease_until"])
    op.create_table(
        "streams",
        sa.Column("user_id", sa.String(64), nullable=False),
        sa.Column("last_seq", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("user_id", name="pk_streams"),
    )
    op.create_table(
        "events",
        sa.Column("user_id", sa.String(64), nullable=False),
        sa.Column("seq", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("run_id", sa.String(64), nullable=False),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.Column("at", Moment(), nullable=False),
        sa.PrimaryKeyConstraint("user_id", "seq", name="pk_events"),
        sa.CheckConstraint(
            "kind IN ('agent_started', 'agent_thinking', 'tool_executing', 'tool_completed', 'agent_completed')",
            name=op.f("ck_events_kind"),
        ),
    )
    op.create_index("ix_events_run_id_seq", "events", ["run_id", "seq"])


def downgrade() -> None:
    op.drop_table("events")
    op.drop_table("streams")
    op.drop_table("runs")
