"""What a user's webhooks are signed with."""

from sqlalchemy import ForeignKey
from sqlalchemy.orm import Mapped, mapped_column

from db.tables.base import Base, CreatedAt, Key, Moment


class WebhookSecret(Base):
    """A key as `whsec_…`. After a rotation the old one signs beside the new one until `retires_at`."""

    __tablename__ = "webhook_secrets"

    user_id: Mapped[Key] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"))
    secret: Mapped[Key]
    created_at: Mapped[CreatedAt]
    retires_at: Mapped[Moment | None]
