"""Lots, guests and bids."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "auction_0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "lots",
        sa.Column("id", sa.Text(), primary_key=True),
        sa.Column("title", sa.Text(), nullable=False),
        sa.Column("seller", sa.Text(), nullable=False),
        sa.Column("private", sa.Boolean(), nullable=False),
        sa.Column("closed", sa.Boolean(), nullable=False),
        sa.Column("price", sa.Integer(), nullable=False),
        sa.Column("leader", sa.Text()),
    )
    op.create_table(
        "guests",
        sa.Column("lot_id", sa.Text(), primary_key=True),
        sa.Column("user_id", sa.Text(), primary_key=True),
    )
    op.create_table(
        "bids",
        sa.Column("lot_id", sa.Text(), primary_key=True),
        sa.Column("amount", sa.Integer(), primary_key=True, autoincrement=False),
        sa.Column("bidder", sa.Text(), nullable=False),
    )


def downgrade() -> None:
    op.drop_table("bids")
    op.drop_table("guests")
    op.drop_table("lots")
