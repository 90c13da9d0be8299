"""Several webhooks for each prediction, a log of them, and keys that sign them."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0005"
down_revision: str | None = "0004"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    op.drop_constraint("pk_webhook_deliveries", "webhook_deliveries")
    op.add_column(
        "webhook_deliveries",
        sa.Column(
            "id",
            sa.Text(collation="C"),
            server_default=sa.text("'msg_' || replace(gen_random_uuid()::text, '-', '')"),
            nullable=False,
        ),
    )
    op.create_primary_key("pk_webhook_deliveries", "webhook_deliveries", ["id"])
    op.alter_column("webhook_deliveries", "event", type_=sa.Text())
    op.create_index("ix_webhook_deliveries_prediction_id_id", "webhook_deliveries", ["prediction_id", "id"])
    op.create_table(
        "webhook_attempts",
        sa.Column("delivery_id", sa.Text(collation="C"), nullable=False),
        sa.Column("attempt", sa.SmallInteger(), nullable=False),
        sa.Column("status", sa.SmallInteger(), nullable=True),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("milliseconds", sa.Integer(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(
            ["delivery_id"],
            ["webhook_deliveries.id"],
            name=op.f("fk_webhook_attempts_delivery_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("delivery_id", "attempt", name=op.f("pk_webhook_attempts")),
    )
    op.create_table(
        "webhook_secrets",
        sa.Column("user_id", sa.Text(collation="C"), nullable=False),
        sa.Column("secret", sa.Text(collation="C"), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("retires_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(
            ["user_id"], ["users.id"], name=op.f("fk_webhook_secrets_user_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("user_id", "secret", name=op.f("pk_webhook_secrets")),
    )


def downgrade() -> None:
    op.drop_table("webhook_secrets")
    op.drop_table("webhook_attempts")
    op.drop_index("ix_webhook_deliveries_prediction_id_id", "webhook_deliveries")
    op.execute("DELETE FROM webhook_deliveries WHERE event <> 'completed'")
    op.drop_constraint("pk_webhook_deliveries", "webhook_deliveries")
    op.drop_column("webhook_deliveries", "id")
    op.alter_column("webhook_deliveries", "event", type_=sa.Text(collation="C"))
    op.create_primary_key("pk_webhook_deliveries", "webhook_deliveries", ["prediction_id", "event"])
