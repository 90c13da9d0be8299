"""Versions: immutable snapshots of a model."""

from typing import Any

from sqlalchemy import JSON, ForeignKey, Text
from sqlalchemy.orm import Mapped, mapped_column

from db.tables.base import Base, CreatedAt, Id, Json, Key


class ModelVersion(Base):
    """Where the weights lie and how they run. `id` is the SHA-256 of that, in hex."""

    __tablename__ = "model_versions"

    id: Mapped[Key]
    model_id: Mapped[Id] = mapped_column(ForeignKey("models.id", ondelete="CASCADE"), index=True)
    label: Mapped[str] = mapped_column(Text, comment="the author's own name for it, such as 1.0.0")
    model_type: Mapped[str] = mapped_column(Text)
    engine: Mapped[str] = mapped_column(Text)
    path: Mapped[str] = mapped_column(Text)
    revision: Mapped[str | None] = mapped_column(Text)
    hardware: Mapped[str] = mapped_column(Text, server_default="cpu")
    input_schema: Mapped[Json]
    output_schema: Mapped[dict[str, Any] | None] = mapped_column(
        JSON(none_as_null=True), comment="the version's own, where its model type leaves that open"
    )
    options: Mapped[Json]
    dimensions: Mapped[int | None] = mapped_column(
        comment="how many numbers its vectors have, as a lane has found when it loaded it"
    )
    created_at: Mapped[CreatedAt]
