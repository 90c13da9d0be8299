"""How far a lane has come with a prediction."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0002"
down_revision: str | None = "0001"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    op.add_column(
        "queue",
        sa.Column(
            "progress",
            sa.REAL(),
            nullable=True,
            comment="how far the lane has come with it, 0 to 1, where that takes seconds",
        ),
    )


def downgrade() -> None:
    op.drop_column("queue", "progress")
