"""Deployments."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0007"
down_revision: str | None = "0006"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    op.create_table(
        "deployments",
        sa.Column("id", sa.Text(collation="C"), nullable=False),
        sa.Column("owner", sa.Text(), nullable=False),
        sa.Column("owner_key", sa.Text(), nullable=False, comment="the owner in lower case"),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("name_key", sa.Text(), nullable=False, comment="the name in lower case"),
        sa.Column("version_id", sa.Text(collation="C"), nullable=False),
        sa.Column("pool", sa.Text(collation="C"), nullable=False, comment="its own queue"),
        sa.Column("hardware", sa.Text(), nullable=False),
        sa.Column("min_instances", sa.SmallInteger(), nullable=False, comment="lanes that keep it loaded"),
        sa.Column("max_instances", sa.SmallInteger(), nullable=False, comment="lanes that run it at a time"),
        sa.Column("release", sa.Integer(), server_default="1", nullable=False),
        sa.Column("created_by", sa.Text(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint(
            "0 <= min_instances AND min_instances <= max_instances", name=op.f("ck_deployments_instances")
        ),
        sa.ForeignKeyConstraint(
            ["version_id"],
            ["model_versions.id"],
            name=op.f("fk_deployments_version_id"),
            ondelete="RESTRICT",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_deployments")),
        sa.UniqueConstraint("pool", name=op.f("uq_deployments_pool")),
    )
    op.create_index(op.f("ix_deployments_version_id"), "deployments", ["version_id"])
    op.create_index("uq_deployments_owner_name", "deployments", ["owner_key", "name_key"], unique=True)
    op.add_column(
        "lanes",
        sa.Column(
            "seats",
            sa.ARRAY(sa.Text()),
            server_default="{}",
            nullable=False,
            comment="pools of deployments of which it may hold predictions",
        ),
    )
    op.add_column(
        "lanes",
        sa.Column(
            "kept",
            sa.ARRAY(sa.Text()),
            server_default="{}",
            nullable=False,
            comment="versions that it keeps in memory for deployments",
        ),
    )


def downgrade() -> None:
    op.drop_column("lanes", "kept")
    op.drop_column("lanes", "seats")
    op.drop_table("deployments")
