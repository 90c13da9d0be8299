"""The queue: one narrow row for each prediction that is not terminal yet."""

from sqlalchemy import REAL, Double, Index, Integer, SmallInteger, Text, func, text
from sqlalchemy.orm import Mapped, mapped_column

from db.tables.base import Base, Id, Key, Moment

# Units of virtual time that one step of priority adds to a rank: so much work of a more urgent class goes
# first, and no more, which is the lower class's ageing.
PRIORITY_STEP = 10_000.0


class QueueEntry(Base):
    """A prediction's place in the queue and, while a lane works on it, its lease.

    The row goes when the prediction becomes terminal: who deletes it, finishes it, and nobody else can.
    No index mentions a column that a claim writes, so claims are HOT updates.
    """

    __tablename__ = "queue"
    __table_args__ = (
        Index("ix_queue_order", "pool", "version_id", "rank", "id"),
        Index("ix_queue_patient", "pool", "priority", "rank", postgresql_where=text("priority > 0")),
        Index("ix_queue_deadline", "deadline_at", postgresql_where=text("deadline_at IS NOT NULL")),
        {"postgresql_with": {"fillfactor": "60"}},
    )

    id: Mapped[Key]
    pool: Mapped[Id]
    version_id: Mapped[Id]
    owner_id: Mapped[Id]
    rank: Mapped[float] = mapped_column(Double, comment="virtual start time plus the priority's offset")
    priority: Mapped[int] = mapped_column(SmallInteger, server_default="0", comment="0 is the most urgent")
    cost: Mapped[int] = mapped_column(Integer, server_default="1")
    enqueued_at: Mapped[Moment] = mapped_column(server_default=func.now())
    deadline_at: Mapped[Moment | None]
    waiter: Mapped[str | None] = mapped_column(
        Text, comment="the channels on which gateways wait for it, by commas"
    )
    listened: Mapped[bool] = mapped_column(
        server_default=text("false"),
        comment="somebody reads its stream, so the lane tells each token at once",
    )
    lane: Mapped[str | None] = mapped_column(Text)
    attempt: Mapped[int] = mapped_column(SmallInteger, server_default="0", comment="how often it was claimed")
    losses: Mapped[int] = mapped_column(
        SmallInteger, server_default="0", comment="how many lanes died with it"
    )
    claimed_at: Mapped[Moment | None]
    progress: Mapped[float | None] = mapped_column(
        REAL, comment="how far the lane has come with it, 0 to 1, where that takes seconds"
    )
