"""Connect to another server: the first of its addresses that answers, with TLS as asked for."""

import os
from collections.abc import Callable, Sequence
from ipaddress import ip_address
from typing import Any, NamedTuple, cast

from OpenSSL import SSL
from twisted.internet.endpoints import TCP4ClientEndpoint, TCP6ClientEndpoint
from twisted.internet.interfaces import (
    IAddress,
    IHandshakeListener,
    IOpenSSLClientConnectionCreator,
)
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.internet.ssl import optionsForClientTLS
from twisted.python.failure import Failure
from zope.interface import implementer

from mailsvc.config.settings import OutboundSettings, TlsPolicy
from mailsvc.model.status import Status
from mailsvc.outbound.answers import LONGEST_LINE
from mailsvc.outbound.client import Broken, Conversation, Patience
from mailsvc.outbound.hops import Hop, NoHop, Resolver
from mailsvc.outbound.ways import Way, find_servers
from mailsvc.wire.dialogue import Dialogue
from mailsvc.wire.prompt import PromptConnecting
from mailsvc.wire.transport import set_no_delay

_IN_BETWEEN = Status(4, 7, 0)
_LOOPS = Status(5, 4, 6)
_NO_NAME = Status(4, 7, 5)
_NO_TLS = Status(5, 7, 10)
_NO_PROMISE = Status(5, 7, 30)
_NOT_SECRET = {_NO_TLS, _NO_PROMISE}
"""
What sends mail with REQUIRETLS back.

Deviates from RFC 8689 section 4.2.1: a certificate that is not good may be renewed tomorrow, so
such mail waits as any other, and its sender hears of the delay.
"""
_LOOP = "this is a loop: the server is this one"


class Unreachable(Exception):
    """
    Nobody takes mail on this way now.

    Args:
        text: Why, in one line.
        status: RFC 3463; permanent, or worth another try.
        host: The server that was tried last; empty: none.
        conversation: What was said with it.
    """

    def __init__(self, text: str, status: Status, host: str = "", conversation: str = "") -> None:
        super().__init__(text)
        self.status = status
        self.host = host
        self.conversation = conversation


class Connected(NamedTuple):
    """A server that listens to us."""

    conversation: Conversation
    host: str
    cipher: str


@implementer(IHandshakeListener)
class _Line(Protocol):
    """Feeds a dialogue."""

    def __init__(self, clock: Any) -> None:
        self._clock = clock
        self.ours = False
        """Whether both ends have the same address."""
        self.port = 0
        self.dialogue: Dialogue

    def connectionMade(self) -> None:
        """Begin."""
        transport: Any = self.transport
        set_no_delay(transport)
        self.port = transport.getPeer().port
        self.ours = transport.getHost().host == transport.getPeer().host
        self.dialogue = Dialogue(transport, self._clock, LONGEST_LINE)

    def dataReceived(self, data: bytes) -> None:
        """Pass it on."""
        self.dialogue.received(data)

    def handshakeCompleted(self) -> None:
        """Pass it on."""
        self.dialogue.handshaken()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Pass it on."""
        self.dialogue.lost(reason)


class _Lines(Factory[_Line]):
    """Makes one."""

    noisy = False

    def __init__(self, clock: Any) -> None:
        self._clock = clock

    def buildProtocol(self, addr: IAddress | None) -> _Line:
        """Make what feeds the dialogue."""
        del addr
        return _Line(self._clock)


@implementer(IOpenSSLClientConnectionCreator)
class _AnyCertificate:
    """TLS that is better than none: whoever listens hears nothing, whoever pretends may."""

    def __init__(self, host: str) -> None:
        self._host = host

    def clientConnectionForTLS(self, tlsProtocol: object) -> SSL.Connection:  # noqa: N803 - Twisted's
        """Make the client's side."""
        del tlsProtocol
        context = SSL.Context(SSL.TLS_CLIENT_METHOD)
        context.set_min_proto_version(SSL.TLS1_2_VERSION)
        connection = SSL.Connection(context, None)
        if not _is_ip(self._host):
            connection.set_tlsext_host_name(self._host.encode("ascii", "ignore"))
        return connection


