"""The foundation: accounts, models, predictions, the queue and its lanes."""

from collections.abc import Sequence
from datetime import UTC, datetime

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

from db.partitions import ensure_partitions

revision: str = "0001"
down_revision: str | None = None
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    op.create_table(
        "idempotency_keys",
        sa.Column("owner_id", sa.Text(collation="C"), nullable=False),
        sa.Column("key", sa.Text(collation="C"), nullable=False),
        sa.Column("prediction_id", sa.Text(collation="C"), nullable=False),
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("owner_id", "key", name=op.f("pk_idempotency_keys")),
    )
    op.create_table(
        "lanes",
        sa.Column("id", sa.Text(collation="C"), nullable=False),
        sa.Column("worker", sa.Text(), nullable=False, comment="the Celery worker's boot, name and start"),
        sa.Column("slot", sa.Integer(), nullable=False, comment="the child's place in its worker"),
        sa.Column("host", sa.Text(), nullable=False),
        sa.Column("pid", sa.Integer(), nullable=False),
        sa.Column("pools", postgresql.ARRAY(sa.Text()), nullable=False),
        sa.Column(
            "finished", sa.BigInteger(), server_default="0", nullable=False, comment="predictions so far"
        ),
        sa.Column(
            "resident",
            postgresql.ARRAY(sa.Text()),
            server_default="{}",
            nullable=False,
            comment="versions in memory",
        ),
        sa.Column("started_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("last_seen", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_lanes")),
        postgresql_with={"fillfactor": "50"},
    )
    op.create_table(
        "models",
        sa.Column("id", sa.Text(collation="C"), nullable=False),
        sa.Column("owner", sa.Text(), nullable=False),
        sa.Column("owner_key", sa.Text(), nullable=False, comment="the owner in lower case"),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("name_key", sa.Text(), nullable=False, comment="the name in lower case"),
        sa.Column("description", sa.Text(), server_default="", nullable=False),
        sa.Column("visibility", sa.Text(), server_default="public", nullable=False),
        sa.Column(
            "links",
            postgresql.JSONB(astext_type=sa.Text()),
            server_default="{}",
            nullable=False,
            comment="github_url, paper_url, …",
        ),
        sa.Column("created_by", sa.Text(), nullable=True),
        sa.Column("latest_version_id", sa.Text(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("visibility IN ('public', 'private')", name=op.f("ck_models_visibility")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_models")),
    )
    op.create_index("uq_models_owner_name", "models", ["owner_key", "name_key"], unique=True)
    op.create_table(
        "owner_clocks",
        sa.Column("pool", sa.Text(collation="C"), nullable=False),
        sa.Column("owner_id", sa.Text(collation="C"), nullable=False),
        sa.Column("virtual_time", sa.Double(), server_default="0", nullable=False),
        sa.Column(
            "burst", sa.Double(), server_default="0", nullable=False, comment="what the last commit added"
        ),
        sa.PrimaryKeyConstraint("pool", "owner_id", name=op.f("pk_owner_clocks")),
        postgresql_with={"fillfactor": "50"},
    )
    op.create_table(
        "pool_clocks",
        sa.Column("pool", sa.Text(collation="C"), nullable=False),
        sa.Column("virtual_time", sa.Double(), server_default="0", nullable=False),
        sa.PrimaryKeyConstraint("pool", name=op.f("pk_pool_clocks")),
        postgresql_with={"fillfactor": "50"},
    )
    op.create_table(
        "predictions",
        sa.Column("id", sa.Text(collation="C"), nullable=False),
        sa.Column("owner_id", sa.Text(collation="C"), nullable=False),
        sa.Column("version_id", sa.Text(collation="C"), nullable=False),
        sa.Column("model_id", sa.Text(collation="C"), nullable=False),
        sa.Column("status", sa.Text(), server_default="starting", nullable=False),
        sa.Column("input", sa.JSON(), nullable=False),
        sa.Column("output", sa.JSON(none_as_null=True), nullable=True),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("failure", sa.Text(), nullable=True, comment="why it failed, for machines"),
        sa.Column("webhook", sa.Text(), nullable=True),
        sa.Column("request_id", sa.Text(), nullable=True),
        sa.Column("attempts", sa.SmallInteger(), server_default="0", nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("completed_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint(
            "(status = 'starting') = (completed_at IS NULL)", name=op.f("ck_predictions_completed")
        ),
        sa.CheckConstraint(
            "status IN ('starting', 'succeeded', 'failed', 'canceled')", name=op.f("ck_predictions_status")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_predictions")),
        postgresql_partition_by="RANGE (id)",
    )
    op.create_index("ix_predictions_owner_id_id", "predictions", ["owner_id", "id"], unique=False)
    op.create_table(
        "queue",
        sa.Column("id", sa.Text(collation="C"), nullable=False),
        sa.Column("pool", sa.Text(collation="C"), nullable=False),
        sa.Column("version_id", sa.Text(collation="C"), nullable=False),
        sa.Column("owner_id", sa.Text(collation="C"), nullable=False),
        sa.Column(
            "rank", sa.Double(), nullable=False, comment="virtual start time plus the priority's offset"
        ),
        sa.Column(
            "priority", sa.SmallInteger(), server_default="0", nullable=False, comment="0 is the most urgent"
        ),
        sa.Column("cost", sa.Integer(), server_default="1", nullable=False),
        sa.Column("enqueued_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("deadline_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("waiter", sa.Text(), nullable=True, comment="the channel on which a gateway waits for it"),
        sa.Column("lane", sa.Text(), nullable=True),
        sa.Column(
            "attempt",
            sa.SmallInteger(),
            server_default="0",
            nullable=False,
            comment="how often it was claimed",
        ),
        sa.Column(
            "losses",
            sa.SmallInteger(),
            server_default="0",
            nullable=False,
            comment="how many lanes died with it",
        ),
        sa.Column("claimed_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_queue")),
        postgresql_with={"fillfactor": "60"},
    )
    op.create_index(
        "ix_queue_deadline",
        "queue",
        ["deadline_at"],
        unique=False,
        postgresql_where=sa.text("deadline_at IS NOT NULL"),
    )
    op.create_index("ix_queue_order", "queue", ["pool", "version_id", "rank", "id"], unique=False)
    op.create_table(
        "users",
        sa.Column("id", sa.Text(collation="C"), nullable=False),
        sa.Column("username", sa.Text(), nullable=False),
        sa.Column("username_key", sa.Text(), nullable=False, comment="the user name in lower case"),
        sa.Column("email", sa.Text(), nullable=False),
        sa.Column("email_key", sa.Text(), nullable=False, comment="the address in lower case"),
        sa.Column("password_hash", sa.Text(), nullable=False),
        sa.Column("role", sa.Text(), server_default="user", nullable=False),
        sa.Column("invite_id", sa.Text(), nullable=True, comment="an invitation serves once"),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("disabled_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("role IN ('user', 'admin')", name=op.f("ck_users_role")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_users")),
        sa.UniqueConstraint("invite_id", name=op.f("uq_users_invite_id")),
    )
    op.create_index("uq_users_email", "users", ["email_key"], unique=True)
    op.create_index("uq_users_username", "users", ["username_key"], unique=True)
    op.create_table(
        "webhook_deliveries",
        sa.Column("prediction_id", sa.Text(collation="C"), nullable=False),
        sa.Column("event", sa.Text(collation="C"), nullable=False),
        sa.Column("url", sa.Text(), nullable=False),
        sa.Column("attempts", sa.SmallInteger(), server_default="0", nullable=False),
        sa.Column(
            "next_attempt_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=True
        ),
        sa.Column("delivered_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("last_status", sa.SmallInteger(), nullable=True),
        sa.Column("last_error", sa.Text(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("prediction_id", "event", name=op.f("pk_webhook_deliveries")),
    )
    op.create_index(
        "ix_webhook_deliveries_due",
        "webhook_deliveries",
        ["next_attempt_at"],
        unique=False,
        postgresql_where=sa.text("next_attempt_at IS NOT NULL"),
    )
    op.create_table(
        "api_tokens",
        sa.Column("id", sa.Text(collation="C"), nullable=False),
        sa.Column("user_id", sa.Text(collation="C"), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("hint", sa.Text(), nullable=False, comment="its first characters, for the eye"),
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("revoked_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(
            ["user_id"], ["users.id"], name=op.f("fk_api_tokens_user_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_api_tokens")),
        sa.UniqueConstraint("digest", name=op.f("uq_api_tokens_digest")),
    )
    op.create_index(op.f("ix_api_tokens_user_id"), "api_tokens", ["user_id"], unique=False)
    op.create_table(
        "model_versions",
        sa.Column("id", sa.Text(collation="C"), nullable=False),
        sa.Column("model_id", sa.Text(collation="C"), nullable=False),
        sa.Column("label", sa.Text(), nullable=False, comment="the author's own name for it, such as 1.0.0"),
        sa.Column("model_type", sa.Text(), nullable=False),
        sa.Column("engine", sa.Text(), nullable=False),
        sa.Column("path", sa.Text(), nullable=False),
        sa.Column("revision", sa.Text(), nullable=True),
        sa.Column("hardware", sa.Text(), server_default="cpu", nullable=False),
        sa.Column("input_schema", sa.JSON(), nullable=False),
        sa.Column("options", sa.JSON(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(
            ["model_id"], ["models.id"], name=op.f("fk_model_versions_model_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_model_versions")),
    )
    op.create_index(op.f("ix_model_versions_model_id"), "model_versions", ["model_id"], unique=False)
    _guard_terminal_states()
    op.execute("CREATE TABLE predictions_default PARTITION OF predictions DEFAULT")
    ensure_partitions(op.get_bind(), now=datetime.now(UTC))
    # Rows come and go by the thousand here: vacuum early, so that claims never wade through dead ones.
    op.execute(
        "ALTER TABLE queue SET (autovacuum_vacuum_scale_factor=0.02, autovacuum_vacuum_threshold=500,"
        " autovacuum_analyze_scale_factor=0.1, autovacuum_vacuum_cost_delay=0)"
    )


def _guard_terminal_states() -> None:
    """Let the database itself refuse to change a terminal state. The WHEN clause costs no function call."""
    op.execute(
        """
        CREATE FUNCTION refuse_terminal_change() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            RAISE EXCEPTION 'prediction % is already %', OLD.id, OLD.status USING ERRCODE = 'check_violation';
        END $$
        """
    )
    op.execute(
        """
        CREATE TRIGGER terminal_states_never_change BEFORE UPDATE ON predictions FOR EACH ROW
        WHEN (OLD.completed_at IS NOT NULL AND (NEW.status, NEW.completed_at)
              IS DISTINCT FROM (OLD.status, OLD.completed_at))
        EXECUTE FUNCTION refuse_terminal_change()
        """
    )


def downgrade() -> None:
    op.drop_index(op.f("ix_model_versions_model_id"), table_name="model_versions")
    op.drop_table("model_versions")
    op.drop_index(op.f("ix_api_tokens_user_id"), table_name="api_tokens")
    op.drop_table("api_tokens")
    op.drop_index(
        "ix_webhook_deliveries_due",
        table_name="webhook_deliveries",
        postgresql_where=sa.text("next_attempt_at IS NOT NULL"),
    )
    op.drop_table("webhook_deliveries")
    op.drop_index("uq_users_username", table_name="users")
    op.drop_index("uq_users_email", table_name="users")
    op.drop_table("users")
    op.drop_index("ix_queue_order", table_name="queue")
    op.drop_index(
        "ix_queue_deadline", table_name="queue", postgresql_where=sa.text("deadline_at IS NOT NULL")
    )
    op.drop_table("queue")
    op.drop_index("ix_predictions_owner_id_id", table_name="predictions")
    op.drop_table("predictions")
    op.drop_table("pool_clocks")
    op.drop_table("owner_clocks")
    op.drop_index("uq_models_owner_name", table_name="models")
    op.drop_table("models")
    op.drop_table("lanes")
    op.drop_table("idempotency_keys")
    op.execute("DROP FUNCTION refuse_terminal_change()")
