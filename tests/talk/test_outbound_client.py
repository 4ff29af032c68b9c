"""Our client against servers that work, refuse, lie, hang and go away."""

import re
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailsvc.model.address import parse_address
from mailsvc.model.envelope import DeliverBy, Notify, Return
from mailsvc.model.outgoing import Fate, Outcome, Outgoing, OutgoingRecipient
from mailsvc.outbound.client import Broken, encode_xtext
from mailsvc.smtp.parameters import decode_xtext
from tests.support.far_server import EVERYTHING, FarServer, pieces_of

CONTENT = b"Subject: dots\r\n\r\n.\r\n..two\r\nmiddle . dot\r\n.end\r\n"


def _mail(content: bytes, *names: str, **more: object) -> Outgoing:
    recipients = tuple(
        OutgoingRecipient(parse_address(f"{name}@far.example", utf8=True))
        for name in names or ("bob",)
    )
    values: dict[str, object] = {
        "sender": parse_address("alice@test.com"),
        "recipients": recipients,
        "octets": len(content),
    }
    return Outgoing(**{**values, **more})  # type: ignore[arg-type]


def _send(server: FarServer, mail: Outgoing, content: bytes = CONTENT) -> tuple[Fate, ...]:
    async def talk() -> tuple[Fate, ...]:
        await server.conversation.greet()
        return await server.conversation.send(mail, pieces_of(content))

    return server.run(talk())


def _outcomes(fates: tuple[Fate, ...]) -> list[str]:
    return [fate.outcome.value for fate in fates]


@given(
    st.lists(st.sampled_from([b".", b"..", b"", b"a", b"\r\n", b".a", b"x" * 20]), max_size=12),
    st.integers(1, 9),
    st.booleans(),
)
def test_content_arrives_as_it_is(lines: list[bytes], step: int, chunking: object) -> None:
    """Dots at the start of lines and of pieces, by DATA and by BDAT."""
    content = b"".join(line + b"\r\n" for line in lines)
    server = FarServer((*EVERYTHING, "CHUNKING") if chunking else EVERYTHING)

    async def talk() -> tuple[Fate, ...]:
        await server.conversation.greet()
        return await server.conversation.send(_mail(content), pieces_of(content, step))

    assert _outcomes(server.run(talk())) == ["done"]
    assert server.messages == [content]


@given(st.integers(1, 50), st.sampled_from([(), ("PIPELINING",), EVERYTHING]))
def test_any_split_of_the_replies_means_the_same(step: int, extensions: tuple[str, ...]) -> None:
    """Replies come as the network likes."""
    server = FarServer(extensions, {"RCPT TO:<carl": "450 4.2.1 greylisted"}, step)
    fates = _send(server, _mail(CONTENT, "bob", "carl", "dora"))

    assert _outcomes(fates) == ["done", "later", "done"]
    assert server.messages == [CONTENT]


def test_what_the_server_offers_is_used() -> None:
    """SIZE, BODY, DSN; several messages on one connection."""
    server = FarServer()
    bob = OutgoingRecipient(
        parse_address("bob@far.example"),
        frozenset({Notify.FAILURE, Notify.DELAY}),
        "rfc822;Bob+x@old.example",
    )
    mail = _mail(
        CONTENT,
        recipients=(bob,),
        eight_bit=True,
        returns=Return.HEADERS,
        identifier="QQ 1=2",
    )

    async def talk() -> tuple[Fate, ...]:
        await server.conversation.greet()
        first = await server.conversation.send(mail, pieces_of(CONTENT))
        second = await server.conversation.send(_mail(b"x\r\n", sender=None), pieces_of(b"x\r\n"))
        await server.conversation.quit()
        return first + second

    assert _outcomes(server.run(talk())) == ["done", "done"]
    assert server.heard == [
        "EHLO mail.test.com",
        f"MAIL FROM:<alice@test.com> SIZE={len(CONTENT)} BODY=8BITMIME RET=HDRS ENVID=QQ+201+3D2",
        "RCPT TO:<bob@far.example> NOTIFY=DELAY,FAILURE ORCPT=rfc822;Bob+2Bx@old.example",
        "DATA",
        "MAIL FROM:<> SIZE=3",
        "RCPT TO:<bob@far.example>",
        "DATA",
        "QUIT",
    ]
    assert server.messages == [CONTENT, b"x\r\n"]
    assert not server.conversation.usable


