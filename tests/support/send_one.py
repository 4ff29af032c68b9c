"""Send one message with our client to a real server: ``send_one PORT TLS FILE RECIPIENT...``."""

import json
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from OpenSSL import SSL
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint, connectProtocol
from twisted.internet.interfaces import IHandshakeListener, IOpenSSLClientConnectionCreator
from twisted.internet.protocol import Protocol, connectionDone
from twisted.internet.task import react
from twisted.python.failure import Failure
from zope.interface import implementer

from mailsvc.model.address import parse_address
from mailsvc.model.outgoing import Outgoing, OutgoingRecipient
from mailsvc.outbound.answers import LONGEST_LINE
from mailsvc.outbound.client import Conversation
from mailsvc.wire.dialogue import Dialogue


@implementer(IHandshakeListener)
class _Connection(Protocol):
    """Feeds a dialogue."""

    def __init__(self, clock: Any) -> None:
        self._clock = clock

    def connectionMade(self) -> None:
        """Begin."""
        transport: Any = self.transport
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


@implementer(IOpenSSLClientConnectionCreator)
class _AnyCertificate:
    """Opportunistic TLS."""

    def clientConnectionForTLS(self, tlsProtocol: object) -> SSL.Connection:  # noqa: N803 - Twisted's
        """Make the client's side."""
        del tlsProtocol
        return SSL.Connection(SSL.Context(SSL.TLS_CLIENT_METHOD), None)


async def _send(reactor: Any, port: int, content: bytes, names: list[str], *, tls: bool) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        for start in range(0, len(content), 65_536):
            yield content[start : start + 65_536]

    endpoint = TCP4ClientEndpoint(reactor, "127.0.0.1", port)
    connection = await connectProtocol(endpoint, _Connection(reactor))
    talk = Conversation(connection.dialogue, "client.example")
    await talk.greet()
    cipher = await talk.start_tls(_AnyCertificate()) if tls else ""
    recipients = tuple(OutgoingRecipient(parse_address(name, utf8=True)) for name in names)
    mail = Outgoing(
        sender=parse_address("x@client.example"), recipients=recipients, octets=len(content)
    )
    fates = await talk.send(mail, pieces)
    await talk.quit()
    told = [[one.outcome.value, str(one.status), one.text] for one in fates]
    sys.stdout.write(json.dumps({"cipher": cipher, "fates": told, "said": str(talk.transcript)}))


def main() -> None:
    """Do it."""
    port, tls, path, *names = sys.argv[1:]
    content = Path(path).read_bytes()

    def begin(reactor: Any) -> Deferred[None]:
        work = _send(reactor, int(port), content, names, tls=tls == "tls")
        return Deferred.fromCoroutine(work)

    react(begin)


if __name__ == "__main__":
    main()
