"""The webhooks' outbox: what a prediction's receiver is to be told, and what became of it."""

from sqlalchemy import Index, Integer, SmallInteger, Text, func, text
from sqlalchemy.orm import Mapped, mapped_column

from db.tables.base import Base, CreatedAt, Id, Key, Moment

# Microseconds and then chance, both in hex: ids sort as the rows were written, on any PostgreSQL.
NEW_ID = (
    "'msg_' || lpad(to_hex((extract(epoch FROM clock_timestamp()) * 1000000)::bigint), 14, '0')"
    " || right(replace(gen_random_uuid()::text, '-', ''), 18)"
)


class WebhookDelivery(Base):
    """One event to be told to one receiver; `next_attempt_at` is null once it is told or given up.

    Its id is what the receiver knows it by, the same in every attempt. `completed` is written in the
    transaction that ends the prediction.
    """

    __tablename__ = "webhook_deliveries"
    __table_args__ = (
        Index(
            "ix_webhook_deliveries_due",
            "next_attempt_at",
            postgresql_where=text("next_attempt_at IS NOT NULL"),
        ),
        Index("ix_webhook_deliveries_prediction_id_id", "prediction_id", "id"),
        Index("ix_webhook_deliveries_owner_id_id", "owner_id", "id"),
    )

    id: Mapped[Key] = mapped_column(server_default=text(NEW_ID))
    prediction_id: Mapped[Id]
    owner_id: Mapped[Id]
    event: Mapped[str] = mapped_column(Text, comment="start, output, logs or completed")
    url: Mapped[str] = mapped_column(Text)
    attempts: Mapped[int] = mapped_column(Integer, server_default="0")
    next_attempt_at: Mapped[Moment | None] = mapped_column(server_default=func.now())
    attempted_at: Mapped[Moment | None] = mapped_column(comment="when the last attempt began")
    delivered_at: Mapped[Moment | None]
    last_status: Mapped[int | None] = mapped_column(SmallInteger)
    last_error: Mapped[str | None] = mapped_column(Text)
    created_at: Mapped[CreatedAt]
