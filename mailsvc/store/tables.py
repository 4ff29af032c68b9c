"""
The data model; portable over SQLite, PostgreSQL and MariaDB.

Times are UTC. Identifiers are made by ``model.ids``. ``alembic/versions`` holds the same
schema as steps; ``alembic check`` holds the two against each other.
"""

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Dialect,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    TypeDecorator,
    UniqueConstraint,
)
from sqlalchemy.dialects import mysql
from sqlalchemy.types import JSON

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)


def microseconds(moment: datetime) -> int:
    """
    Say a moment as the database has it.

    Raises:
        ValueError: It has no time zone: nobody knows which one it means.
    """
    if moment.tzinfo is None:
        raise ValueError("a moment needs a time zone")
    return round(moment.timestamp() * 1_000_000)


class UtcTime(TypeDecorator[datetime]):
    """
    A moment as microseconds since 1970, UTC.

    A number means the same on every engine, where date types differ in zones and digits.
    """

    impl = BigInteger
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> int | None:
        """Refuse naive datetimes: nobody knows which zone they mean."""
        del dialect
        if value is None:
            return None
        return microseconds(value)

    def process_result_value(self, value: Any, dialect: Dialect) -> datetime | None:
        """Give an aware datetime."""
        del dialect
        return None if value is None else datetime.fromtimestamp(value / 1_000_000, UTC)


BODY = LargeBinary().with_variant(mysql.LONGBLOB(), "mysql", "mariadb")
"""Octets of a message; MariaDB's plain BLOB ends at 64 KiB."""

DIGEST = LargeBinary(32).with_variant(mysql.VARBINARY(32), "mysql", "mariadb")

ID = BigInteger().with_variant(Integer(), "sqlite")
"""SQLite keeps a table in the order of an INTEGER key, and of no other: rows are appended."""

NAME = String(255)
ADDRESS = String(400)
"""64 octets, the @ and 255 octets; quoting or folding may make twice as many of the first."""


_IN_KEY_ORDER = frozenset({"entry", "expunged", "released", "lock"})
"""Small rows that SQLite keeps inside the index of their key; bodies would make it deep."""


def _table(name: str, *items: Any) -> Table:
    """Make a table that compares text by its octets, also on MariaDB."""
    return Table(
        name,
        metadata,
        *items,
        mysql_charset="utf8mb4",
        mysql_collate="utf8mb4_bin",
        mysql_engine="InnoDB",
        mariadb_charset="utf8mb4",
        mariadb_collate="utf8mb4_bin",
        mariadb_engine="InnoDB",
        sqlite_with_rowid=name not in _IN_KEY_ORDER,
    )


def _id() -> Column[int]:
    return Column("id", ID, primary_key=True, autoincrement=False)


def _owner(nullable: bool = False) -> Column[int]:  # noqa: FBT001, FBT002 - a column's property
    return Column(
        "account_id",
        BigInteger,
        ForeignKey("account.id", ondelete="CASCADE"),
        nullable=nullable,
    )


domain = _table(
    "domain",
    _id(),
    Column("name", NAME, nullable=False, unique=True),
    Column("enabled", Boolean, nullable=False),
    Column("catch_all", ADDRESS),
    # For accounts that have no quota of their own.
    Column("quota_octets", BigInteger),
    Column("quota_messages", BigInteger),
    Column("created", UtcTime, nullable=False),
)