class Connector:
    """
    Opens connections.

    Args:
        reactor: Twisted's.
        resolver: Gives what asks DNS.
        hostname: Tells our name.
        is_ours: Whether one of our own listeners for mail has a port.
    """

    def __init__(
        self,
        reactor: Any,
        resolver: Callable[[], Resolver],
        hostname: Callable[[], str],
        is_ours: Callable[[int], bool],
    ) -> None:
        self._reactor = reactor
        self._resolver = resolver
        self._hostname = hostname
        self._is_ours = is_ours

    async def connect(self, way: Way, settings: OutboundSettings) -> Connected:
        """
        Find the first server of a way that takes mail; greeted, and logged in where asked for.

        Raises:
            Unreachable: There is none.
        """
        try:
            hops = await find_servers(self._resolver(), way)
        except NoHop as error:
            raise Unreachable(str(error), error.status) from None
        troubles: list[Unreachable] = []
        for hop in hops:
            try:
                return await self._reach(way, hop, settings)
            except Unreachable as error:
                troubles.append(error)
        raise _worst(troubles)

    async def _reach(self, way: Way, hop: Hop, settings: OutboundSettings) -> Connected:
        """Try the addresses of one server, until one answers; what it lacks, all of them lack."""
        troubles: list[Unreachable] = []
        for address in hop.addresses:
            try:
                return await self._try(way, hop, address, settings)
            except Unreachable as error:
                if error.status in _NOT_SECRET:
                    raise
                troubles.append(error)
        raise troubles[0]

    async def _try(self, way: Way, hop: Hop, address: str, settings: OutboundSettings) -> Connected:
        try:
            return await self._talk(way, hop, address, settings, tls=way.tls)
        except _NoTls:
            # It offers TLS and cannot do it: without is better than never.
            return await self._talk(way, hop, address, settings, tls=TlsPolicy.NONE)

    async def _talk(
        self, way: Way, hop: Hop, address: str, settings: OutboundSettings, *, tls: TlsPolicy
    ) -> Connected:
        line = await self._open(hop, address, settings.connect_timeout)
        talk = Conversation(line.dialogue, self._hostname(), _patience(settings))
        if line.ours and self._is_ours(line.port):
            talk.abort()
            raise Unreachable(f"{hop.host}: {_LOOP}", _LOOPS, hop.host)
        try:
            cipher = await self._agree(way, hop, talk, tls)
            if way.require_tls:
                await _check_promise(talk)
            if way.login is not None:
                await talk.log_in(*way.login)
        except Broken as error:
            # Nothing was said of any message: that of a wrong login, or of a name server that
            # points elsewhere for an hour, must not send all mail back.
            final = {_LOOPS} | (_NOT_SECRET if way.require_tls else set())
            status = error.status if error.status in final else error.status._replace(kind=4)
            raise Unreachable(
                f"{hop.host}: {error}", status, hop.host, str(talk.transcript)
            ) from None
        return Connected(talk, hop.host, cipher)

    async def _open(self, hop: Hop, address: str, timeout: float) -> _Line:
        kind = TCP6ClientEndpoint if ":" in address else TCP4ClientEndpoint
        way: Any = PromptConnecting(self._reactor)
        endpoint = kind(way, address, hop.port, timeout=timeout)
        try:
            line = cast("_Line", await endpoint.connect(_Lines(self._reactor)))
        except Exception as error:  # noqa: BLE001 - Twisted and systems have many
            where = f"{hop.host} ({address} port {hop.port})"
            raise Unreachable(
                f"{where} cannot be reached: {_reason(error)}", Status(4, 4, 1), hop.host
            ) from None
        return line

    async def _agree(self, way: Way, hop: Hop, talk: Conversation, tls: TlsPolicy) -> str:
        """Greet, with as much TLS as there must be; gives the cipher."""
        if way.route is not None and way.route.implicit:
            cipher = await talk.begin_tls(_creator(talk, hop.host, tls))
            await talk.greet()
            return cipher
        await talk.greet()
        self._cut_loop(way, talk)
        if tls is TlsPolicy.NONE:
            return ""
        if "STARTTLS" not in talk.extensions:
            if tls is TlsPolicy.OPPORTUNISTIC:
                return ""
            talk.abort()
            status = _NO_TLS if way.require_tls else Status(4, 7, 4)
            raise Broken("the server offers no TLS, and it must have it", status)
        try:
            return await talk.start_tls(_creator(talk, hop.host, tls))
        except Broken as error:
            # What was said behind STARTTLS is no failure of TLS: somebody may be in between.
            if tls is TlsPolicy.OPPORTUNISTIC and error.status != _IN_BETWEEN:
                raise _NoTls from None
            raise

    def _cut_loop(self, way: Way, talk: Conversation) -> None:
        """Whoever has our name is us, unless an administrator has sent us there."""
        if way.route is None and talk.server.lower() == self._hostname().lower():
            talk.abort()
            raise Broken(_LOOP, _LOOPS)


async def _check_promise(talk: Conversation) -> None:
    """Part from a server that may pass on in clear; RFC 8689 section 4.2.1."""
    if "REQUIRETLS" not in talk.extensions:
        await talk.quit()
        raise Broken("the server does not promise to keep to TLS (RFC 8689)", _NO_PROMISE)


class _NoTls(Exception):
    """TLS was offered and did not work."""


def _creator(talk: Conversation, host: str, tls: TlsPolicy) -> object:
    if tls is not TlsPolicy.VERIFIED:
        return _AnyCertificate(host)
    try:
        return optionsForClientTLS(host)
    except ValueError:
        # DNS allows names that IDNA does not, such as mx_1.example.com.
        talk.abort()
        raise Broken("the server has a name that no certificate is for", _NO_NAME) from None


def _patience(settings: OutboundSettings) -> Patience:
    return Patience(
        greeting=settings.command_timeout,
        command=settings.command_timeout,
        block=settings.command_timeout,
        end=settings.end_timeout,
    )


def _reason(error: Exception) -> str:
    number = getattr(error, "osError", None)
    if isinstance(number, int):
        return os.strerror(number)
    return str(error) or type(error).__name__


def _worst(troubles: Sequence[Unreachable]) -> Unreachable:
    """Choose what is told: what passes, when anything does, and the nearest server first."""
    return next((one for one in troubles if not one.status.permanent), troubles[0])


def _is_ip(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True
