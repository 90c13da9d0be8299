"""Models: what a client asks for, `owner/name`."""

from sqlalchemy import BigInteger, CheckConstraint, Index, Text, func
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from db.tables.base import Base, CreatedAt, Key, Moment


class Model(Base):
    """A model; what it runs is its latest version."""

    __tablename__ = "models"
    __table_args__ = (
        Index("uq_models_owner_name", "owner_key", "name_key", unique=True),
        CheckConstraint("visibility IN ('public', 'private')", name="visibility"),
    )

    id: Mapped[Key]
    owner: Mapped[str] = mapped_column(Text)
    owner_key: Mapped[str] = mapped_column(Text, comment="the owner in lower case")
    name: Mapped[str] = mapped_column(Text)
    name_key: Mapped[str] = mapped_column(Text, comment="the name in lower case")
    description: Mapped[str] = mapped_column(Text, server_default="")
    visibility: Mapped[str] = mapped_column(Text, server_default="public")
    readme: Mapped[str] = mapped_column(Text, server_default="", comment="Markdown")
    cover_image_url: Mapped[str | None] = mapped_column(Text)
    default_example_id: Mapped[str | None] = mapped_column(
        Text, comment="a prediction that shows what it does"
    )
    run_count: Mapped[int] = mapped_column(BigInteger, server_default="0")
    links: Mapped[dict[str, str]] = mapped_column(
        JSONB, server_default="{}", comment="github_url, paper_url, …"
    )
    created_by: Mapped[str | None] = mapped_column(Text)
    latest_version_id: Mapped[str | None] = mapped_column(Text)
    created_at: Mapped[CreatedAt]
    updated_at: Mapped[Moment] = mapped_column(server_default=func.now())
