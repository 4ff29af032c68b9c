"""
What happens on a connection before its greeting: the PROXY header, then TLS.

In this order, for a proxy speaks first and in the clear, whatever its client speaks.
"""

from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Protocol

from OpenSSL import SSL
from twisted.logger import Logger

from mailsvc.config.settings import Networks, Tls
from mailsvc.model.channel import Channel
from mailsvc.model.envelope import Client
from mailsvc.wire.certificates import tls_reason
from mailsvc.wire.dialogue import Dialogue
from mailsvc.wire.interruptions import HungUp, Stopping, TimedOut
from mailsvc.wire.proxy import BadHeader, parse_header
from mailsvc.wire.transport import TcpTransport, client_of

_log = Logger()


class ServerConnections(Protocol):
    """What makes the server's side of TLS connections: ``Certificates``."""

    def serverConnectionForTLS(self, protocol: object) -> object:
        """Make one; Twisted's IOpenSSLServerConnectionCreator."""


@dataclass(frozen=True)
class Entrance:
    """
    What all connections of one listener pass.

    Args:
        tls: When TLS begins.
        certificates: For TLS; None: there is none.
        proxies: Connections from here begin with a PROXY header, others have none.
        handshake_timeout: Seconds for the header, and seconds for TLS.
    """

    tls: Tls = Tls.NONE
    certificates: ServerConnections | None = None
    proxies: Networks = ()
    handshake_timeout: float = 30.0

    @property
    def offers_tls(self) -> bool:
        """Whether a client may ask for TLS: STARTTLS, STLS."""
        return self.tls is Tls.STARTTLS and self.certificates is not None


OPEN = Entrance()
"""No TLS and no proxies."""


async def enter(
    dialogue: Dialogue,
    transport: TcpTransport,
    entrance: Entrance,
    admit: Callable[[Client], bytes] = lambda _: b"",
) -> Client:
    """
    Do what comes before the greeting.

    Afterwards ``dialogue.channel`` tells whether there is TLS.

    Args:
        dialogue: The connection.
        transport: The same, for its address.
        entrance: Of its listener.
        admit: Asked as soon as the client is known, for TLS costs much; gives the last words
            for one that cannot stay, and none for one that can.

    Returns:
        The client, as its proxy names it where there is one.

    Raises:
        HungUp: It was not done, and the connection is closed; the log says why.
    """
    client, rest = client_of(transport.getPeer()), b""
    if entrance.proxies and _is_within(client, entrance.proxies):
        client, rest = await _read_header(dialogue, client, entrance.handshake_timeout)
    words = admit(client)
    if words:
        _turn_away(dialogue, entrance, words)
        raise HungUp
    if entrance.tls is Tls.IMPLICIT:
        await switch_to_tls(dialogue, client, entrance, rest)
    else:
        dialogue.give_back(rest)
    return client


async def switch_to_tls(
    dialogue: Dialogue, client: Client, entrance: Entrance, ciphertext: bytes = b""
) -> Channel:
    """
    Agree on TLS with the client; for STARTTLS and STLS say yes before.

    Args:
        dialogue: The connection.
        client: Who is there, for the log.
        entrance: Of its listener.
        ciphertext: What the client has sent already and belongs to TLS.

    Raises:
        HungUp: There is no TLS, and the connection is closed; the log says why.
    """
    try:
        return await dialogue.start_tls(
            entrance.certificates, entrance.handshake_timeout, ciphertext
        )
    except (HungUp, TimedOut, Stopping) as error:
        why = _reason(dialogue, error)
        _log.info("no TLS with {client}: {why}", client=client.ip, why=why)
        dialogue.abort()
        raise HungUp from None


def _turn_away(dialogue: Dialogue, entrance: Entrance, words: bytes) -> None:
    if entrance.tls is Tls.IMPLICIT:
        dialogue.abort()  # without TLS it would not understand us
    else:
        dialogue.write(words)
        dialogue.close()


async def _read_header(dialogue: Dialogue, peer: Client, timeout: float) -> tuple[Client, bytes]:
    """Read the header; give the client and what came behind the header."""
    held, until = b"", dialogue.seconds() + timeout
    try:
        while (header := parse_header(held)) is None:
            held += await dialogue.octets(until - dialogue.seconds())
    except (BadHeader, HungUp, TimedOut, Stopping) as error:
        why = _reason(dialogue, error)
        _log.info("no PROXY header from {peer}: {why}", peer=peer.ip, why=why)
        dialogue.abort()
        raise HungUp from None
    return header.client or peer, held[header.octets :]


def _reason(dialogue: Dialogue, error: Exception) -> str:
    if isinstance(error, TimedOut):
        return "it took too long"
    if isinstance(error, Stopping):
        return "the service stops"
    if isinstance(dialogue.fault, SSL.Error):
        return tls_reason(dialogue.fault)
    return str(error) or "the client hung up"


def _is_within(client: Client, networks: Networks) -> bool:
    try:
        address = ip_address(client.ip)
    except ValueError:
        return False
    return any(address in network for network in networks)