account = _table(
    "account",
    _id(),
    Column("domain_id", BigInteger, ForeignKey("domain.id"), nullable=False, index=True),
    # The address as shown, and its key: what look-ups compare.
    Column("address", ADDRESS, nullable=False),
    Column("address_key", ADDRESS, nullable=False, unique=True),
    Column("display_name", NAME, nullable=False, default=""),
    Column("role", String(16), nullable=False),
    Column("enabled", Boolean, nullable=False),
    Column("smtp_on", Boolean, nullable=False),
    Column("pop3_on", Boolean, nullable=False),
    Column("web_on", Boolean, nullable=False),
    # When a switch turns by itself; None: it stays as it is.
    Column("enabled_until", UtcTime),
    Column("smtp_until", UtcTime),
    Column("pop3_until", UtcTime),
    Column("web_until", UtcTime),
    # It registered itself and waits for an administrator; disabled until then.
    Column("pending", Boolean, nullable=False, default=False),
    Column("quota_octets", BigInteger),
    Column("quota_messages", BigInteger),
    # The share of the quota, in percent, that the owner was last told of; 0: none.
    Column("quota_told", Integer, nullable=False, default=0),
    Column("daily_messages", Integer),
    Column("daily_recipients", Integer),
    # Days after which a message leaves the inbox; None: it stays.
    Column("keep_days", Integer, index=True),
    Column("language", String(16), nullable=False, default=""),
    Column("created", UtcTime, nullable=False),
    Column("last_login", UtcTime),
)

credential = _table(
    "credential",
    _id(),
    _owner(),
    # "password" (one an account) or "app" (many).
    Column("kind", String(16), nullable=False),
    Column("label", NAME, nullable=False, default=""),
    Column("verifier", String(255), nullable=False),
    # SCRAM-SHA-256 keys, RFC 5803 format.
    Column("scram", String(255)),
    # Front ends it is good for, separated by spaces; empty: all.
    Column("scope", String(64), nullable=False, default=""),
    Column("created", UtcTime, nullable=False),
    Column("last_use", UtcTime),
    Column("expires", UtcTime),
    Index("ix_credential_account_id", "account_id"),
)

alias = _table(
    "alias",
    _id(),
    Column("domain_id", BigInteger, ForeignKey("domain.id"), nullable=False, index=True),
    # The address as shown, and its key: what look-ups compare.
    Column("address", ADDRESS, nullable=False, default=""),
    Column("address_key", ADDRESS, nullable=False, unique=True),
    # "alias", "group" or "forward"; the targets are addresses, separated by lines.
    Column("kind", String(16), nullable=False),
    Column("targets", Text, nullable=False),
    Column("enabled", Boolean, nullable=False),
    Column("created", UtcTime, nullable=False),
)

folder = _table(
    "folder",
    _id(),
    _owner(),
    Column("name", NAME, nullable=False),
    # "inbox", "sent", "drafts", "trash", "junk", "archive" or empty.
    Column("role", String(16), nullable=False, default=""),
    Column("uidvalidity", BigInteger, nullable=False),
    Column("uidnext", BigInteger, nullable=False),
    Column("modseq", BigInteger, nullable=False),
    # Usage stands where each delivery writes anyway.
    Column("messages", BigInteger, nullable=False),
    Column("octets", BigInteger, nullable=False),
    UniqueConstraint("account_id", "name"),
)

message = _table(
    "message",
    _id(),
    Column("octets", BigInteger, nullable=False),
    # The Return-Path field at the start, which is ours and never leaves the house.
    Column("return_path_octets", Integer, nullable=False),
    # SHA-256 of the content.
    Column("digest", DIGEST),
    Column("received", UtcTime, nullable=False),
    Column("sender", ADDRESS, nullable=False),
    # None: the body is in chunks.
    Column("body", BODY),
)

chunk = _table(
    "chunk",
    Column(
        "message_id", BigInteger, ForeignKey("message.id", ondelete="CASCADE"), primary_key=True
    ),
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("body", BODY, nullable=False),
)

entry = _table(
    "entry",
    Column("folder_id", BigInteger, ForeignKey("folder.id", ondelete="CASCADE"), primary_key=True),
    Column("uid", BigInteger, primary_key=True, autoincrement=False),
    Column("message_id", BigInteger, ForeignKey("message.id"), nullable=False),
    Column("octets", BigInteger, nullable=False),
    Column("received", UtcTime, nullable=False),
    # Bits of the IMAP system flags; keywords are separated by spaces.
    Column("flags", Integer, nullable=False),
    Column("keywords", String(255), nullable=False, default=""),
    Column("modseq", BigInteger, nullable=False),
    Column("thread_id", BigInteger, nullable=False),
    Index("ix_entry_message_id", "message_id"),
)

