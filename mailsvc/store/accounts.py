"""Domains, accounts and their credentials."""

from collections.abc import Iterable, Sequence
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

from mailsvc.errors import AlreadyThere, NotFound
from mailsvc.model.account import (
    EVERYBODY,
    Account,
    AccountFilter,
    AccountSummary,
    Role,
    Scope,
    StoredPassword,
    Switch,
    Turn,
    Verifier,
)
from mailsvc.model.address import Address, parse_address
from mailsvc.model.ids import AccountId, CredentialId, FolderId, IdSource
from mailsvc.model.quota import effective
from mailsvc.store.addresses import claim_address
from mailsvc.store.domains import add_domain, domain_exists
from mailsvc.store.tables import account, alias, credential, domain, folder

LONGEST_CHAIN = 10
"""Aliases, groups and forwards one behind the other, from an address to a mailbox."""

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
        quota_octets: None: the domain's; 0: no limit.
        quota_messages: None: the domain's; 0: no limit.
    """

    address: Address
    hashed: str
    scram: str | None = None
    display_name: str = ""
    role: Role = Role.USER
    quota_octets: int | None = None
    quota_messages: int | None = None
    language: str = ""
    enabled: bool = True


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
        AlreadyThere: Its address is taken, by an account or by an alias.
    """
    in_domain = claim_address(conn, new.address)
    number, now = AccountId(ids.next()), datetime.now(UTC)
    try:
        conn.execute(
            insert(account).values(
                id=number,
                domain_id=in_domain,
                address=str(new.address),
                address_key=new.address.key,
                display_name=new.display_name,
                role=new.role.value,
                enabled=new.enabled,
                language=new.language,
                smtp_on=True,
                pop3_on=True,
                web_on=True,
                quota_octets=new.quota_octets,
                quota_messages=new.quota_messages,
                created=now,
            )
        )
    except IntegrityError:
        raise AlreadyThere(f"the account {new.address} exists already") from None
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
    owner = lock_account(conn, address)
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
    owner = lock_account(conn, address)
    conn.execute(update(account).where(account.c.id == owner).values(keep_days=days))
    return owner


def shortest_keep(conn: Connection) -> int | None:
    """Tell the fewest days that any account keeps its mail; None: all keep it for ever."""
    found: int | None = conn.scalar(select(func.min(account.c.keep_days)))
    return found


def lock_rows(conn: Connection, table: Table, which: ColumnElement[bool]) -> list[int]:
    """Keep others from changing the rows that match, in one order for all; give their numbers."""
    rows = select(table.c.id).where(which).order_by(table.c.id).with_for_update()
    return list(conn.scalars(rows))


def find_account(conn: Connection, address: Address, subaddress: str = "") -> Account | None:
    """
    Look up the account whose address this is: its own, or an alias of it.

    Groups, forwards and catch-alls are nobody's own. ``postmaster`` of a domain of ours falls
    to an administrator.

    Args:
        subaddress: The character that parts a user's name from what the user likes to put
            behind it (RFC 5233); empty: there is none. The whole name goes first.
    """
    for _ in range(LONGEST_CHAIN + 1):
        spellings = spellings_of(address, subaddress)
        for one in spellings:
            found = _find_exactly(conn, one)
            if found is not None:
                return found
        further = _behind_alias(conn, spellings)
        if further is None:
            return None
        address = further
    return None


def spellings_of(address: Address, subaddress: str) -> tuple[Address, ...]:
    """Give what an address may be: the whole name, then what stands before the separator."""
    name, parted, _ = address.local.partition(subaddress) if subaddress else ("", "", "")
    return (address, Address(name, address.domain)) if name and parted else (address,)


def _behind_alias(conn: Connection, spellings: tuple[Address, ...]) -> Address | None:
    keys = [one.key for one in spellings]
    rows = conn.execute(
        select(alias.c.address_key, alias.c.targets)
        .join(domain, domain.c.id == alias.c.domain_id)
        .where(
            alias.c.address_key.in_(keys),
            alias.c.kind == "alias",
            alias.c.enabled.is_(True),
            domain.c.enabled.is_(True),
        )
    ).all()
    found = {row.address_key: row.targets for row in rows}
    target = next((found[key] for key in keys if key in found), None)
    return None if target is None else parse_address(target, utf8=True)


