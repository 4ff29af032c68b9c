"""Ways to log in that know no protocol: PLAIN, LOGIN and SCRAM-SHA-256; RFC 4422."""

from binascii import Error as Base64Error
from binascii import a2b_base64
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from twisted.cred.credentials import ICredentials
from twisted.cred.portal import Portal
from zope.interface import Interface

from mailsvc.auth import scram
from mailsvc.auth.checkers import WrongPassword
from mailsvc.auth.credentials import ClientPassword, Proven
from mailsvc.auth.guard import LoginGuard
from mailsvc.auth.names import LoginName, find_user, read_name
from mailsvc.auth.saslprep import prepare_octets
from mailsvc.errors import BadResponse, ChannelBindingFailed, LoginFailed, NotBase64
from mailsvc.interfaces import IDirectory
from mailsvc.model.account import Account, Scope
from mailsvc.model.channel import Channel
from mailsvc.model.envelope import Client
from mailsvc.model.ids import AccountId
from mailsvc.model.legible import legible, shown
from mailsvc.model.login import Challenge, LoggedIn

LONGEST_RESPONSE = 12_288
"""Octets of a response with its CRLF; RFC 4954 section 4."""
_PLAIN_PARTS = 3
LONGEST_NAME = 320
"""Characters of a name that are taken down."""


def read_response(line: bytes, *, initial: bool = False) -> bytes:
    """
    Decode a response, strictly.

    Args:
        line: Without its CRLF.
        initial: It stands in the command itself, where "=" is one of no octets; RFC 4954
            section 4, RFC 5034 section 4.

    Raises:
        NotBase64: It is none.
    """
    if initial and line == b"=":
        return b""
    try:
        return a2b_base64(line, strict_mode=True)
    except Base64Error:
        raise NotBase64 from None


@dataclass(frozen=True, slots=True)
class Attempt:
    """
    What all ways to log in need.

    Args:
        portal: Lets users in.
        client: Who comes.
        channel: How.
        interface: What its avatar is to provide.
        scope: The front end.
    """

    portal: Portal
    client: Client
    channel: Channel
    interface: type[Interface]
    scope: Scope

    async def enter(self, credentials: ICredentials) -> LoggedIn:
        """Go in; raises what the checker and the realm do."""
        _, avatar, logout = await self.portal.login(credentials, self.client, self.interface)
        return LoggedIn(avatar, logout)

    async def say(self, username: bytes, password: bytes) -> LoggedIn:
        """Go in with a password."""
        return await self.enter(ClientPassword(username, password, self.client, self.scope))


class Exchange(Protocol):
    """What a mechanism says: ``IExchange``, but that nobody else hears of it."""

    user: bytes
    """Who logs in, as the account is looked for; empty: not said yet."""
    prompt: bytes

    async def step(self, response: bytes) -> Challenge | LoggedIn:
        """Take the client's next response."""


class PlainExchange:
    """``authzid NUL authcid NUL password``; RFC 4616 section 2."""

    prompt = b""

    def __init__(self, attempt: Attempt) -> None:
        self._attempt = attempt
        self.user = b""

    async def step(self, response: bytes) -> Challenge | LoggedIn:
        """Take the one response."""
        parts = response.split(b"\0")
        if len(parts) != _PLAIN_PARTS:
            raise BadResponse
        authzid, self.user, password = parts
        # Nobody may act for somebody else.
        if authzid not in {b"", self.user}:
            raise WrongPassword
        return await self._attempt.say(self.user, password)


class LoginExchange:
    """Name, then password; draft-murchison-sasl-login-00."""

    prompt = b"Username:"

    def __init__(self, attempt: Attempt) -> None:
        self._attempt = attempt
        self._named = False
        self.user = b""

    async def step(self, response: bytes) -> Challenge | LoggedIn:
        """Take the name, then the password."""
        if self._named:
            return await self._attempt.say(self.user, response)
        self.user, self._named = response, True
        return Challenge(b"Password:")


