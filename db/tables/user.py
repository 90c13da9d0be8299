"""People and machines that may call."""

from sqlalchemy import CheckConstraint, Double, Index, Text
from sqlalchemy.orm import Mapped, mapped_column

from db.tables.base import Base, CreatedAt, Key, Moment


class User(Base):
    """An account. User names and addresses are unique whatever their case."""

    __tablename__ = "users"
    __table_args__ = (
        CheckConstraint("role IN ('user', 'admin')", name="role"),
        CheckConstraint("monthly_run_seconds >= 0", name="monthly_run_seconds"),
        Index("uq_users_username", "username_key", unique=True),
        Index("uq_users_email", "email_key", unique=True),
    )

    id: Mapped[Key]
    username: Mapped[str] = mapped_column(Text)
    username_key: Mapped[str] = mapped_column(Text, comment="the user name in lower case")
    email: Mapped[str] = mapped_column(Text)
    email_key: Mapped[str] = mapped_column(Text, comment="the address in lower case")
    password_hash: Mapped[str] = mapped_column(Text)
    role: Mapped[str] = mapped_column(Text, server_default="user")
    invite_id: Mapped[str | None] = mapped_column(Text, unique=True, comment="an invitation serves once")
    created_at: Mapped[CreatedAt]
    disabled_at: Mapped[Moment | None]
    monthly_run_seconds: Mapped[float | None] = mapped_column(
        Double, comment="how long a month's predictions may run in all; null: as long as they do"
    )
