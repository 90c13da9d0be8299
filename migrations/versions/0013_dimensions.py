"""Versions that give vectors tell how long they are."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0013"
down_revision: str | None = "0012"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    op.add_column(
        "model_versions",
        sa.Column(
            "dimensions",
            sa.Integer(),
            nullable=True,
            comment="how many numbers its vectors have, as a lane has found when it loaded it",
        ),
    )


def downgrade() -> None:
    op.drop_column("model_versions", "dimensions")
