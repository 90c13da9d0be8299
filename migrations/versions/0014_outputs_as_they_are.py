"""Long outputs are stored as they are: compressing a vector took longer than ending its prediction."""

from collections.abc import Sequence

from alembic import op

revision: str = "0014"
down_revision: str | None = "0013"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    op.execute("ALTER TABLE predictions ALTER COLUMN output SET STORAGE EXTERNAL")


def downgrade() -> None:
    op.execute("ALTER TABLE predictions ALTER COLUMN output SET STORAGE EXTENDED")
