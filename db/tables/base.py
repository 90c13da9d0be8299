"""The declarative base, and column types that several tables share."""

from datetime import datetime
from typing import Annotated, Any

from sqlalchemy import JSON, DateTime, MetaData, Text, func
from sqlalchemy.orm import DeclarativeBase, mapped_column

NAMING = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s",
    "pk": "pk_%(table_name)s",
}


class Base(DeclarativeBase):
    """What all tables derive from."""

    metadata = MetaData(naming_convention=NAMING)


# The C collation makes text order the bytes' order, on any server; keyset pages and partitions rely on it.
Id = Annotated[str, mapped_column(Text(collation="C"))]
Key = Annotated[str, mapped_column(Text(collation="C"), primary_key=True)]
Moment = Annotated[datetime, mapped_column(DateTime(timezone=True))]
CreatedAt = Annotated[datetime, mapped_column(DateTime(timezone=True), server_default=func.now())]
# json, not jsonb: what a client sent comes back letter for letter, and writing it costs no parse tree.
Json = Annotated[dict[str, Any], mapped_column(JSON)]
