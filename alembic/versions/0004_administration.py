"""What administrators do: timed switches, registration, defaults, aliases, broadcasts."""

from typing import Any

import sqlalchemy as sa

from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

_SWITCHES = ("enabled_until", "smtp_until", "pop3_until", "web_until")
_NAME, _ADDRESS = sa.String(255), sa.String(400)
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
    """Apply the change; not as a batch, which would make tables anew and let their rows go."""
    op.add_column("domain", sa.Column("quota_octets", sa.BigInteger()))
    op.add_column("domain", sa.Column("quota_messages", sa.BigInteger()))
    for name in _SWITCHES:
        op.add_column("account", sa.Column(name, sa.BigInteger()))
    op.add_column(
        "account", sa.Column("pending", sa.Boolean(), nullable=False, server_default=sa.false())
    )
    op.add_column(
        "account", sa.Column("quota_told", sa.Integer(), nullable=False, server_default="0")
    )
    op.add_column("alias", sa.Column("address", _ADDRESS, nullable=False, server_default=""))
    op.add_column("trail", sa.Column("header_key", sa.BigInteger()))
    op.create_index(op.f("ix_trail_header_key"), "trail", ["header_key"])
    _create_invitation()
    _create_broadcast()


def _create_invitation() -> None:
    op.create_table(
        "invitation",
        sa.Column("id", _ID, autoincrement=False, nullable=False),
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("hint", sa.String(8), nullable=False),
        sa.Column("domain_id", sa.BigInteger()),
        sa.Column("uses_left", sa.Integer(), nullable=False),
        sa.Column("note", _NAME, nullable=False),
        sa.Column("created", sa.BigInteger(), nullable=False),
        sa.Column("expires", sa.BigInteger()),
        sa.ForeignKeyConstraint(
            ["domain_id"],
            ["domain.id"],
            name=op.f("fk_invitation_domain_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_invitation")),
        sa.UniqueConstraint("digest", name=op.f("uq_invitation_digest")),
        **_MYSQL,
    )
    op.create_index(op.f("ix_invitation_domain_id"), "invitation", ["domain_id"])


def _create_broadcast() -> None:
    op.create_table(
        "broadcast",
        sa.Column("id", _ID, autoincrement=False, nullable=False),
        sa.Column("message_id", sa.BigInteger()),
        sa.Column("sender", _ADDRESS, nullable=False),
        sa.Column("octets", sa.BigInteger(), nullable=False),
        sa.Column("scope", sa.String(16), nullable=False),
        sa.Column("subject", _ADDRESS, nullable=False),
        sa.Column("created_by", _ADDRESS, nullable=False),
        sa.Column("total", sa.Integer(), nullable=False),
        sa.Column("delivered", sa.Integer(), nullable=False),
        sa.Column("skipped", sa.Integer(), nullable=False),
        sa.Column("reached", sa.BigInteger(), nullable=False),
        sa.Column("created", sa.BigInteger(), nullable=False),
        sa.Column("ended", sa.BigInteger()),
        sa.ForeignKeyConstraint(
            ["message_id"], ["message.id"], name=op.f("fk_broadcast_message_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_broadcast")),
        **_MYSQL,
    )
    op.create_index(op.f("ix_broadcast_message_id"), "broadcast", ["message_id"])
    op.create_index(op.f("ix_broadcast_ended"), "broadcast", ["ended"])


def downgrade() -> None:
    """Take it back."""
    op.drop_table("broadcast")
    op.drop_table("invitation")
    op.drop_index(op.f("ix_trail_header_key"), "trail")
    op.drop_column("trail", "header_key")
    op.drop_column("alias", "address")
    for name in ("quota_told", "pending", *_SWITCHES):
        op.drop_column("account", name)
    op.drop_column("domain", "quota_messages")
    op.drop_column("domain", "quota_octets")
