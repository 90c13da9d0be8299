"""How far predictions have been counted as runs of their models."""

from sqlalchemy import CheckConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from db.tables.base import Base, Id


class RunCounter(Base):
    """One row: all predictions with ids below `counted_to` are in their models' `run_count`."""

    __tablename__ = "run_counter"
    __table_args__ = (CheckConstraint("singleton", name="singleton"),)

    singleton: Mapped[bool] = mapped_column(primary_key=True, server_default=text("true"))
    counted_to: Mapped[Id] = mapped_column(server_default="")
