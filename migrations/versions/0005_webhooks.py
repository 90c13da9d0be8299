"""Several webhooks for each prediction, a log of them, and keys that sign them."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0005"
down_revision: str | None = "0004"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


NEW_ID = (
    "'msg_' || lpad(to_hex((extract(epoch FROM clock_timestamp()) * 1000000)::bigint), 14, '0')"
    " || right(replace(gen_random_uuid()::text, '-', ''), 18)"
)


def upgrade() -> None:
    op.drop_constraint("pk_webhook_deliveries", "webhook_deliveries")
    op.add_column(
        "webhook_deliveries",
        sa.Column(
            "id",
            sa.Text(collation="C"),
            server_default=sa.text(NEW_ID),
            nullable=False,
        ),
    )
    op.create_primary_key("pk_webhook_deliveries", "webhook_deliveries", ["id"])
    op.alter_column(
        "webhook_deliveries", "event", type_=sa.Text(), comment="start, output, logs or completed"
    )
    op.alter_column("webhook_deliveries", "attempts", type_=sa.Integer())
    op.add_column(
        "webhook_deliveries",
        sa.Column(
            "attempted_at",
            sa.DateTime(timezone=True),
            nullable=True,
            comment="when the last attempt began",
        ),
    )
    op.add_column("webhook_deliveries", sa.Column("owner_id", sa.Text(collation="C"), nullable=True))
    op.execute(
        "UPDATE webhook_deliveries d SET owner_id = p.owner_id FROM predictions p"
        " WHERE p.id = d.prediction_id"
    )
    # Of a prediction that is gone there is nothing to tell.
    op.execute("DELETE FROM webhook_deliveries WHERE owner_id IS NULL")
    op.alter_column("webhook_deliveries", "owner_id", nullable=False)
    for column in ("prediction_id", "owner_id"):
        op.create_index(f"ix_webhook_deliveries_{column}_id", "webhook_deliveries", [column, "id"])
    op.create_table(
        "webhook_attempts",
        sa.Column("delivery_id", sa.Text(collation="C"), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
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
    op.create_index(
        "uq_webhook_secrets_current",
        "webhook_secrets",
        ["user_id"],
        unique=True,
        postgresql_where=sa.text("retires_at IS NULL"),
    )


def downgrade() -> None:
    op.drop_table("webhook_secrets")
    op.drop_table("webhook_attempts")
    for column in ("prediction_id", "owner_id"):
        op.drop_index(f"ix_webhook_deliveries_{column}_id", "webhook_deliveries")
    op.execute("DELETE FROM webhook_deliveries WHERE event <> 'completed'")
    op.drop_constraint("pk_webhook_deliveries", "webhook_deliveries")
    op.drop_column("webhook_deliveries", "id")
    for name in ("owner_id", "attempted_at"):
        op.drop_column("webhook_deliveries", name)
    op.alter_column("webhook_deliveries", "attempts", type_=sa.SmallInteger())
    op.alter_column("webhook_deliveries", "event", type_=sa.Text(collation="C"), comment=None)
    op.create_primary_key("pk_webhook_deliveries", "webhook_deliveries", ["prediction_id", "event"])
