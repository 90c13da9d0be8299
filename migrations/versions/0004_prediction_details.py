"""Logs, chunks, deadlines and events of predictions, and what running ones have come to so far."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0004"
down_revision: str | None = "0003"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    for column in (
        sa.Column("logs", sa.Text(), nullable=True, comment="what the model printed meanwhile"),
        sa.Column("source", sa.Text(), server_default="api", nullable=False, comment="api or web"),
        sa.Column("deployment", sa.Text(), nullable=True, comment="owner/name, where it came through one"),
        sa.Column(
            "streams",
            sa.Boolean(),
            server_default=sa.text("false"),
            nullable=False,
            comment="a text is stored as the list of its chunks",
        ),
        sa.Column("webhook_events", sa.ARRAY(sa.Text()), nullable=True, comment="null: all"),
        sa.Column(
            "deadline_at",
            sa.DateTime(timezone=True),
            nullable=True,
            comment="the client's own, by Cancel-After",
        ),
        sa.Column("data_removed", sa.Boolean(), server_default=sa.text("false"), nullable=False),
    ):
        op.add_column("predictions", column)
    op.create_index(
        "ix_predictions_web",
        "predictions",
        ["owner_id", "id"],
        postgresql_where=sa.text("source = 'web'"),
    )
    op.add_column(
        "queue",
        sa.Column(
            "listened",
            sa.Boolean(),
            server_default=sa.text("false"),
            nullable=False,
            comment="somebody reads its stream, so the lane tells each token at once",
        ),
    )
    op.alter_column("queue", "waiter", comment="the channels on which gateways wait for it, by commas")
    op.create_table(
        "partials",
        sa.Column("id", sa.Text(collation="C"), nullable=False),
        sa.Column("attempt", sa.SmallInteger(), nullable=False),
        sa.Column("output", sa.JSON(none_as_null=True), nullable=True),
        sa.Column("logs", sa.Text(), nullable=True),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_partials")),
        prefixes=["UNLOGGED"],
    )


def downgrade() -> None:
    op.drop_table("partials")
    op.alter_column("queue", "waiter", comment="the channel on which a gateway waits for it")
    op.drop_column("queue", "listened")
    op.drop_index("ix_predictions_web", table_name="predictions")
    for name in ("data_removed", "deadline_at", "webhook_events", "streams", "deployment", "source", "logs"):
        op.drop_column("predictions", name)
