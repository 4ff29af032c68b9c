"""Mail that leaves keeps what was said of its deadline; RFC 2852."""

import sqlalchemy as sa

from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply the change."""
    op.add_column("queue", sa.Column("deliver_by", sa.BigInteger()))
    op.add_column(
        "queue", sa.Column("by_mode", sa.String(2), nullable=False, server_default=sa.text("''"))
    )


def downgrade() -> None:
    """Take it back."""
    op.drop_column("queue", "by_mode")
    op.drop_column("queue", "deliver_by")
