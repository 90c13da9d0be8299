"""Deployments: a version of a model with a queue and lanes of its own."""

from sqlalchemy import CheckConstraint, ForeignKey, Index, SmallInteger, Text, func
from sqlalchemy.orm import Mapped, mapped_column

from db.tables.base import Base, CreatedAt, Id, Key, Moment


class Deployment(Base):
    """Which version runs, in which pool, in how many lanes. Each change makes a new release."""

    __tablename__ = "deployments"
    __table_args__ = (
        Index("uq_deployments_owner_name", "owner_key", "name_key", unique=True),
        CheckConstraint("0 <= min_instances AND min_instances <= max_instances", name="instances"),
    )

    id: Mapped[Key]
    owner: Mapped[str] = mapped_column(Text)
    owner_key: Mapped[str] = mapped_column(Text, comment="the owner in lower case")
    name: Mapped[str] = mapped_column(Text)
    name_key: Mapped[str] = mapped_column(Text, comment="the name in lower case")
    version_id: Mapped[Id] = mapped_column(ForeignKey("model_versions.id", ondelete="RESTRICT"), index=True)
    pool: Mapped[Id] = mapped_column(unique=True, comment="its own queue")
    hardware: Mapped[str] = mapped_column(Text)
    min_instances: Mapped[int] = mapped_column(SmallInteger, comment="lanes that keep it loaded")
    max_instances: Mapped[int] = mapped_column(SmallInteger, comment="lanes that run it at a time")
    release: Mapped[int] = mapped_column(server_default="1")
    created_by: Mapped[str | None] = mapped_column(Text)
    created_at: Mapped[CreatedAt]
    updated_at: Mapped[Moment] = mapped_column(server_default=func.now())
