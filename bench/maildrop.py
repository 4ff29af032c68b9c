"""Read whole maildrops over POP3, to see what a server really holds."""

from collections.abc import Iterator, Sequence

from bench import pop3_talk
from bench.wire import Exchange, Line, Talk

_CLIENTS = 4
_GROUP = 50
"""Messages asked for at once."""


def tokens(port: int, logins: Sequence[tuple[str, str]]) -> list[list[bytes]]:
    """
    Name the messages in each maildrop, each read and compared whole.

    Args:
        port: The POP3 server's, on 127.0.0.1.
        logins: Address and password of each maildrop.

    Raises:
        Damaged: A message is not what was sent.
        Unexpected: The server refused something.
    """
    found: list[list[bytes]] = [[] for _ in logins]
    left = iter(range(len(logins)))
    exchange = Exchange(port)
    lines = [Line(exchange) for _ in range(_CLIENTS)]
    exchange.converse((line, _read(line, logins, left, found)) for line in lines)
    return found


def _read(
    line: Line, logins: Sequence[tuple[str, str]], left: Iterator[int], found: list[list[bytes]]
) -> Talk[None]:
    for number in left:
        yield from pop3_talk.arrive(line)
        yield from pop3_talk.log_in(line, *logins[number])
        messages, _ = yield from pop3_talk.count(line)
        for first in range(1, messages + 1, _GROUP):
            last = min(messages, first + _GROUP - 1)
            group = pop3_talk.retr(first, last)
            heard = yield from pop3_talk.ask(line, group, pop3_talk.answers(last - first + 1))
            found[number] += pop3_talk.tokens(bytes(heard))
        yield from pop3_talk.leave(line)