class ScramExchange:
    """
    SCRAM-SHA-256, with channel binding or without; RFC 5802 section 5.

    Three steps: the client's first message, its proof, and its empty response to ours. It
    comes in with the last one, so that nothing is held by who does not finish. A failure
    ends it without ``server-final-message``, as section 7 allows.

    Args:
        attempt: Who comes, how and for what.
        book: Finds keys.
        plus: With channel binding.
    """

    prompt = b""

    def __init__(self, attempt: Attempt, book: "KeyBook", *, plus: bool) -> None:
        self._attempt = attempt
        self._book = book
        self._plus = plus
        self._asked: tuple[scram.ServerFirst, Page] | None = None
        self._proven: AccountId | None = None
        self.user = b""

    async def step(self, response: bytes) -> Challenge | LoggedIn:
        """Take the next of three responses."""
        if self._proven is not None:
            return await self._finish(response)
        if self._asked is not None:
            return self._check(*self._asked, scram.read_final(response))
        return await self._begin(scram.read_first(response))

    async def _begin(self, first: scram.ClientFirst) -> Challenge:
        client, channel = self._attempt.client, self._attempt.channel
        self.user = prepare_octets(first.name.encode())
        try:
            bound = scram.bound_to(first, channel.bindings, plus=self._plus)
        except ChannelBindingFailed:
            self._book.guard.failed(client, None)
            raise
        # Nobody may act for somebody else.
        if first.authzid not in {"", first.name}:
            raise WrongPassword
        page = await self._book.open(client, self.user, self._attempt.scope)
        asked = scram.ServerFirst(first, page.keys[0], bound, scram.make_nonce())
        self._asked = (asked, page)
        return Challenge(asked.message)

    def _check(self, asked: scram.ServerFirst, page: "Page", final: scram.ClientFinal) -> Challenge:
        client, guard = self._attempt.client, self._book.guard
        # Others may have failed meanwhile: no crowd gets more tries than one.
        guard.admit(client, page.name.key)
        try:
            ours = asked.answer(final, page.keys[1:])
        except LoginFailed:
            guard.failed(client, page.name.key)
            raise
        if ours is None or page.account is None:
            guard.failed(client, page.name.key)
            raise WrongPassword
        guard.passed(client, page.name.key)
        self._proven = page.account.id
        return Challenge(ours)

    async def _finish(self, response: bytes) -> LoggedIn:
        if response or self._proven is None:
            raise BadResponse
        return await self._attempt.enter(Proven(self._proven))


@dataclass(frozen=True, slots=True)
class Page:
    """
    What SCRAM needs of one user.

    Args:
        name: As it was read.
        account: None: nobody has that name.
        keys: At least one; the first one's salt is told.
    """

    name: LoginName
    account: Account | None
    keys: tuple[scram.ScramKeys, ...]


class KeyBook:
    """
    The SCRAM keys of everybody, also of those who do not exist.

    Args:
        directory: Where accounts are found.
        guard: Holds up those who guess.
        iterations: Rounds of the keys of those who have none.
        secret: Makes them.
    """

    def __init__(
        self,
        directory: IDirectory,
        guard: LoginGuard,
        iterations: int,
        secret: Callable[[], bytes],
    ) -> None:
        self.guard = guard
        self._directory = directory
        self.iterations = iterations
        """Rounds of the keys of those who have none."""
        self._secret = secret

    async def open(self, client: Client, username: bytes, scope: Scope) -> Page:
        """
        Find the keys of a user.

        Raises:
            HeldUp: Too many logins have failed.
        """
        name = await read_name(self._directory, username)
        self.guard.admit(client, name.key)
        account = await find_user(self._directory, name, fresh=True)
        verifiers = () if account is None else account.verifiers_for(scope)
        read = (scram.read_keys(one.scram or "") for one in verifiers)
        keys = tuple(one for one in read if one is not None)
        # Whoever has none gets the same question as all others, and fails at the proof.
        fake = scram.fake_keys(name.key.encode(), self.iterations, self._secret())
        return Page(name, account if keys else None, keys or (fake,))

    async def whose(self, username: bytes) -> tuple[str, AccountId | None]:
        """Tell whose a name is, in full, and the account, for what is taken down of a failure."""
        name = await read_name(self._directory, username)
        if name.address is None:
            return legible(username), None
        account = await find_user(self._directory, name)
        whole = shown(str(name.address if account is None else account.address))
        return whole, None if account is None else account.id
