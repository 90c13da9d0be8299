"""Orders to lanes to load and unload versions, and why versions cannot be loaded."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0003"
down_revision: str | None = "0002"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    op.create_table(
        "lane_orders",
        sa.Column("lane_id", sa.Text(collation="C"), nullable=False),
        sa.Column("version_id", sa.Text(collation="C"), nullable=False),
        sa.Column("action", sa.Text(), nullable=False),
        sa.CheckConstraint("action IN ('load', 'unload')", name=op.f("ck_lane_orders_action")),
        sa.ForeignKeyConstraint(
            ["lane_id"], ["lanes.id"], name=op.f("fk_lane_orders_lane_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("lane_id", "version_id", name=op.f("pk_lane_orders")),
    )
    op.create_table(
        "unavailable_versions",
        sa.Column("version_id", sa.Text(collation="C"), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False, comment="a sentence for people"),
        sa.Column("since", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(
            ["version_id"],
            ["model_versions.id"],
            name=op.f("fk_unavailable_versions_version_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("version_id", name=op.f("pk_unavailable_versions")),
    )


def downgrade() -> None:
    op.drop_table("unavailable_versions")
    op.drop_table("lane_orders")
