"""Idempotency keys, apart from predictions so that they can expire on their own."""

from sqlalchemy import LargeBinary
from sqlalchemy.orm import Mapped, mapped_column

from db.tables.base import Base, CreatedAt, Id, Key


class IdempotencyKey(Base):
    """Which prediction a caller's key stands for; `digest` is the request's, to tell a reuse from a retry."""

    __tablename__ = "idempotency_keys"

    owner_id: Mapped[Key]
    key: Mapped[Key]
    prediction_id: Mapped[Id]
    digest: Mapped[bytes] = mapped_column(LargeBinary)
    created_at: Mapped[CreatedAt]