@pytest.mark.parametrize(
    ("offers", "seconds", "returns", "outcome", "said"),
    [
        ("DELIVERBY", 100, True, "done", " BY=(9[0-9]|100);RT"),
        ("DELIVERBY", -100, False, "done", " BY=-100;NT"),
        ("DELIVERBY", -1, True, "bounce", None),
        ("HELP", 100, True, "bounce", None),
        ("HELP", 100, False, "done", ""),
    ],
)
def test_a_deadline_is_passed_on_or_sends_mail_back(
    offers: str, seconds: int, returns: object, outcome: str, said: str | None
) -> None:
    """RFC 2852: what is left of it; a server that knows of none gets what may be late."""
    server = FarServer((offers,))
    until = datetime.now(UTC) + timedelta(seconds=seconds)
    [fate] = _send(server, _mail(CONTENT, deliver_by=DeliverBy(until, bool(returns), trace=True)))

    assert fate.outcome.value == outcome
    assert fate.relayed_without_by == (said == "")
    mail = next((one for one in server.heard if one.startswith("MAIL")), None)
    assert (mail is None) == (said is None)
    assert mail is None or re.fullmatch(f"MAIL FROM:<alice@test.com>{said}", mail)


def test_a_server_that_knows_no_ehlo_is_talked_to() -> None:
    """With HELO, and without a single parameter; it will send no reports."""
    server = FarServer(say={"EHLO": "502 what?"})
    fates = _send(server, _mail(CONTENT))

    assert server.heard[1:3] == ["HELO mail.test.com", "MAIL FROM:<alice@test.com>"]
    assert _outcomes(fates) == ["done"]
    assert fates[0].relayed_without_dsn


@pytest.mark.parametrize("pipelining", [True, False])
@pytest.mark.parametrize("chunking", [True, False])
@pytest.mark.parametrize(
    ("say", "outcomes", "statuses"),
    [
        ({"RCPT TO:<bob": "550 5.1.1 who?"}, ["bounce", "done"], ["5.1.1", "2.0.0"]),
        ({"RCPT TO:<bob": "552 too many"}, ["later", "done"], ["4.5.3", "2.0.0"]),
        ({"RCPT": "450 later"}, ["later", "later"], ["4.1.0", "4.1.0"]),
        ({"RCPT": "550 5.7.1 no"}, ["bounce", "bounce"], ["5.7.1", "5.7.1"]),
        ({"MAIL": "451 4.3.0 busy"}, ["later", "later"], ["4.3.0", "4.3.0"]),
        ({"MAIL": "550 no"}, ["bounce", "bounce"], ["5.1.0", "5.1.0"]),
        ({"content": "452 4.3.1 full"}, ["later", "later"], ["4.3.1", "4.3.1"]),
        ({"content": "554 5.6.0 spam"}, ["bounce", "bounce"], ["5.6.0", "5.6.0"]),
        ({"content": "554 4.6.0 odd"}, ["bounce", "bounce"], ["5.6.0", "5.6.0"]),
        ({"content": "cut"}, ["unknown", "unknown"], ["4.4.2", "4.4.2"]),
        ({"content": None}, ["unknown", "unknown"], ["4.4.2", "4.4.2"]),
        ({"content": "what?"}, ["unknown", "unknown"], ["4.4.2", "4.4.2"]),
        ({"content": "421 4.3.2 stop"}, ["later", "later"], ["4.3.2", "4.3.2"]),
    ],
)
def test_each_recipient_has_a_fate(
    say: dict[str, str | None],
    outcomes: list[str],
    statuses: list[str],
    *,
    pipelining: bool,
    chunking: bool,
) -> None:
    """Whatever the server says, and to which command."""
    extensions = ["SIZE"] + ["PIPELINING"] * pipelining + ["CHUNKING"] * chunking
    fates = _send(FarServer(extensions, say), _mail(CONTENT, "bob", "carl"))

    assert _outcomes(fates) == outcomes
    assert [str(fate.status) for fate in fates] == statuses


def test_a_server_that_takes_nobody_and_wants_a_message_gets_an_empty_one() -> None:
    """RFC 2920 section 3.1; the connection is good for the next message."""
    server = FarServer(say={"RCPT TO:<bob": "550 no"})

    async def talk() -> tuple[Fate, ...]:
        await server.conversation.greet()
        first = await server.conversation.send(_mail(CONTENT), pieces_of(CONTENT))
        return first + await server.conversation.send(_mail(CONTENT, "carl"), pieces_of(CONTENT))

    assert _outcomes(server.run(talk())) == ["bounce", "done"]
    assert server.messages == [b"", CONTENT]


