"""The log of webhooks: every time that one was sent."""

from sqlalchemy import ForeignKey, Integer, SmallInteger, Text
from sqlalchemy.orm import Mapped, mapped_column

from db.tables.base import Base, CreatedAt, Key


class WebhookAttempt(Base):
    """One request and what became of it: the receiver's status, or why there is none."""

    __tablename__ = "webhook_attempts"

    delivery_id: Mapped[Key] = mapped_column(ForeignKey("webhook_deliveries.id", ondelete="CASCADE"))
    attempt: Mapped[int] = mapped_column(Integer, primary_key=True)
    status: Mapped[int | None] = mapped_column(SmallInteger)
    error: Mapped[str | None] = mapped_column(Text)
    milliseconds: Mapped[int] = mapped_column(Integer)
    created_at: Mapped[CreatedAt]
