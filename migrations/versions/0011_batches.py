"""Batches, their lines, and what a file was uploaded for."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision: str = "0011"
down_revision: str | None = "0010"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

STATUSES = (
    "status IN ('validating', 'in_progress', 'finalizing', 'completed', 'failed', 'expired',"
    " 'cancelling', 'cancelled')"
)


def upgrade() -> None:
    op.add_column("files", sa.Column("purpose", sa.Text(), comment="of OpenAI's words, where one was given"))
    op.create_table(
        "batches",
        sa.Column("id", sa.Text(collation="C"), nullable=False),
        sa.Column("owner_id", sa.Text(collation="C"), nullable=False),
        sa.Column("endpoint", sa.Text(), nullable=False),
        sa.Column("input_file_id", sa.Text(collation="C"), nullable=False),
        sa.Column("details", postgresql.JSONB(), comment="the client's metadata"),
        sa.Column("output_seconds", sa.Integer(), comment="how long its files are kept"),
        sa.Column("status", sa.Text(), server_default="validating", nullable=False),
        sa.Column("errors", postgresql.JSONB(), comment="what is wrong with its lines"),
        *[
            sa.Column(name, sa.Integer(), server_default="0", nullable=False)
            for name in ("total", "completed", "failed")
        ],
        *[sa.Column(name, sa.BigInteger()) for name in ("input_tokens", "output_tokens")],
        *[sa.Column(name, sa.Text()) for name in ("output_file_id", "error_file_id")],
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        *[
            sa.Column(f"{event}_at", sa.DateTime(timezone=True))
            for event in (
                "in_progress",
                "finalizing",
                "completed",
                "failed",
                "expired",
                "cancelling",
                "cancelled",
            )
        ],
        sa.Column("runner", sa.Text(), comment="who takes its next step now"),
        sa.Column(
            "due_at",
            sa.DateTime(timezone=True),
            comment="when anybody may take its next step; null: ended",
        ),
        sa.CheckConstraint(STATUSES, name=op.f("ck_batches_status")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_batches")),
    )
    unended = sa.text("due_at IS NOT NULL")
    op.create_index("ix_batches_owner_id_id", "batches", ["owner_id", "id"])
    op.create_index("ix_batches_due_at", "batches", ["due_at"], postgresql_where=unended)
    op.create_index("ix_batches_input_file_id", "batches", ["input_file_id"], postgresql_where=unended)
    op.create_table(
        "batch_lines",
        sa.Column("batch_id", sa.Text(collation="C"), nullable=False),
        sa.Column("line", sa.Integer(), nullable=False, autoincrement=False, comment="from 1"),
        sa.Column("custom_id", sa.Text(), nullable=False),
        sa.Column("start", sa.BigInteger(), nullable=False),
        sa.Column("size", sa.Integer(), nullable=False),
        sa.Column("prediction_ids", sa.ARRAY(sa.Text()), nullable=False),
        sa.Column("state", sa.Text(), server_default="waiting", nullable=False),
        sa.Column("status_code", sa.SmallInteger()),
        sa.Column("answer", sa.Text()),
        sa.CheckConstraint(
            "state IN ('waiting', 'running', 'completed', 'failed')", name=op.f("ck_batch_lines_state")
        ),
        sa.PrimaryKeyConstraint("batch_id", "line", name=op.f("pk_batch_lines")),
    )
    op.create_index("ix_batch_lines_batch_id_state_line", "batch_lines", ["batch_id", "state", "line"])


def downgrade() -> None:
    op.drop_table("batch_lines")
    op.drop_table("batches")
    op.drop_column("files", "purpose")