@pytest.mark.parametrize(
    ("say", "why", "status"),
    [
        ({"greeting": "554 go away"}, "greets us with 554", "5.3.0"),
        ({"greeting": "421 4.3.2 not now"}, "closes the connection", "4.3.2"),
        ({"greeting": "250 odd"}, "greets us with 250", "4.5.0"),
        ({"greeting": "HTTP/1.1 400 Bad Request"}, "cannot be read", "4.4.2"),
        ({"greeting": None}, "did not answer in time", "4.4.2"),
        ({"greeting": "cut"}, "closed the connection", "4.4.2"),
        ({"EHLO": "451 busy"}, "answers our name with 451", "4.3.0"),
        ({"EHLO": "550 x", "HELO": "550 5.7.1 no"}, "answers our name with 550", "5.7.1"),
        ({"MAIL": "cut"}, "closed the connection", "4.4.2"),
        ({"MAIL": "999 x"}, "cannot be read", "4.4.2"),
        ({"MAIL": "250-x\r\n251 y"}, "cannot be read", "4.4.2"),
        ({"MAIL": "250 " + "x" * 5000}, "cannot be read", "4.4.2"),
        ({"MAIL": "\r\n".join(["250-x"] * 200)}, "more than 128 lines", "4.4.2"),
        ({"RCPT": None}, "did not answer in time", "4.4.2"),
        ({"DATA": "421 shutting down"}, "closes the connection", "4.3.2"),
    ],
)
def test_a_conversation_that_breaks_tells_why(
    say: dict[str, str | None], why: str, status: str
) -> None:
    """Before the end of the message nobody has it."""
    server = FarServer(say=say)
    with pytest.raises(Broken, match=why) as caught:
        _send(server, _mail(CONTENT))

    assert str(caught.value.status) == status
    assert not server.conversation.usable
    assert server.messages == []


@pytest.mark.parametrize(
    ("extensions", "more", "status"),
    [
        (["SIZE 10"], {}, "5.3.4"),
        (["SIZE 0"], {}, "2.0.0"),
        ([], {"eight_bit": True}, "5.6.3"),
        (["8BITMIME"], {"utf8": True}, "5.6.7"),
        ([], {"sender": parse_address("用户@例子.测试", utf8=True)}, "5.6.7"),
        (["SMTPUTF8", "8BITMIME"], {"utf8": True}, "2.0.0"),
    ],
)
def test_what_a_server_cannot_have_is_not_sent(
    extensions: list[str], more: dict[str, object], status: str
) -> None:
    """It is told in words, for a report."""
    server = FarServer(extensions)
    [fate] = _send(server, _mail(CONTENT, **more))

    assert str(fate.status) == status
    assert (fate.outcome is Outcome.BOUNCE) == status.startswith("5")
    assert len(server.heard) == (1 if fate.outcome is Outcome.BOUNCE else 4)


def test_utf8_is_said_where_it_is_needed() -> None:
    """And nowhere else."""
    server = FarServer()
    assert _outcomes(_send(server, _mail(CONTENT, "用户"))) == ["done"]
    assert server.heard[1].endswith("SMTPUTF8")


def test_a_reply_that_nobody_asked_for_is_not_believed() -> None:
    """Behind STARTTLS it may be anybody's: CVE-2011-0411."""
    server = FarServer(("STARTTLS",), {"STARTTLS": "220 go\r\n250 ok\r\n250 ok\r\n354 x\r\n250 y"})

    async def talk() -> None:
        await server.conversation.greet()
        await server.conversation.start_tls(None)

    with pytest.raises(Broken, match="behind STARTTLS"):
        server.run(talk())
    assert server.messages == []


@pytest.mark.parametrize(
    ("offered", "said"),
    [
        ("AUTH LOGIN PLAIN", ["AUTH PLAIN AHVzZXIAc2VjcmV0"]),
        ("AUTH LOGIN", ["AUTH LOGIN", "dXNlcg==", "c2VjcmV0"]),
    ],
)
def test_it_logs_in(offered: str, said: list[str]) -> None:
    """At a smart host; the transcript does not tell how."""
    replies: dict[str, str | None] = {
        "AUTH PLAIN": "235 ok",
        "AUTH LOGIN": "334 VXNlcm5hbWU6",
        "dXNlcg==": "334 UGFzc3dvcmQ6",
        "c2VjcmV0": "235 ok",
    }
    server = FarServer((offered,), replies)

    async def talk() -> None:
        await server.conversation.greet()
        await server.conversation.log_in("user", "secret")

    server.run(talk())
    assert server.heard[1:] == said
    told = str(server.conversation.transcript)
    assert "not shown" in told
    assert not any(secret in told for secret in ("AHVz", "c2Vj", "dXNl"))


