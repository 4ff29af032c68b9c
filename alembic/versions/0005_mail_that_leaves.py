"""Mail that leaves: reports of delay, required TLS, keys for signatures, limits of senders."""

from typing import Any

import sqlalchemy as sa

from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_MYSQL: dict[str, Any] = {
    "mysql_charset": "utf8mb4",
    "mysql_collate": "utf8mb4_bin",
    "mysql_engine": "InnoDB",
    "mariadb_charset": "utf8mb4",
    "mariadb_collate": "utf8mb4_bin",
    "mariadb_engine": "InnoDB",
}


def upgrade() -> None:
    """Apply the change."""
    op.add_column(
        "queue", sa.Column("require_tls", sa.Boolean(), nullable=False, server_default=sa.false())
    )
    op.add_column("queue", sa.Column("notice_at", sa.BigInteger()))
    _create_dkim_key()
    op.create_table(
        "sending",
        sa.Column("account_id", sa.BigInteger(), nullable=False),
        sa.Column("day", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("messages", sa.Integer(), nullable=False),
        sa.Column("new_recipients", sa.Integer(), nullable=False),
        sa.Column("told", sa.Boolean(), nullable=False),
        _of_account("sending"),
        sa.PrimaryKeyConstraint("account_id", "day", name=op.f("pk_sending")),
        **_MYSQL,
    )
    op.create_table(
        "correspondent",
        sa.Column("account_id", sa.BigInteger(), nullable=False),
        sa.Column("address_key", sa.String(400), nullable=False),
        _of_account("correspondent"),
        sa.PrimaryKeyConstraint("account_id", "address_key", name=op.f("pk_correspondent")),
        **_MYSQL,
    )


def _create_dkim_key() -> None:
    op.create_table(
        "dkim_key",
        sa.Column("id", _ID, autoincrement=False, nullable=False),
        sa.Column("domain_id", sa.BigInteger(), nullable=False),
        sa.Column("selector", sa.String(63), nullable=False),
        sa.Column("algorithm", sa.String(16), nullable=False),
        sa.Column("private", sa.Text(), nullable=False),
        sa.Column("active", sa.Boolean(), nullable=False),
        sa.Column("created", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["domain_id"], ["domain.id"], name=op.f("fk_dkim_key_domain_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_dkim_key")),
        sa.UniqueConstraint("domain_id", "selector", name=op.f("uq_dkim_key_domain_id_selector")),
        **_MYSQL,
    )


def _of_account(table: str) -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint(
        ["account_id"], ["account.id"], name=op.f(f"fk_{table}_account_id"), ondelete="CASCADE"
    )


def downgrade() -> None:
    """Take it back."""
    op.drop_table("correspondent")
    op.drop_table("sending")
    op.drop_table("dkim_key")
    op.drop_column("queue", "notice_at")
    op.drop_column("queue", "require_tls")
