"""The clocks of start-time fair queueing: one per pool, one per owner and priority in it."""

from sqlalchemy import Double, SmallInteger
from sqlalchemy.orm import Mapped, mapped_column

from db.tables.base import Base, Key


class PoolClock(Base):
    """A pool's virtual time: the start tag of the latest prediction taken into service."""

    __tablename__ = "pool_clocks"
    __table_args__ = ({"postgresql_with": {"fillfactor": "50"}},)

    pool: Mapped[Key]
    virtual_time: Mapped[float] = mapped_column(Double, server_default="0")


class OwnerClock(Base):
    """Where an owner's next prediction of a priority starts: the finish tag of the last one, in one pool."""

    __tablename__ = "owner_clocks"
    __table_args__ = ({"postgresql_with": {"fillfactor": "50"}},)

    pool: Mapped[Key]
    owner_id: Mapped[Key]
    priority: Mapped[int] = mapped_column(SmallInteger, primary_key=True, server_default="0")
    virtual_time: Mapped[float] = mapped_column(Double, server_default="0")
    burst: Mapped[float] = mapped_column(Double, server_default="0", comment="what the last commit added")
