"""What models measure of predictions: counts of tokens, why a text ends."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0009"
down_revision: str | None = "0008"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    op.add_column(
        "predictions",
        sa.Column(
            "metrics",
            sa.JSON(none_as_null=True),
            nullable=True,
            comment="what the model measured: counts of tokens, …",
        ),
    )


def downgrade() -> None:
    op.drop_column("predictions", "metrics")
