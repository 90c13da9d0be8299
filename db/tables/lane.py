"""Lanes: the worker processes that are alive."""

from sqlalchemy import BigInteger, Integer, Text, func
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.orm import Mapped, mapped_column

from db.tables.base import Base, CreatedAt, Key, Moment


class Lane(Base):
    """One worker child. Its heartbeat is one HOT update; a lane without a row can claim nothing."""

    __tablename__ = "lanes"
    __table_args__ = ({"postgresql_with": {"fillfactor": "50"}},)

    id: Mapped[Key]
    worker: Mapped[str] = mapped_column(Text, comment="the Celery worker's boot, name and start")
    slot: Mapped[int] = mapped_column(Integer, comment="the child's place in its worker")
    host: Mapped[str] = mapped_column(Text)
    pid: Mapped[int] = mapped_column(Integer)
    pools: Mapped[list[str]] = mapped_column(ARRAY(Text))
    device: Mapped[str] = mapped_column(
        Text,
        server_default="cpu",
        comment="cpu, cuda or mps; empty where the one that it should have is missing",
    )
    finished: Mapped[int] = mapped_column(BigInteger, server_default="0", comment="predictions so far")
    resident: Mapped[list[str]] = mapped_column(
        ARRAY(Text), server_default="{}", comment="versions in memory"
    )
    seats: Mapped[list[str]] = mapped_column(
        ARRAY(Text), server_default="{}", comment="pools of deployments of which it may hold predictions"
    )
    kept: Mapped[list[str]] = mapped_column(
        ARRAY(Text), server_default="{}", comment="versions that it keeps in memory for deployments"
    )
    started_at: Mapped[CreatedAt]
    last_seen: Mapped[Moment] = mapped_column(server_default=func.now())
