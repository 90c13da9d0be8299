"""What a user's webhooks are signed with."""

from sqlalchemy import ForeignKey, Index, text
from sqlalchemy.orm import Mapped, mapped_column

from db.tables.base import Base, CreatedAt, Key, Moment


class WebhookSecret(Base):
    """A key as `whsec_…`. After a rotation the old one signs beside the new one until `retires_at`."""

    __tablename__ = "webhook_secrets"
    __table_args__ = (
        Index(
            "uq_webhook_secrets_current", "user_id", unique=True, postgresql_where=text("retires_at IS NULL")
        ),
    )

    user_id: Mapped[Key] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"))
    secret: Mapped[Key]
    created_at: Mapped[CreatedAt]
    retires_at: Mapped[Moment | None]