expunged = _table(
    "expunged",
    Column("folder_id", BigInteger, ForeignKey("folder.id", ondelete="CASCADE"), primary_key=True),
    Column("uid", BigInteger, primary_key=True, autoincrement=False),
    Column("modseq", BigInteger, nullable=False),
    # Grows with time, so its index is appended to.
    Column("removed", UtcTime, nullable=False, index=True),
)

# Entries that are gone and whose bodies may have lost their last reader: the purge looks.
# Stays when its folder goes, so it refers to none.
released = _table(
    "released",
    Column("folder_id", BigInteger, primary_key=True, autoincrement=False),
    Column("uid", BigInteger, primary_key=True, autoincrement=False),
    Column("message_id", BigInteger, nullable=False),
)

queue = _table(
    "queue",
    _id(),
    Column("message_id", BigInteger, ForeignKey("message.id"), nullable=False, index=True),
    Column("sender", ADDRESS, nullable=False),
    Column("recipient", ADDRESS, nullable=False),
    Column("next_hop", NAME, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("next_attempt", UtcTime, nullable=False),
    Column("expires", UtcTime, nullable=False),
    Column("lease_owner", BigInteger),
    Column("lease_until", UtcTime),
    # RFC 3461: what to report, and as what.
    Column("notify", String(64), nullable=False, default=""),
    Column("ret", String(8), nullable=False, default=""),
    Column("envid", String(128), nullable=False, default=""),
    Column("orcpt", String(512), nullable=False, default=""),
    Column("last_reply", Text, nullable=False),
    Column("held", Boolean, nullable=False),
    # It leaves over verified TLS or not at all; RFC 8689.
    Column("require_tls", Boolean, nullable=False, default=False),
    # When the sender is told of a delay; None: never, or done.
    Column("notice_at", UtcTime),
    # BY: when, and what becomes of it then, "R" or "N", with a "T" to trace it; RFC 2852.
    Column("deliver_by", UtcTime),
    Column("by_mode", String(2), nullable=False, default=""),
    Column("created", UtcTime, nullable=False),
    Index("ix_queue_held_next_attempt", "held", "next_attempt"),
)

attempt = _table(
    "attempt",
    _id(),
    Column("queue_id", BigInteger, nullable=False, index=True),
    Column("message_id", BigInteger, nullable=False, index=True),
    Column("started", UtcTime, nullable=False),
    Column("ended", UtcTime, nullable=False),
    Column("host", NAME, nullable=False),
    Column("tls", String(64), nullable=False, default=""),
    # "done", "later" or "bounce".
    Column("outcome", String(16), nullable=False),
    Column("conversation", Text, nullable=False),
)

# What signs the mail that leaves; RFC 6376.
dkim_key = _table(
    "dkim_key",
    _id(),
    Column(
        "domain_id",
        BigInteger,
        ForeignKey("domain.id", ondelete="CASCADE"),
        nullable=False,
    ),
    Column("selector", String(63), nullable=False),
    # "rsa" or "ed25519"; the key is PKCS8 in PEM.
    Column("algorithm", String(16), nullable=False),
    Column("private", Text, nullable=False),
    Column("active", Boolean, nullable=False),
    Column("created", UtcTime, nullable=False),
    UniqueConstraint("domain_id", "selector"),
)

# What an account has sent to other servers on a day, counted from 1970.
sending = _table(
    "sending",
    Column(
        "account_id", BigInteger, ForeignKey("account.id", ondelete="CASCADE"), primary_key=True
    ),
    Column("day", Integer, primary_key=True, autoincrement=False),
    Column("messages", Integer, nullable=False),
    Column("new_recipients", Integer, nullable=False),
    # Whether owner and administrators know that the limit was reached.
    Column("told", Boolean, nullable=False),
)

# To whom an account has written on other servers.
correspondent = _table(
    "correspondent",
    Column(
        "account_id", BigInteger, ForeignKey("account.id", ondelete="CASCADE"), primary_key=True
    ),
    Column("address_key", ADDRESS, primary_key=True),
)

rule = _table(
    "rule",
    _id(),
    _owner(nullable=True),
    # What is matched: "account", "address", "domain" or "cidr", and its value.
    Column("kind", String(16), nullable=False),
    Column("subject", ADDRESS, nullable=False),
    Column("action", String(16), nullable=False),
    # "smtp", "pop3", "web" or empty for all; "send", "receive" or empty for both.
    Column("protocol", String(16), nullable=False, default=""),
    Column("direction", String(16), nullable=False, default=""),
    Column("note", NAME, nullable=False, default=""),
    Column("created", UtcTime, nullable=False),
    Column("expires", UtcTime),
    Index("ix_rule_kind_subject", "kind", "subject"),
)

setting = _table(
    "setting",
    Column("name", String(128), primary_key=True),
    Column("value", JSON, nullable=False),
    # Grows with each change of any setting: a node asks for what is newer than it knows.
    Column("revision", BigInteger, nullable=False, index=True),
    Column("changed", UtcTime, nullable=False),
    Column("changed_by", ADDRESS, nullable=False),
)

trail = _table(
    "trail",
    # The identifier is the time: there is no second index for it.
    _id(),
    # "accepted", "refused", "login", "retrieved", "control", ...
    Column("event", String(32), nullable=False),
    Column("message_id", BigInteger),
    Column("account_id", BigInteger),
    Column("client_ip", String(45), nullable=False, default=""),
    Column("sender", ADDRESS, nullable=False, default=""),
    Column("recipient", ADDRESS, nullable=False, default=""),
    Column("status", String(16), nullable=False, default=""),
    Column("detail", Text, nullable=False),
    # Finds a Message-ID; see ``store.trail.header_key``. One row of a message has it.
    Column("header_key", BigInteger),
    Index("ix_trail_message_id", "message_id"),
    Index("ix_trail_header_key", "header_key"),
)

# Who has one may register; the code itself was shown once.
invitation = _table(
    "invitation",
    _id(),
    # SHA-256 of the code in hexadecimal digits, and its first characters for lists.
    Column("digest", String(64), nullable=False, unique=True),
    Column("hint", String(8), nullable=False),
    Column("domain_id", BigInteger, ForeignKey("domain.id", ondelete="CASCADE"), index=True),
    Column("uses_left", Integer, nullable=False),
    Column("note", NAME, nullable=False, default=""),
    Column("created", UtcTime, nullable=False),
    Column("expires", UtcTime),
)

# A message from an administrator to many; goes on where it was when the daemon ended.
broadcast = _table(
    "broadcast",
    _id(),
    # None: it has ended, and the mailboxes alone keep the body.
    Column("message_id", BigInteger, ForeignKey("message.id"), index=True),
    Column("sender", ADDRESS, nullable=False),
    Column("octets", BigInteger, nullable=False),
    # "all", "domain" or "group", and which.
    Column("scope", String(16), nullable=False),
    Column("subject", ADDRESS, nullable=False, default=""),
    Column("created_by", ADDRESS, nullable=False),
    Column("total", Integer, nullable=False),
    Column("delivered", Integer, nullable=False),
    Column("skipped", Integer, nullable=False),
    # The account that was served last: accounts are served in the order of their numbers.
    Column("reached", BigInteger, nullable=False),
    Column("created", UtcTime, nullable=False),
    # None: it is under way.
    Column("ended", UtcTime, index=True),
)

lock = _table(
    "lock",
    Column("name", String(128), primary_key=True),
    Column("owner", BigInteger, nullable=False),
    Column("until", UtcTime, nullable=False),
)

node = _table(
    "node",
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("name", NAME, nullable=False),
    Column("owner", BigInteger, nullable=False),
    Column("heartbeat", UtcTime, nullable=False),
)
