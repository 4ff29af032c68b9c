"""Tombstones are found by their age, to be removed."""

from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply the change."""
    op.create_index(op.f("ix_expunged_removed"), "expunged", ["removed"])


def downgrade() -> None:
    """Take it back."""
    op.drop_index(op.f("ix_expunged_removed"), "expunged")
