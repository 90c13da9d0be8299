"""The webhooks' outbox: a row is written in the transaction that finishes the prediction."""

from sqlalchemy import Index, SmallInteger, Text, func, text
from sqlalchemy.orm import Mapped, mapped_column

from db.tables.base import Base, CreatedAt, Id, Key, Moment


class WebhookDelivery(Base):
    """One event to be told to one receiver; `next_attempt_at` is null once it is told or given up."""

    __tablename__ = "webhook_deliveries"
    __table_args__ = (
        Index(
            "ix_webhook_deliveries_due",
            "next_attempt_at",
            postgresql_where=text("next_attempt_at IS NOT NULL"),
        ),
        Index("ix_webhook_deliveries_prediction_id_id", "prediction_id", "id"),
    )

    id: Mapped[Key] = mapped_column(
        server_default=text("'msg_' || replace(gen_random_uuid()::text, '-', '')")
    )
    prediction_id: Mapped[Id]
    event: Mapped[str] = mapped_column(Text)
    url: Mapped[str] = mapped_column(Text)
    attempts: Mapped[int] = mapped_column(SmallInteger, server_default="0")
    next_attempt_at: Mapped[Moment | None] = mapped_column(server_default=func.now())
    delivered_at: Mapped[Moment | None]
    last_status: Mapped[int | None] = mapped_column(SmallInteger)
    last_error: Mapped[str | None] = mapped_column(Text)
    created_at: Mapped[CreatedAt]
