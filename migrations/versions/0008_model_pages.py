"""What a model tells of itself: a readme, an example, how often it has run, what comes out."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0008"
down_revision: str | None = "0007"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    for column in (
        sa.Column("readme", sa.Text(), server_default="", nullable=False, comment="Markdown"),
        sa.Column("cover_image_url", sa.Text(), nullable=True),
        sa.Column(
            "default_example_id",
            sa.Text(),
            nullable=True,
            comment="a prediction that shows what it does",
        ),
        sa.Column("run_count", sa.BigInteger(), server_default="0", nullable=False),
    ):
        op.add_column("models", column)
    op.add_column(
        "model_versions",
        sa.Column(
            "output_schema",
            sa.JSON(none_as_null=True),
            nullable=True,
            comment="the version's own, where its model type leaves that open",
        ),
    )
    op.add_column(
        "lanes",
        sa.Column(
            "device",
            sa.Text(),
            server_default="cpu",
            nullable=False,
            comment="cpu, cuda or mps; empty where the one that it should have is missing",
        ),
    )
    op.create_table(
        "run_counter",
        sa.Column("singleton", sa.Boolean(), server_default="true", nullable=False),
        sa.Column("counted_to", sa.Text(collation="C"), server_default="", nullable=False),
        sa.CheckConstraint("singleton", name=op.f("ck_run_counter_singleton")),
        sa.PrimaryKeyConstraint("singleton", name=op.f("pk_run_counter")),
    )


def downgrade() -> None:
    op.drop_table("run_counter")
    op.drop_column("lanes", "device")
    op.drop_column("model_versions", "output_schema")
    for name in ("run_count", "default_example_id", "cover_image_url", "readme"):
        op.drop_column("models", name)
