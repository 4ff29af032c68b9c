"""
The client's side of SMTP; RFC 5321, 1870, 2852, 2920, 3030, 3207, 3461, 4954, 6152 and 6531.

It decides nothing about where and when: a conversation gets a connection and messages, and
tells the fate of each recipient. A reply is only ever taken for the command that it answers:
what a server says before it was asked, or twice, ends the conversation (CVE-2011-0411).
"""

import base64
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import NoReturn

from mailsvc.config.units import KIB
from mailsvc.model.envelope import DeliverBy
from mailsvc.model.outgoing import Answer, Fate, Outcome, Outgoing, OutgoingRecipient
from mailsvc.model.status import Status
from mailsvc.outbound.answers import BadAnswer, read_answer, status_of
from mailsvc.wire.dialogue import Dialogue
from mailsvc.wire.dots import DotWriter
from mailsvc.wire.interruptions import HungUp, Stopping, TimedOut

Pieces = Callable[[], AsyncIterator[bytes]]
"""Gives the content from its start, in pieces of any size; CRLF lines."""
MOST_RECIPIENTS = 100
"""Of one message in one transaction: what every server takes; RFC 5321 section 4.5.3.1.8."""
_MOST_TOLD = 16 * KIB
"""Characters of a conversation that are kept."""
_GO_ON, _CLOSING = 354, 421
"""RFC 5321 sections 4.1.1.4 and 3.8."""
_HIDDEN = "(not shown)"
_LONGEST_TALK = 3600.0
"""Seconds for a message without its octets, up to its final dot."""
_LEAST_RATE = 1024.0
"""Octets a second: who reads on, but more slowly, must let others have the connection."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """Seconds that a server gets to answer; RFC 5321 section 4.5.3.2."""

    greeting: float = 300.0
    command: float = 300.0
    block: float = 180.0
    end: float = 600.0
    tls: float = 60.0


class Broken(Exception):
    """
    The conversation is over before its end.

    Args:
        text: Why, in one line.
        status: What to tell the sender: trying again may help, or is useless.
    """

    def __init__(self, text: str, status: Status = Status(4, 4, 2)) -> None:  # noqa: B008 - immutable
        super().__init__(text)
        self.status = status


@dataclass(slots=True)
class Transcript:
    """What was said, for the administrator; without passwords and content."""

    lines: list[str] = field(default_factory=list)
    _room: int = _MOST_TOLD

    def note(self, mark: str, text: str) -> None:
        """Take a line down; one too many is left out."""
        if self._room > 0:
            self._room -= len(text)
            self.lines.append(f"{mark} {text}")

    def __str__(self) -> str:
        """Give all of it."""
        return "\n".join(self.lines)


class Conversation:
    """
    One connection to another server.

    Args:
        dialogue: The connection, open and silent.
        hostname: Our name.
        patience: How long it gets to answer.
    """

    def __init__(self, dialogue: Dialogue, hostname: str, patience: Patience = Patience()) -> None:
        self._dialogue = dialogue
        self._hostname = hostname
        self._patience = patience
        self.extensions: dict[str, str] = {}
        """What EHLO has offered: the parameters by the keyword in capital letters."""
        self.transcript = Transcript()
        """What was said."""
        self.usable = True
        """Whether another message can be sent."""
        self.server = ""
        """How the server calls itself."""

    async def greet(self) -> None:
        """
        Hear the greeting and say who we are.

        Raises:
            Broken: The server does not want us, or does not answer.
        """
        answer = await self._hear(self._patience.greeting)
        if answer.code != 220:  # noqa: PLR2004 - RFC 5321 section 4.3.2
            self._refused(answer, "greets us with")
        await self._hello()

    async def _hello(self) -> None:
        answer = await self._ask(f"EHLO {self._hostname}")
        self.extensions = {}
        self.server = answer.lines[0].partition(" ")[0]
        if answer.good:
            for line in answer.lines[1:]:
                keyword, _, parameters = line.partition(" ")
                self.extensions[keyword.upper()] = parameters
        elif answer.permanent:
            answer = await self._ask(f"HELO {self._hostname}")
        if not answer.good:
            self._refused(answer, "answers our name with")

    async def start_tls(self, creator: object) -> str:
        """
        Switch to TLS and say again who we are; what the server has said before is forgotten.

        Args:
            creator: Makes the client's side; TWISTED: IOpenSSLClientConnectionCreator.

        Returns:
            The cipher.

        Raises:
            Broken: There is no TLS, and the connection is of no use.
        """
        answer = await self._ask("STARTTLS")
        if answer.code != 220:  # noqa: PLR2004 - RFC 3207 section 4
            self._refused(answer, "answers STARTTLS with")
        if self._dialogue.pending:
            self._give_up("said something behind STARTTLS: somebody may be in between", (4, 7, 0))
        cipher = await self.begin_tls(creator)
        await self._hello()
        return cipher

    async def begin_tls(self, creator: object) -> str:
        """
        Switch to TLS before anything is said; RFC 8314 section 3.3.

        Args:
            creator: As in ``start_tls``.

        Returns:
            The cipher.

        Raises:
            Broken: There is no TLS, and the connection is of no use.
        """
        try:
            channel = await self._dialogue.start_tls(creator, self._patience.tls)
        except (HungUp, TimedOut, Stopping) as error:
            fault = self._dialogue.fault
            why = f"no TLS with the server: {type(error).__name__ if fault is None else fault}"
            self.transcript.note("-", why)
            self.abort()
            raise Broken(why, Status(4, 7, 5)) from None
        self.transcript.note("-", f"TLS: {channel.cipher}")
        return channel.cipher

    async def log_in(self, user: str, password: str) -> None:
        """
        Log in, by AUTH PLAIN or LOGIN; RFC 4954.

        Raises:
            Broken: The server does not take it.
        """
        offered = self.extensions.get("AUTH", "").upper().split()
        if "PLAIN" in offered:
            secret = _base64(f"\0{user}\0{password}")
            answer = await self._ask(f"AUTH PLAIN {secret}", shown=f"AUTH PLAIN {_HIDDEN}")
        elif "LOGIN" in offered:
            answer = await self._ask("AUTH LOGIN")
            for words in (user, password):
                if answer.code == 334:  # noqa: PLR2004 - RFC 4954 section 4
                    answer = await self._ask(_base64(words), shown=_HIDDEN)
        else:
            self._give_up("takes no login that we can say (AUTH PLAIN, AUTH LOGIN)", (4, 7, 4))
        if answer.code != 235:  # noqa: PLR2004 - RFC 4954 section 4
            self._refused(answer, "answers our login with")

    async def send(self, mail: Outgoing, pieces: Pieces) -> tuple[Fate, ...]:
        """
        Hand one message over.

        Args:
            mail: What the server is told of it; ``MOST_RECIPIENTS`` at most.
            pieces: The content.

        Returns:
            The fate of each recipient, in their order.

        Raises:
            Broken: Before the end of the content: no recipient has it.
        """
        trouble = self._cannot_be(mail)
        if trouble is not None:
            return (trouble,) * len(mail.recipients)
        self._dialogue.limit_transaction(_LONGEST_TALK + mail.octets / _LEAST_RATE)
        try:
            return await self._hand_over(mail, pieces)
        finally:
            self._dialogue.limit_transaction(None)

    async def _hand_over(self, mail: Outgoing, pieces: Pieces) -> tuple[Fate, ...]:
        chunking = "CHUNKING" in self.extensions
        commands = [self._mail(mail), *(self._rcpt(one) for one in mail.recipients)]
        answers = await self._ask_all(commands if chunking else [*commands, "DATA"])
        fates = self._fates(mail, answers)
        accepted = [index for index, fate in enumerate(fates) if fate.outcome is Outcome.DONE]
        if chunking:
            if not accepted:
                await self._reset()
                return tuple(fates)
            final = await self._send_chunk(mail, pieces)
        else:
            data = answers[-1]
            if data.code != _GO_ON:
                await self._reset()
                return tuple(_all_as(fates, accepted, _fate(data, 4, 0) if not data.good else None))
            final = await self._send_text(pieces if accepted else _nothing)
        after = _unknown() if final is None else _fate(final, 6, 0)
        if final is not None and final.good:
            by = mail.deliver_by is not None and "DELIVERBY" not in self.extensions
            dsn = "DSN" not in self.extensions
            after = after._replace(relayed_without_dsn=dsn, relayed_without_by=by)
        return tuple(_all_as(fates, accepted, after))

    async def quit(self) -> None:
        """Say good-bye and hang up; whatever the server says to that."""
        try:
            with suppress(Broken):
                await self._ask("QUIT")
        finally:
            self.usable = False
            self._dialogue.close()

    def abort(self) -> None:
        """Hang up at once."""
        self.usable = False
        self._dialogue.abort()

    # What is said.

    def _cannot_be(self, mail: Outgoing) -> Fate | None:
        """Tell why this server cannot have the message; nothing is said to it then."""
        limit = self.extensions.get("SIZE", "").strip()
        if limit.isdigit() and 0 < int(limit[:18]) < mail.octets:
            text = f"The message has {mail.octets} octets, and the server takes {limit}"
            return Fate(Outcome.BOUNCE, Status(5, 3, 4), text)
        if "SMTPUTF8" not in self.extensions and not _is_ascii(mail):
            text = "The server takes no addresses and header fields in UTF-8 (RFC 6531)"
            return Fate(Outcome.BOUNCE, Status(5, 6, 7), text)
        if mail.require_tls and "REQUIRETLS" not in self.extensions:
            text = "The server does not promise to keep to TLS (RFC 8689)"
            return Fate(Outcome.BOUNCE, Status(5, 7, 30), text)
        if mail.eight_bit and "8BITMIME" not in self.extensions:
            text = "The server takes no messages with 8-bit content (RFC 6152)"
            return Fate(Outcome.BOUNCE, Status(5, 6, 3), text)
        return self._cannot_be_in_time(mail.deliver_by)

    def _cannot_be_in_time(self, deadline: DeliverBy | None) -> Fate | None:
        """Tell why a message must go back rather than come late; RFC 2852 section 4.1."""
        if deadline is None or not deadline.returns:
            return None
        if deadline.until <= datetime.now(UTC):
            return Fate(Outcome.BOUNCE, Status(5, 4, 7), "The time to deliver it is over")
        if "DELIVERBY" not in self.extensions:
            text = "The server does not promise to deliver in time (RFC 2852)"
            return Fate(Outcome.BOUNCE, Status(5, 3, 3), text)
        return None

    def _mail(self, mail: Outgoing) -> str:
        parts = [f"MAIL FROM:<{mail.sender or ''}>"]
        if "SIZE" in self.extensions:
            parts.append(f"SIZE={mail.octets}")
        if mail.eight_bit:
            parts.append("BODY=8BITMIME")
        if not _is_ascii(mail):
            parts.append("SMTPUTF8")
        if mail.require_tls:
            parts.append("REQUIRETLS")
        if mail.deliver_by is not None and "DELIVERBY" in self.extensions:
            parts.append(_by(mail.deliver_by))
        if "DSN" in self.extensions:
            parts += [] if mail.returns is None else [f"RET={mail.returns.value}"]
            parts += [f"ENVID={encode_xtext(mail.identifier)}"] if mail.identifier else []
        return " ".join(parts)

    def _rcpt(self, recipient: OutgoingRecipient) -> str:
        parts = [f"RCPT TO:<{recipient.address}>"]
        if "DSN" in self.extensions:
            if recipient.notify:
                parts.append(f"NOTIFY={','.join(sorted(recipient.notify))}")
            kind, semicolon, original = recipient.original.partition(";")
            if semicolon and kind.replace("-", "").isalnum() and original.isascii():
                parts.append(f"ORCPT={kind};{encode_xtext(original)}")
        return " ".join(parts)

    def _fates(self, mail: Outgoing, answers: Sequence[Answer]) -> list[Fate]:
        """Judge MAIL and each RCPT; DONE: accepted so far."""
        sender, *others = answers
        if not sender.good:
            return [_fate(sender, 1, 0)] * len(mail.recipients)
        return [_fate_of_recipient(one) for one in others[: len(mail.recipients)]]

    async def _send_text(self, pieces: Callable[[], AsyncIterator[bytes]]) -> Answer | None:
        """Send the content of DATA; None: nobody knows what became of it."""
        writer = DotWriter()
        async for piece in pieces():
            await self._say(writer.feed(piece))
        return await self._end(writer.finish())

    async def _send_chunk(self, mail: Outgoing, pieces: Pieces) -> Answer | None:
        """Send the content in one BDAT; RFC 3030 section 2."""
        command = f"BDAT {mail.octets} LAST"
        self.transcript.note(">", command)
        left = mail.octets
        last = command.encode() + b"\r\n"
        async for piece in pieces():
            left -= len(piece)
            if left < 0:
                break
            await self._say(last)
            last = piece
        if left:
            self._give_up("was promised another size than the message has: this is our fault")
        return await self._end(last)

    async def _say(self, octets: bytes) -> None:
        try:
            await self._dialogue.send(octets, self._patience.block)
        except (HungUp, TimedOut, Stopping) as error:
            self._give_up(f"{_WHY[type(error)]} inside the message")

    async def _end(self, octets: bytes) -> Answer | None:
        """Say the last octets of a message; from then on the server may have it."""
        try:
            await self._dialogue.send(octets, self._patience.block)
            self._dialogue.limit_transaction(None)  # hanging up now would send it twice
            answer = await read_answer(self._dialogue, self._patience.end)
        except (HungUp, TimedOut, Stopping, BadAnswer) as error:
            self.transcript.note("-", f"after the end of the message: {_why(error)}")
            self.abort()
            return None
        self.transcript.note("<", str(answer))
        if answer.code == _CLOSING:
            self.abort()
        return answer

    async def _reset(self) -> None:
        """Forget a transaction that came to nothing; whether that works, the next one sees."""
        with suppress(Broken):
            await self._ask("RSET")

    async def _ask_all(self, commands: Sequence[str]) -> list[Answer]:
        """Ask together where the server allows it; RFC 2920."""
        if "PIPELINING" not in self.extensions:
            return await self._ask_in_turn(commands)
        for command in commands:
            self._tell(command)
        return [await self._hear(self._patience.command) for _ in commands]

    async def _ask_in_turn(self, commands: Sequence[str]) -> list[Answer]:
        """Ask one after the other; when nobody is left to get it, DATA is not asked for."""
        answers: list[Answer] = []
        for command in commands:
            none_left = not any(one.good for one in answers[1:])
            if (command == "DATA" and none_left) or (answers and not answers[0].good):
                answers.append(answers[-1])
            else:
                answers.append(await self._ask(command))
        return answers

    async def _ask(self, command: str, shown: str = "") -> Answer:
        self._tell(command, shown)
        return await self._hear(self._patience.command)

    def _tell(self, command: str, shown: str = "") -> None:
        self.transcript.note(">", shown or command)
        self._dialogue.write(command.encode() + b"\r\n")

    async def _hear(self, patience: float) -> Answer:
        try:
            answer = await read_answer(self._dialogue, patience)
        except (HungUp, TimedOut, Stopping, BadAnswer) as error:
            self._give_up(_why(error))
        self.transcript.note("<", str(answer))
        if answer.code == _CLOSING:
            self._give_up(f"closes the connection: {answer}", status_of(answer, 3, 2))
        return answer

    def _refused(self, answer: Answer, what: str) -> NoReturn:
        kind = 5 if answer.permanent else 4
        status = status_of(answer, 3, 0) if not answer.good else Status(4, 5, 0)
        self._give_up(f"{what} {answer}", status._replace(kind=kind))

    def _give_up(self, why: str, status: tuple[int, int, int] = (4, 4, 2)) -> NoReturn:
        self.transcript.note("-", why)
        self.abort()
        raise Broken(f"the server {why}", Status(*status))


_WHY = {
    HungUp: "closed the connection",
    TimedOut: "did not answer in time",
    Stopping: "was left, for this service stops",
}


def _why(error: Exception) -> str:
    return _WHY.get(type(error)) or f"answers what cannot be read: {error}"


def _by(deadline: DeliverBy) -> str:
    """Write what is left of the time; RFC 2852 section 4.1.4."""
    seconds = int((deadline.until - datetime.now(UTC)).total_seconds())
    # Section 4: with R it is 1 at least; the server sends it back then.
    return f"BY={max(seconds, 1) if deadline.returns else seconds};{deadline.mode}"


def _is_ascii(mail: Outgoing) -> bool:
    """Tell whether a server can have a message that knows nothing of RFC 6531."""
    addresses = (mail.sender or "", *(one.address for one in mail.recipients))
    return not mail.utf8 and all(str(one).isascii() for one in addresses)


def _fate(answer: Answer, subject: int, detail: int) -> Fate:
    """Judge an answer about a recipient or a message."""
    outcome = Outcome.BOUNCE if answer.permanent else Outcome.LATER
    status = status_of(answer, subject, detail)
    if answer.good:
        outcome = Outcome.DONE
    return Fate(outcome, status, str(answer))


def _fate_of_recipient(answer: Answer) -> Fate:
    if answer.code == 552:  # noqa: PLR2004 - RFC 5321 section 4.5.3.1.10: too many of them
        return Fate(Outcome.LATER, Status(4, 5, 3), str(answer))
    return _fate(answer, 1, 0)


def _unknown() -> Fate:
    text = "The server had the whole message and did not answer; it may have it"
    return Fate(Outcome.UNKNOWN, Status(4, 4, 2), text)


def _all_as(fates: list[Fate], which: Sequence[int], fate: Fate | None) -> list[Fate]:
    """Give what was accepted so far one fate; None: the server has broken its rules."""
    text = "The server took the recipients, and then no message"
    odd = Fate(Outcome.LATER, Status(4, 5, 0), text)
    return [(fate or odd) if index in which else one for index, one in enumerate(fates)]


async def _nothing() -> AsyncIterator[bytes]:
    """Give an empty message: a server that asks for one nobody gets; RFC 2920 section 3.1."""
    nothing: tuple[bytes, ...] = ()
    for piece in nothing:
        yield piece


def _base64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def encode_xtext(text: str) -> str:
    """Write what a parameter cannot hold as it stands; RFC 3461 section 4."""
    return "".join(
        one if "!" <= one <= "~" and one not in "+=" else f"+{ord(one):02X}" for one in text
    )
