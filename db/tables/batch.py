"""Batches: files of requests, done when nobody else needs the lanes."""

from typing import Any

from sqlalchemy import ARRAY, BigInteger, CheckConstraint, Index, Integer, SmallInteger, Text, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from db.tables.base import Base, CreatedAt, Id, Key, Moment


class Batch(Base):
    """A batch, in the words of OpenAI's API. Its requests are `batch_lines` until it has ended."""

    __tablename__ = "batches"
    __table_args__ = (
        CheckConstraint(
            "status IN ('validating', 'in_progress', 'finalizing', 'completed', 'failed', 'expired',"
            " 'cancelling', 'cancelled')",
            name="status",
        ),
        Index("ix_batches_owner_id_id", "owner_id", "id"),
        Index("ix_batches_due_at", "due_at", postgresql_where=text("due_at IS NOT NULL")),
        Index("ix_batches_input_file_id", "input_file_id", postgresql_where=text("due_at IS NOT NULL")),
    )

    id: Mapped[Key]
    owner_id: Mapped[Id]
    endpoint: Mapped[str] = mapped_column(Text)
    input_file_id: Mapped[Id]
    details: Mapped[dict[str, str] | None] = mapped_column(JSONB, comment="the client's metadata")
    output_seconds: Mapped[int | None] = mapped_column(Integer, comment="how long its files are kept")
    status: Mapped[str] = mapped_column(Text, server_default="validating")
    errors: Mapped[list[dict[str, Any]] | None] = mapped_column(JSONB, comment="what is wrong with its lines")
    total: Mapped[int] = mapped_column(Integer, server_default="0")
    completed: Mapped[int] = mapped_column(Integer, server_default="0")
    failed: Mapped[int] = mapped_column(Integer, server_default="0")
    input_tokens: Mapped[int | None] = mapped_column(BigInteger)
    output_tokens: Mapped[int | None] = mapped_column(BigInteger)
    output_file_id: Mapped[str | None] = mapped_column(Text)
    error_file_id: Mapped[str | None] = mapped_column(Text)
    created_at: Mapped[CreatedAt]
    expires_at: Mapped[Moment]
    in_progress_at: Mapped[Moment | None]
    finalizing_at: Mapped[Moment | None]
    completed_at: Mapped[Moment | None]
    failed_at: Mapped[Moment | None]
    expired_at: Mapped[Moment | None]
    cancelling_at: Mapped[Moment | None]
    cancelled_at: Mapped[Moment | None]
    runner: Mapped[str | None] = mapped_column(Text, comment="who takes its next step now")
    due_at: Mapped[Moment | None] = mapped_column(comment="when anybody may take its next step; null: ended")


class BatchLine(Base):
    """One request: where its line is in the input file, in bytes, and the predictions that it becomes.

    They have their ids before they are there, so that whoever submits them again changes nothing. A line
    that was refused has the refusal as `status_code` and `answer`.
    """

    __tablename__ = "batch_lines"
    __table_args__ = (
        CheckConstraint("state IN ('waiting', 'running', 'completed', 'failed')", name="state"),
        Index("ix_batch_lines_batch_id_state_line", "batch_id", "state", "line"),
    )

    batch_id: Mapped[Key]
    line: Mapped[int] = mapped_column(Integer, primary_key=True, comment="from 1")
    custom_id: Mapped[str] = mapped_column(Text)
    start: Mapped[int] = mapped_column(BigInteger)
    size: Mapped[int] = mapped_column(Integer)
    prediction_ids: Mapped[list[str]] = mapped_column(ARRAY(Text))
    state: Mapped[str] = mapped_column(Text, server_default="waiting")
    status_code: Mapped[int | None] = mapped_column(SmallInteger)
    answer: Mapped[str | None] = mapped_column(Text)