def _find_exactly(conn: Connection, address: Address) -> Account | None:
    found = _fetch(conn, account.c.address_key == address.key)
    if found is not None or address.key != f"postmaster@{address.domain}":
        return found
    if conn.scalar(select(alias.c.id).where(alias.c.address_key == address.key)) is not None:
        return None
    # The postmaster of another domain is nobody here, whoever asks.
    local = domain_exists(conn, address.domain)
    return _fetch(conn, account.c.role == Role.ADMIN.value) if local else None


def account_by_id(conn: Connection, number: AccountId) -> Account | None:
    """Look up an account by its number."""
    return _fetch(conn, account.c.id == number)


# An account of a domain that is switched off is switched off.
_ACCOUNT = (
    select(
        account,
        folder.c.id.label("inbox"),
        domain.c.enabled.label("domain_enabled"),
        domain.c.quota_octets.label("domain_octets"),
        domain.c.quota_messages.label("domain_messages"),
    )
    .join(folder, (folder.c.account_id == account.c.id) & (folder.c.role == "inbox"))
    .join(domain, domain.c.id == account.c.domain_id)
    .order_by(domain.c.enabled.desc(), account.c.enabled.desc(), account.c.id)
)


def mailboxes(conn: Connection, keys: Sequence[str]) -> list[Account]:
    """Look up accounts by the keys of their addresses, without their credentials."""
    rows = conn.execute(_ACCOUNT.where(account.c.address_key.in_(keys)))
    return [_account(row, ()) for row in rows]


def accounts_after(
    conn: Connection, after: int, most: int, which: ColumnElement[bool]
) -> list[Account]:
    """Give accounts in the order of their numbers, without their credentials."""
    wanted = _ACCOUNT.order_by(None).where(account.c.id > after, which)
    return [_account(row, ()) for row in conn.execute(wanted.order_by(account.c.id).limit(most))]


def postmaster(conn: Connection) -> Account | None:
    """Give the administrator who gets what nobody else does."""
    row = conn.execute(_ACCOUNT.where(account.c.role == Role.ADMIN.value).limit(1)).first()
    return None if row is None else _account(row, ())


def _fetch(conn: Connection, condition: ColumnElement[bool]) -> Account | None:
    row = conn.execute(_ACCOUNT.where(condition).limit(1)).first()
    return None if row is None else _account(row, _verifiers(conn, row.id))


def _verifiers(conn: Connection, owner: int) -> tuple[Verifier, ...]:
    rows = conn.execute(
        select(credential.c.id, credential.c.verifier, credential.c.scram, credential.c.scope)
        .where(
            credential.c.account_id == owner,
            credential.c.expires.is_(None) | (credential.c.expires > datetime.now(UTC)),
        )
        # The password comes first, for SCRAM can ask for one salt only.
        .order_by(credential.c.kind != "password", credential.c.id)
    )
    return tuple(
        Verifier(CredentialId(one.id), one.verifier, one.scram, _good_for(one.scope))
        for one in rows
    )


def _account(row: Row[Any], verifiers: tuple[Verifier, ...]) -> Account:
    return Account(
        id=AccountId(row.id),
        address=parse_address(row.address, utf8=True),
        display_name=row.display_name,
        role=Role(row.role),
        enabled=_is_on(row, Switch.ENABLED) and row.domain_enabled,
        scopes=_scopes(row),
        inbox=FolderId(row.inbox),
        quota_octets=effective(row.quota_octets, row.domain_octets).most,
        quota_messages=effective(row.quota_messages, row.domain_messages).most,
        verifiers=verifiers,
        keep_days=row.keep_days,
    )


def list_accounts(
    conn: Connection, after: str, most: int, only: AccountFilter = EVERYBODY
) -> list[AccountSummary]:
    """
    List accounts in the order of their keys, a page at a time.

    Args:
        after: The key of the last account of the page before; empty: from the start.
        most: The size of a page.
        only: Which.
    """
    wanted = _SUMMARY.where(account.c.address_key > after, *_conditions(only))
    rows = conn.execute(wanted.order_by(account.c.address_key).limit(most))
    return [_summary(row) for row in rows]


