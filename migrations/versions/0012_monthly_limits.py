"""How long a user's predictions of a month may run."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0012"
down_revision: str | None = "0011"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    op.add_column(
        "users",
        sa.Column(
            "monthly_run_seconds",
            sa.Double(),
            nullable=True,
            comment="how long a month's predictions may run in all; null: as long as they do",
        ),
    )
    op.create_check_constraint("monthly_run_seconds", "users", "monthly_run_seconds >= 0")


def downgrade() -> None:
    op.drop_column("users", "monthly_run_seconds")
