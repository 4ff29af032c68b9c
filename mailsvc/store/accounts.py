"""Domains, accounts and their credentials."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Row,
    Table,
    delete,
    func,
    insert,
    select,
    update,
)
from sqlalchemy.exc import IntegrityError

from mailsvc.errors import AlreadyThere, CommandError, NotFound
from mailsvc.model.account import (
    Account,
    AccountSummary,
    Role,
    Scope,
    StoredPassword,
    Verifier,
)
from mailsvc.model.address import Address, parse_address
from mailsvc.model.ids import AccountId, CredentialId, FolderId, IdSource
from mailsvc.store.removal import release_entries
from mailsvc.store.tables import account, credential, domain, entry, folder

_FOLDERS = (
    ("INBOX", "inbox"),
    ("Drafts", "drafts"),
    ("Sent", "sent"),
    ("Archive", "archive"),
    ("Junk", "junk"),
    ("Trash", "trash"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class NewAccount:
    """
    What a new account starts with.

    Args:
        hashed: The Argon2id verifier of its password, PHC format.
        scram: Its keys for SCRAM-SHA-256; None: made at the first login with the password.
        quota_octets: None: no limit.
        quota_messages: None: no limit.
    """

    address: Address
    hashed: str
    scram: str | None = None
    display_name: str = ""
    role: Role = Role.USER
    quota_octets: int | None = None
    quota_messages: int | None = None


def domain_exists(conn: Connection, name: str) -> bool:
    """Tell whether a domain is ours and enabled."""
    found = conn.scalar(select(domain.c.enabled).where(domain.c.name == name))
    return bool(found)


def any_domain(conn: Connection) -> bool:
    """Tell whether the database has been set up."""
    return conn.scalar(select(domain.c.id).limit(1)) is not None


def first_domain(conn: Connection) -> str | None:
    """Give the oldest enabled domain: logins without a domain belong to it."""
    return conn.scalar(
        select(domain.c.name).where(domain.c.enabled.is_(True)).order_by(domain.c.id).limit(1)
    )


def add_domain(conn: Connection, ids: IdSource, name: str) -> None:
    """
    Make a domain ours.

    Raises:
        AlreadyThere: It is.
    """
    if conn.scalar(select(domain.c.id).where(domain.c.name == name)) is not None:
        raise AlreadyThere(f"the domain {name} exists already")
    conn.execute(
        insert(domain).values(id=ids.next(), name=name, enabled=True, created=datetime.now(UTC))
    )


def populate(conn: Connection, ids: IdSource, name: str, accounts: Iterable[NewAccount]) -> None:
    """Make a domain and its first accounts; same errors as for each."""
    add_domain(conn, ids, name)
    for new in accounts:
        add_account(conn, ids, new)


def add_account(conn: Connection, ids: IdSource, new: NewAccount) -> AccountId:
    """
    Make an account with its password and its folders.

    Raises:
        NotFound: Its domain is not ours.
        AlreadyThere: Its address is taken.
    """
    in_domain = conn.scalar(select(domain.c.id).where(domain.c.name == new.address.domain))
    if in_domain is None:
        raise NotFound(f"the domain {new.address.domain} is not one of ours")
    number, now = AccountId(ids.next()), datetime.now(UTC)
    taken = AlreadyThere(f"the account {new.address} exists already")
    if _number_of(conn, new.address) is not None:
        raise taken
    try:
        conn.execute(
            insert(account).values(
                id=number,
                domain_id=in_domain,
                address=str(new.address),
                address_key=new.address.key,
                display_name=new.display_name,
                role=new.role.value,
                enabled=True,
                smtp_on=True,
                pop3_on=True,
                web_on=True,
                quota_octets=new.quota_octets,
                quota_messages=new.quota_messages,
                created=now,
            )
        )
    except IntegrityError:
        raise taken from None
    _insert_password(conn, ids, number, StoredPassword(new.hashed, new.scram), now)
    _insert_folders(conn, ids, number, now)
    return number


def _insert_password(
    conn: Connection, ids: IdSource, owner: AccountId, password: StoredPassword, now: datetime
) -> None:
    conn.execute(
        insert(credential).values(
            id=ids.next(),
            account_id=owner,
            kind="password",
            verifier=password.hashed,
            scram=password.scram,
            created=now,
        )
    )


def _insert_folders(conn: Connection, ids: IdSource, owner: AccountId, now: datetime) -> None:
    conn.execute(
        insert(folder),
        [
            {
                "id": ids.next(),
                "account_id": owner,
                "name": name,
                "role": role,
                "uidvalidity": int(now.timestamp()),
                "uidnext": 1,
                "modseq": 1,
                "messages": 0,
                "octets": 0,
            }
            for name, role in _FOLDERS
        ],
    )


def set_password(
    conn: Connection, ids: IdSource, address: Address, password: StoredPassword
) -> AccountId:
    """
    Replace the password of an account.

    Raises:
        NotFound: There is no such account.
    """
    owner = _owner(conn, address)
    conn.execute(
        delete(credential).where(credential.c.account_id == owner, credential.c.kind == "password")
    )
    _insert_password(conn, ids, owner, password, datetime.now(UTC))
    return owner


def set_scram_keys(conn: Connection, verifier: Verifier, scram: str) -> None:
    """Add keys for SCRAM-SHA-256 to a credential; not when it has another password by now."""
    same = (credential.c.id == verifier.id, credential.c.verifier == verifier.hashed)
    conn.execute(update(credential).where(*same).values(scram=scram))


def set_keep(conn: Connection, address: Address, days: int | None) -> AccountId:
    """
    Say for how many days an inbox keeps its mail; None: for ever.

    Raises:
        NotFound: There is no such account.
    """
    owner = _owner(conn, address)
    conn.execute(update(account).where(account.c.id == owner).values(keep_days=days))
    return owner


def shortest_keep(conn: Connection) -> int | None:
    """Tell the fewest days that any account keeps its mail; None: all keep it for ever."""
    found: int | None = conn.scalar(select(func.min(account.c.keep_days)))
    return found


def delete_account(conn: Connection, address: Address) -> AccountId:
    """
    Remove an account with all its mail; bodies nobody else has are purged later.

    Raises:
        NotFound: There is no such account.
        CommandError: It is the last administrator.
    """
    owner = _owner(conn, address)
    # Locked: two administrators who delete each other at once must not both succeed.
    administrators = _lock(conn, account, account.c.role == Role.ADMIN.value)
    if administrators == [owner]:
        raise CommandError(f"{address} is the last administrator; make another one first")
    # Locked: what another transaction delivers now would go without being released.
    folders = _lock(conn, folder, folder.c.account_id == owner)
    release_entries(conn, entry.c.folder_id.in_(folders))
    conn.execute(delete(account).where(account.c.id == owner))
    return owner


def _lock(conn: Connection, table: Table, which: ColumnElement[bool]) -> list[int]:
    """Keep others from changing the rows that match, in one order for all; give their numbers."""
    rows = select(table.c.id).where(which).order_by(table.c.id).with_for_update()
    return list(conn.scalars(rows))


def find_account(conn: Connection, address: Address, subaddress: str = "") -> Account | None:
    """
    Look up the account that gets the mail for an address.

    ``postmaster`` of a domain of ours falls to an administrator.

    Args:
        subaddress: The character that parts a user's name from what the user likes to put
            behind it (RFC 5233); empty: there is none. The whole name goes first.
    """
    found = _find_exactly(conn, address)
    if found is None and subaddress:
        name, parted, _ = address.local.partition(subaddress)
        if name and parted:
            return _find_exactly(conn, Address(name, address.domain))
    return found


def _find_exactly(conn: Connection, address: Address) -> Account | None:
    found = _fetch(conn, account.c.address_key == address.key)
    if found is not None or address.key != f"postmaster@{address.domain}":
        return found
    # The postmaster of another domain is nobody here, whoever asks.
    local = domain_exists(conn, address.domain)
    return _fetch(conn, account.c.role == Role.ADMIN.value) if local else None


def account_by_id(conn: Connection, number: AccountId) -> Account | None:
    """Look up an account by its number."""
    return _fetch(conn, account.c.id == number)


def _fetch(conn: Connection, condition: ColumnElement[bool]) -> Account | None:
    row = conn.execute(
        select(account, folder.c.id.label("inbox"))
        .join(folder, (folder.c.account_id == account.c.id) & (folder.c.role == "inbox"))
        .where(condition)
        .order_by(account.c.enabled.desc(), account.c.id)
        .limit(1)
    ).first()
    if row is None:
        return None
    now = datetime.now(UTC)
    wanted = (credential.c.id, credential.c.verifier, credential.c.scram, credential.c.scope)
    verifiers = conn.execute(
        select(*wanted)
        .where(
            credential.c.account_id == row.id,
            credential.c.expires.is_(None) | (credential.c.expires > now),
        )
        # The password comes first, for SCRAM can ask for one salt only.
        .order_by(credential.c.kind != "password", credential.c.id)
    )
    return Account(
        id=AccountId(row.id),
        address=parse_address(row.address, utf8=True),
        display_name=row.display_name,
        role=Role(row.role),
        enabled=row.enabled,
        scopes=_scopes(row),
        inbox=FolderId(row.inbox),
        quota_octets=row.quota_octets,
        quota_messages=row.quota_messages,
        verifiers=tuple(
            Verifier(CredentialId(one.id), one.verifier, one.scram, _good_for(one.scope))
            for one in verifiers
        ),
        keep_days=row.keep_days,
    )


def list_accounts(conn: Connection, after: str, most: int) -> list[AccountSummary]:
    """
    List accounts in the order of their keys, a page at a time.

    Args:
        after: The key of the last account of the page before; empty: from the start.
        most: The size of a page.
    """
    rows = conn.execute(
        select(
            account,
            func.coalesce(func.sum(folder.c.messages), 0).label("messages"),
            func.coalesce(func.sum(folder.c.octets), 0).label("octets"),
        )
        .outerjoin(folder, folder.c.account_id == account.c.id)
        .where(account.c.address_key > after)
        .group_by(account.c.id)
        .order_by(account.c.address_key)
        .limit(most)
    )
    return [
        AccountSummary(
            id=AccountId(row.id),
            address=parse_address(row.address, utf8=True),
            display_name=row.display_name,
            role=Role(row.role),
            enabled=row.enabled,
            scopes=_scopes(row),
            messages=int(row.messages),
            octets=int(row.octets),
            quota_octets=row.quota_octets,
            quota_messages=row.quota_messages,
            created=row.created,
            last_login=row.last_login,
            keep_days=row.keep_days,
        )
        for row in rows
    ]


def count_accounts(conn: Connection) -> int:
    """Count all accounts."""
    return conn.scalar(select(func.count()).select_from(account)) or 0


def note_logins(conn: Connection, logins: Iterable[tuple[AccountId, datetime]]) -> None:
    """Remember when accounts logged in last."""
    for number, moment in logins:
        conn.execute(update(account).where(account.c.id == number).values(last_login=moment))


def _scopes(row: Row[Any]) -> frozenset[Scope]:
    switches = {Scope.SMTP: row.smtp_on, Scope.POP3: row.pop3_on, Scope.WEB: row.web_on}
    return frozenset(scope for scope, on in switches.items() if on)


def _good_for(words: str) -> frozenset[Scope]:
    """Read the scope of a credential; a front end that we do not know is none of ours."""
    if not words:
        return frozenset(Scope)
    return frozenset(scope for scope in Scope if scope.value in words.split())


def _number_of(conn: Connection, address: Address) -> AccountId | None:
    found = conn.scalar(select(account.c.id).where(account.c.address_key == address.key))
    return None if found is None else AccountId(found)


def _owner(conn: Connection, address: Address) -> AccountId:
    """Find an account and keep others from changing it at the same time."""
    found = _lock(conn, account, account.c.address_key == address.key)
    if not found:
        raise NotFound(f"there is no account {address}")
    return AccountId(found[0])
