"""Versions that could not be loaded when a lane last tried."""

from sqlalchemy import ForeignKey, Text, func
from sqlalchemy.orm import Mapped, mapped_column

from db.tables.base import Base, Key, Moment


class UnavailableVersion(Base):
    """Why a version cannot be loaded. The row goes when a lane has loaded it."""

    __tablename__ = "unavailable_versions"

    version_id: Mapped[Key] = mapped_column(ForeignKey("model_versions.id", ondelete="CASCADE"))
    reason: Mapped[str] = mapped_column(Text, comment="a sentence for people")
    since: Mapped[Moment] = mapped_column(server_default=func.now())
