"""What running predictions have come to so far; a crash of the database may lose it."""

from typing import Any

from sqlalchemy import JSON, SmallInteger, Text, func
from sqlalchemy.orm import Mapped, mapped_column

from db.tables.base import Base, Key, Moment


class Partial(Base):
    """The output and the logs that a lane has told of, twice a second at most; void once the attempt is."""

    __tablename__ = "partials"
    __table_args__ = ({"prefixes": ["UNLOGGED"]},)

    id: Mapped[Key]
    attempt: Mapped[int] = mapped_column(SmallInteger)
    output: Mapped[Any | None] = mapped_column(JSON(none_as_null=True))
    logs: Mapped[str | None] = mapped_column(Text)
    updated_at: Mapped[Moment] = mapped_column(server_default=func.now())
