"""Owners have a clock for each priority, and the less urgent classes an order of their own."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0010"
down_revision: str | None = "0009"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    op.add_column(
        "owner_clocks", sa.Column("priority", sa.SmallInteger(), server_default="0", nullable=False)
    )
    op.drop_constraint("pk_owner_clocks", "owner_clocks")
    op.create_primary_key("pk_owner_clocks", "owner_clocks", ["pool", "owner_id", "priority"])
    op.create_index(
        "ix_queue_patient",
        "queue",
        ["pool", "priority", "rank"],
        postgresql_where=sa.text("priority > 0"),
    )


def downgrade() -> None:
    op.drop_index("ix_queue_patient", table_name="queue")
    op.execute("DELETE FROM owner_clocks WHERE priority > 0")
    op.drop_constraint("pk_owner_clocks", "owner_clocks")
    op.create_primary_key("pk_owner_clocks", "owner_clocks", ["pool", "owner_id"])
    op.drop_column("owner_clocks", "priority")
