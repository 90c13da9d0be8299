"""Orders to lanes: what an administrator wants in memory, or out of it."""

from sqlalchemy import CheckConstraint, ForeignKey, Text
from sqlalchemy.orm import Mapped, mapped_column

from db.tables.base import Base, Key


class LaneOrder(Base):
    """One lane is to load or unload one version. The lane takes the row; it goes with the lane as well."""

    __tablename__ = "lane_orders"
    __table_args__ = (CheckConstraint("action IN ('load', 'unload')", name="action"),)

    lane_id: Mapped[Key] = mapped_column(ForeignKey("lanes.id", ondelete="CASCADE"))
    version_id: Mapped[Key]
    action: Mapped[str] = mapped_column(Text)