@pytest.mark.parametrize(
    ("offered", "reply", "why"),
    [("AUTH PLAIN", "535 5.7.8 no", "535"), ("AUTH GSSAPI", "", "no login that we can say")],
)
def test_a_login_that_fails_is_told(offered: str, reply: str, why: str) -> None:
    """The connection is of no use then."""
    server = FarServer((offered,), {"AUTH": reply})

    async def talk() -> None:
        await server.conversation.greet()
        await server.conversation.log_in("user", "secret")

    with pytest.raises(Broken, match=why):
        server.run(talk())


@pytest.mark.parametrize("size", [len(CONTENT) - 1, len(CONTENT) + 1])
def test_a_wrong_size_is_never_sent_as_a_chunk(size: int) -> None:
    """What is left over would be taken for commands."""
    server = FarServer(("CHUNKING",))
    with pytest.raises(Broken, match="our fault"):
        _send(server, _mail(CONTENT, octets=size))
    assert not any(line.startswith(("Subject", ".")) for line in server.heard)


def test_a_server_that_does_not_read_is_left() -> None:
    """In the middle of a message: nobody has it."""
    server = FarServer()

    async def talk() -> None:
        await server.conversation.greet()
        server.dialogue.pauseProducing()
        await server.conversation.send(_mail(CONTENT), pieces_of(CONTENT))

    with pytest.raises(Broken, match=r"did not answer in time|inside the message"):
        server.run(talk())


class _Drips(FarServer):
    """Reads an octet each second once it has the start of a message, and all after *seconds*."""

    unread = 1_000_000
    seconds = 1e9

    def write(self, data: bytes) -> None:
        """Hear it; some of it stays in the buffers."""
        super().write(data)
        if self._text is not None and self._buffer and self.unread > 0:
            self.dialogue.pauseProducing()

    def unread_octets(self) -> int:
        """Tell what it has not read."""
        return self.unread

    def _carry(self) -> None:
        super()._carry()
        self.unread -= 1
        if self.unread > 0 and self.clock.seconds() >= self.seconds:
            self.unread = 0
            self.dialogue.resumeProducing()


@pytest.mark.parametrize(("octets", "longest"), [(46, 3600), (3_686_400, 7200)])
def test_a_server_that_reads_drop_by_drop_is_left(octets: int, longest: int) -> None:
    """It would keep a connection from others as long as it likes."""
    server = _Drips(("PIPELINING",))

    async def talk() -> None:
        await server.conversation.greet()
        await server.conversation.send(_mail(CONTENT, octets=octets), pieces_of(CONTENT))

    with pytest.raises(Broken, match="inside the message"):
        server.run(talk(), seconds=10_000)

    assert longest <= server.clock.seconds() <= longest + 2


def test_a_slow_answer_to_a_whole_message_is_waited_for() -> None:
    """Hanging up behind the final dot would send it twice: the hour counts up to there."""
    server = _Drips(("PIPELINING",), {"content": None})
    server.seconds = 3500
    server.clock.callLater(4099, lambda: server.dialogue.received(b"250 2.0.0 at last\r\n"))

    async def talk() -> tuple[Fate, ...]:
        await server.conversation.greet()
        return await server.conversation.send(_mail(CONTENT), pieces_of(CONTENT))

    assert _outcomes(server.run(talk(), seconds=10_000)) == ["done"]
    assert server.clock.seconds() > 4000


def test_what_it_says_can_be_read_and_stored() -> None:
    """PostgreSQL takes no NUL, and a terminal does what an escape tells it."""
    server = FarServer(say={"RCPT": "550 5.1.1 no\0body\x1b[2J \u00fcber \u202e"})

    [fate] = _send(server, _mail(CONTENT))

    assert fate.outcome is Outcome.BOUNCE
    assert r"no\x00body\x1b[2J über \u202e" in fate.text
    assert server.conversation.transcript.lines[-1].isprintable()


@given(st.text(st.characters(max_codepoint=126, min_codepoint=1), max_size=40))
def test_xtext_is_read_as_it_is_written(text: str) -> None:
    """And fits into a parameter."""
    written = encode_xtext(text)
    assert decode_xtext(written) == text
    assert all("!" <= one <= "~" for one in written)
