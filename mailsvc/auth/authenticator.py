"""All ways to log in as one thing, and what is taken down of each login."""

from collections.abc import Callable, Mapping, Sequence

from twisted.cred.portal import Portal
from twisted.internet.defer import CancelledError
from twisted.logger import Logger
from zope.interface import Interface, implementer

from mailsvc.auth.sasl import (
    LONGEST_NAME,
    Attempt,
    Exchange,
    KeyBook,
    LoginExchange,
    PlainExchange,
    ScramExchange,
)
from mailsvc.errors import BadResponse, MailError, StorageFailed
from mailsvc.interfaces import IAuthenticator, IExchange
from mailsvc.model.account import Scope
from mailsvc.model.channel import Channel
from mailsvc.model.envelope import Client
from mailsvc.model.ids import AccountId
from mailsvc.model.legible import legible
from mailsvc.model.login import Challenge, LoggedIn
from mailsvc.model.story import Happening, Tell, untold


@implementer(IExchange)
class ToldExchange:
    """
    A login that is taken down, whether it succeeds or fails.

    Args:
        exchange: Does it.
        attempt: Who comes, how and for what.
        called: What it is taken down as.
        book: Knows whose a name is.
        tell: Takes it down.
    """

    _log = Logger()

    def __init__(
        self, exchange: Exchange, attempt: Attempt, called: str, book: KeyBook, tell: Tell
    ) -> None:
        self._exchange = exchange
        self._client = attempt.client
        self._how = f"{attempt.scope.value} {called}"
        self._book = book
        self._tell = tell
        self.who = ""

    @property
    def prompt(self) -> bytes:
        """The challenge for a client that sends no first response."""
        return self._exchange.prompt

    async def step(self, response: bytes) -> Challenge | LoggedIn:
        """Take the client's next response."""
        try:
            done = await self._exchange.step(response)
        except BadResponse:
            raise
        except MailError as error:
            account = await self._find_out(error)
            self._note("login failed", account, str(error.status), f"{self._how}: {error}")
            raise
        if isinstance(done, LoggedIn):
            owner = getattr(done.avatar, "account", None)  # avatars of others may have none
            self.who = str(owner.address) if owner is not None else legible(self._exchange.user)
            self._note("login", None if owner is None else owner.id, "", self._how)
        return done

    async def _find_out(self, error: MailError) -> AccountId | None:
        """Find whom a failed login is about; a database that is gone is not asked again."""
        username = self._exchange.user
        self.who = legible(username)
        account: AccountId | None = None
        if isinstance(error, StorageFailed):
            return None
        try:
            self.who, account = await self._book.whose(username)
        except CancelledError:
            raise  # the service ends
        except MailError:
            pass
        except Exception:  # noqa: BLE001 - logged; the client hears why its login failed, not this
            self._log.failure("nobody knows whose a failed login was")
        return account

    def _note(self, event: str, account: AccountId | None, status: str, detail: str) -> None:
        who = self.who[:LONGEST_NAME]
        self._tell(
            Happening(event, self._client.ip, account, sender=who, status=status, detail=detail)
        )


@implementer(IAuthenticator)
class Authenticator:
    """
    All ways to log in, strongest first.

    Args:
        portal: Lets users in; takes ``ClientPassword`` and ``Proven``.
        book: Finds SCRAM keys.
        scopes: The front end behind each interface of an avatar.
        tell: Takes down who logs in, and who fails.
    """

    def __init__(
        self,
        portal: Portal,
        book: KeyBook,
        scopes: Mapping[type[Interface], Scope],
        tell: Tell = untold,
    ) -> None:
        self._portal = portal
        self._tell = tell
        self._book = book
        self._scopes = scopes
        self._makers: dict[str, Callable[[Attempt], Exchange]] = {
            "SCRAM-SHA-256-PLUS": lambda attempt: ScramExchange(attempt, book, plus=True),
            "SCRAM-SHA-256": lambda attempt: ScramExchange(attempt, book, plus=False),
            "PLAIN": PlainExchange,
            "LOGIN": LoginExchange,
        }

    def mechanisms(self, channel: Channel) -> Sequence[str]:
        """Name them; those with channel binding need a channel that has some."""
        return [name for name in self._makers if channel.bindings or not name.endswith("-PLUS")]

    def begin(
        self,
        mechanism: str,
        client: Client,
        channel: Channel,
        interface: type[Interface],
        called: str = "",
    ) -> IExchange | None:
        """Begin a login."""
        if mechanism not in self.mechanisms(channel):
            return None
        scope = self._scopes[interface]
        attempt = Attempt(self._portal, client, channel, interface, scope)
        exchange = self._makers[mechanism](attempt)
        return ToldExchange(exchange, attempt, called or mechanism, self._book, self._tell)
