"""An account may have its inbox cleared of old mail."""

import sqlalchemy as sa

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply the change; not as a batch, which would make the table anew and let its rows go."""
    op.add_column("account", sa.Column("keep_days", sa.Integer(), nullable=True))
    op.create_index(op.f("ix_account_keep_days"), "account", ["keep_days"])


def downgrade() -> None:
    """Take it back."""
    op.drop_index(op.f("ix_account_keep_days"), "account")
    op.drop_column("account", "keep_days")
