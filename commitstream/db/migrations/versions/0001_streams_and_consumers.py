"""Streams and their events, the positions of consumers, dead letters."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from commitstream.db.base import Moment

# commitstream_0001 made tables of other names: the start refuses such a database as one with an unknown migration
revision = "commitstream_tables_0001"
down_revision = None
branch_labels = ("commitstream",)
depends_on = None


def upgrade() -> None:
    op.create_table(
        "commitstream_streams",
        sa.Column("stream", sa.Text(), nullable=False),
        sa.Column("last_seq", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("stream", name="pk_commitstream_streams"),
    )
    op.create_table(
        "commitstream_events",
        sa.Column("stream", sa.Text(), nullable=False),
        sa.Column("seq", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("type", sa.Text(), nullable=False),
        sa.Column("subject", sa.Text()),
        sa.Column("body", sa.Text(), nullable=False),
        sa.Column("metadata", sa.Text()),
        sa.Column("at", Moment(), nullable=False),
        sa.PrimaryKeyConstraint("stream", "seq", name="pk_commitstream_events"),
    )
    op.create_index("ix_commitstream_events_stream_subject_seq", "commitstream_events", ["stream", "subject", "seq"])
    op.create_table(
        "commitstream_consumer_positions",
        sa.Column("consumer", sa.Text(), nullable=False),
        sa.Column("stream", sa.Text(), nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("owner", sa.Text(), nullable=False),
        sa.Column("free_at", Moment(), nullable=False),
        sa.PrimaryKeyConstraint("consumer", "stream", name="pk_commitstream_consumer_positions"),
    )
    op.create_table(
        "commitstream_dead_letters",
        sa.Column("consumer", sa.Text(), nullable=False),
        sa.Column("stream", sa.Text(), nullable=False),
        sa.Column("seq", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("event", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("at", Moment(), nullable=False),
        sa.PrimaryKeyConstraint("consumer", "stream", "seq", name="pk_commitstream_dead_letters"),
    )


def downgrade() -> None:
    op.drop_table("commitstream_dead_letters")
    op.drop_table("commitstream_consumer_positions")
    op.drop_table("commitstream_events")
    op.drop_table("commitstream_streams")