def get_summary(conn: Connection, address: Address) -> AccountSummary:
    """
    Look one account up.

    Raises:
        NotFound: There is no such account.
    """
    row = conn.execute(_SUMMARY.where(account.c.address_key == address.key)).first()
    if row is None:
        raise NotFound(f"there is no account {address}")
    return _summary(row)


_SUMMARY = (
    select(
        account,
        domain.c.quota_octets.label("domain_octets"),
        domain.c.quota_messages.label("domain_messages"),
        func.coalesce(func.sum(folder.c.messages), 0).label("messages"),
        func.coalesce(func.sum(folder.c.octets), 0).label("octets"),
    )
    .join(domain, domain.c.id == account.c.domain_id)
    .outerjoin(folder, folder.c.account_id == account.c.id)
    .group_by(account.c.id, domain.c.id)
)


def _conditions(only: AccountFilter) -> list[ColumnElement[bool]]:
    found: list[ColumnElement[bool]] = []
    if only.domain:
        found.append(domain.c.name == only.domain)
    if only.role is not None:
        found.append(account.c.role == only.role.value)
    if only.text:
        key = account.c.address_key.contains(only.text.casefold(), autoescape=True)
        name = func.lower(account.c.display_name).contains(only.text.lower(), autoescape=True)
        found.append(key | name)
    if only.pending is not None:
        found.append(account.c.pending.is_(only.pending))
    if only.enabled is not None:
        now, until = datetime.now(UTC), account.c.enabled_until
        turned = until.is_not(None) & (until <= now)
        on = (account.c.enabled.is_(True) & ~turned) | (account.c.enabled.is_(False) & turned)
        found.append(on if only.enabled else ~on)
    return found


def _summary(row: Row[Any]) -> AccountSummary:
    octets = effective(row.quota_octets, row.domain_octets)
    messages = effective(row.quota_messages, row.domain_messages)
    return AccountSummary(
        id=AccountId(row.id),
        address=parse_address(row.address, utf8=True),
        display_name=row.display_name,
        role=Role(row.role),
        enabled=_is_on(row, Switch.ENABLED),
        scopes=_scopes(row),
        messages=int(row.messages),
        octets=int(row.octets),
        quota_octets=octets.most,
        quota_messages=messages.most,
        created=row.created,
        last_login=row.last_login,
        keep_days=row.keep_days,
        quota_octets_from=octets.source,
        quota_messages_from=messages.source,
        language=row.language,
        pending=row.pending,
        turns=_turns(row),
        daily_messages=row.daily_messages,
        daily_recipients=row.daily_recipients,
    )


def count_accounts(conn: Connection) -> int:
    """Count all accounts."""
    return conn.scalar(select(func.count()).select_from(account)) or 0


def note_logins(conn: Connection, logins: Iterable[tuple[AccountId, datetime]]) -> None:
    """Remember when accounts logged in last."""
    for number, moment in logins:
        conn.execute(update(account).where(account.c.id == number).values(last_login=moment))


def _scopes(row: Row[Any]) -> frozenset[Scope]:
    return frozenset(scope for scope in Scope if _is_on(row, Switch(scope.value)))


def _is_on(row: Row[Any], switch: Switch) -> bool:
    """Tell how a switch stands now; one whose time is over has turned."""
    name = switch.value if switch is Switch.ENABLED else f"{switch.value}_on"
    on, until = getattr(row, name), getattr(row, f"{switch.value}_until")
    return bool(on) if until is None or datetime.now(UTC) < until else not on


def _turns(row: Row[Any]) -> tuple[Turn, ...]:
    """Give the switches that will turn by themselves."""
    now = datetime.now(UTC)
    moments = {switch: getattr(row, f"{switch.value}_until") for switch in Switch}
    return tuple(Turn(switch, at) for switch, at in moments.items() if at and now < at)


def _good_for(words: str) -> frozenset[Scope]:
    """Read the scope of a credential; a front end that we do not know is none of ours."""
    if not words:
        return frozenset(Scope)
    return frozenset(scope for scope in Scope if scope.value in words.split())


def lock_account(conn: Connection, address: Address) -> AccountId:
    """Find an account and keep others from changing it at the same time."""
    found = lock_rows(conn, account, account.c.address_key == address.key)
    if not found:
        raise NotFound(f"there is no account {address}")
    return AccountId(found[0])
