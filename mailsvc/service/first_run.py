"""Set up an empty database: a domain, an administrator, users; passwords are shown once."""

import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from mailsvc.auth.passwords import make_password, store_password
from mailsvc.config.settings import FirstRunSettings, Settings
from mailsvc.errors import ConfigError
from mailsvc.model.account import Role
from mailsvc.model.address import Address, BadAddress, parse_address
from mailsvc.model.ids import IdSource
from mailsvc.store.accounts import NewAccount, populate
from mailsvc.store.domains import any_domain
from mailsvc.store.engine import Engines
from mailsvc.store.schema import transact

Passwords = Sequence[tuple[Address, str]]
"""The administrator's comes first."""


def set_up(
    engines: Engines, ids: IdSource, settings: FirstRunSettings, scram_iterations: int
) -> Passwords:
    """
    Make the first accounts when the database has no domain yet; blocks until done.

    Args:
        engines: The open database.
        ids: Numbers for new rows.
        settings: What to make.
        scram_iterations: Rounds of the keys for SCRAM-SHA-256.

    Returns:
        The passwords that were made; nothing when the database was set up before.

    Raises:
        ConfigError: A name in config.yaml cannot be an address.
        StartError: The database cannot be used.
    """
    if transact(engines, any_domain):
        return ()
    made = [
        (_address(name, settings.domain), make_password())
        for name in (settings.administrator, *settings.users)
    ]
    accounts = [
        _account(address, password, scram_iterations, Role.USER if number else Role.ADMIN)
        for number, (address, password) in enumerate(made)
    ]
    transact(engines, populate, ids, made[0][0].domain, accounts)
    return made


def _account(address: Address, password: str, scram_iterations: int, role: Role) -> NewAccount:
    stored = store_password(password.encode(), scram_iterations)
    return NewAccount(address=address, hashed=stored.hashed, scram=stored.scram, role=role)


def _address(name: str, domain: str) -> Address:
    try:
        return parse_address(f"{name}@{domain}", utf8=True)
    except BadAddress as error:
        raise ConfigError(f"first_run: {name}@{domain} is not possible: {error}") from None


def show(passwords: Passwords, settings: Settings, port_of: Callable[[str], int | None]) -> None:
    """
    Show the passwords once, with a first mail to try.

    They go to the terminal, past every log; a daemon without one writes them to a file
    that its owner alone may read.
    """
    text = _text(passwords, port_of)
    if not _is_null(1):
        with os.fdopen(os.dup(1), "w", encoding="utf-8") as terminal:
            terminal.write(text)
        return
    path = settings.state / "first-passwords.txt"
    with os.fdopen(
        os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8"
    ) as file:
        file.write(text)


def _is_null(descriptor: int) -> bool:
    """Whether output goes nowhere, as it does in a daemon."""
    try:
        return os.fstat(descriptor).st_rdev == Path(os.devnull).stat().st_rdev
    except OSError:
        return True


def _text(passwords: Passwords, port_of: Callable[[str], int | None]) -> str:
    width = max(len(address.shown) for address, _ in passwords)
    lines = ["", "The first start made these accounts. Their passwords are shown only now:", ""]
    lines += [
        f"    {address.shown:{width}}  {password}{'' if number else '   (administrator)'}"
        for number, (address, password) in enumerate(passwords)
    ]
    lines += _try_it(passwords, port_of)
    return "\n".join((*lines, "", ""))


def _try_it(passwords: Passwords, port_of: Callable[[str], int | None]) -> list[str]:
    """Tell how to send and collect a first mail."""
    submission, pop3 = port_of("submission"), port_of("pop3")
    if len(passwords) < 3 or submission is None or pop3 is None:  # noqa: PLR2004 - two users
        return []
    (sender, secret), (recipient, other) = passwords[1], passwords[2]
    mailctl = Path(sys.argv[0]).with_name("mailctl")
    return [
        "",
        f"Send a mail from {sender} to {recipient}, from another terminal:",
        "",
        f"    printf 'From: {sender}\\nTo: {recipient}\\nSubject: Hello\\n\\nIt works.\\n' |",
        f"    curl -sS --url smtp://127.0.0.1:{submission} --user '{sender}:{secret}' \\",
        f"        --mail-from {sender} --mail-rcpt {recipient} --crlf --upload-file -",
        "",
        "Collect it:",
        "",
        f"    curl -sS pop3://127.0.0.1:{pop3}/1 --user '{recipient}:{other}'",
        "",
        f"Look after the service:  {mailctl} status",
    ]
