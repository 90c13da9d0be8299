"""Files that clients have uploaded; their bytes lie in the store of files."""

from typing import Any

from sqlalchemy import BigInteger, Index, Text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from db.tables.base import Base, CreatedAt, Id, Key, Moment


class File(Base):
    """One upload, until it expires. `size` is in bytes, the checksums are in hex."""

    __tablename__ = "files"
    __table_args__ = (
        Index("ix_files_owner_id_id", "owner_id", "id"),
        Index("ix_files_expires_at", "expires_at"),
    )

    id: Mapped[Key]
    owner_id: Mapped[Id]
    name: Mapped[str] = mapped_column(Text)
    content_type: Mapped[str] = mapped_column(Text)
    size: Mapped[int] = mapped_column(BigInteger)
    sha256: Mapped[str] = mapped_column(Text)
    md5: Mapped[str] = mapped_column(Text)
    details: Mapped[dict[str, Any]] = mapped_column(
        JSONB, server_default="{}", comment="the client's metadata"
    )
    purpose: Mapped[str | None] = mapped_column(Text, comment="of OpenAI's words, where one was given")
    created_at: Mapped[CreatedAt]
    expires_at: Mapped[Moment]
