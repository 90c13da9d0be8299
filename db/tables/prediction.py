"""Predictions: the record that a client sees; partitioned by time, so that retention drops partitions."""

from typing import Any

from sqlalchemy import ARRAY, JSON, CheckConstraint, Index, SmallInteger, Text, text
from sqlalchemy.orm import Mapped, mapped_column

from db.tables.base import Base, Id, Json, Key, Moment


class Prediction(Base):
    """One request for one output. Written when accepted and once more when terminal.

    Who works on it meanwhile stands in `queue`, a narrow table, so that claims touch no inputs.
    """

    __tablename__ = "predictions"
    __table_args__ = (
        CheckConstraint("status IN ('starting', 'succeeded', 'failed', 'canceled')", name="status"),
        CheckConstraint("(status = 'starting') = (completed_at IS NULL)", name="completed"),
        Index("ix_predictions_owner_id_id", "owner_id", "id"),
        # Few among many; what programs ask for is not in it.
        Index("ix_predictions_web", "owner_id", "id", postgresql_where=text("source = 'web'")),
        {"postgresql_partition_by": "RANGE (id)"},
    )

    id: Mapped[Key]
    owner_id: Mapped[Id]
    version_id: Mapped[Id]
    model_id: Mapped[Id]
    status: Mapped[str] = mapped_column(Text, server_default="starting")
    input: Mapped[Json]
    output: Mapped[Any | None] = mapped_column(JSON(none_as_null=True))
    error: Mapped[str | None] = mapped_column(Text)
    failure: Mapped[str | None] = mapped_column(Text, comment="why it failed, for machines")
    logs: Mapped[str | None] = mapped_column(Text, comment="what the model printed meanwhile")
    metrics: Mapped[dict[str, float | str] | None] = mapped_column(
        JSON(none_as_null=True), comment="what the model measured: counts of tokens, …"
    )
    source: Mapped[str] = mapped_column(Text, server_default="api", comment="api or web")
    deployment: Mapped[str | None] = mapped_column(Text, comment="owner/name, where it came through one")
    streams: Mapped[bool] = mapped_column(
        server_default=text("false"), comment="a text is stored as the list of its chunks"
    )
    webhook: Mapped[str | None] = mapped_column(Text)
    webhook_events: Mapped[list[str] | None] = mapped_column(ARRAY(Text), comment="null: all")
    request_id: Mapped[str | None] = mapped_column(Text)
    attempts: Mapped[int] = mapped_column(SmallInteger, server_default="0")
    created_at: Mapped[Moment]
    started_at: Mapped[Moment | None]
    completed_at: Mapped[Moment | None]
    deadline_at: Mapped[Moment | None] = mapped_column(comment="the client's own, by Cancel-After")
    data_removed: Mapped[bool] = mapped_column(server_default=text("false"))
