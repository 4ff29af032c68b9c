"""The extensions of ESMTP, one after the other; each is announced only where it holds."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailsvc.config.settings import Kind, LineEnds, SmtpSettings
from mailsvc.errors import MailboxFull, MailError, StorageFailed, StorageFull, TooBusy
from mailsvc.interfaces import IContent
from mailsvc.model.envelope import Body, Envelope, Notify, Return
from mailsvc.model.receipt import Receipt
from tests.support.smtp_talk import CHINESE, MemoryIntake, Talk

UTF8_PATH = b"<" + str(CHINESE).encode() + b">"


def ehlo_lines(kind: Kind, hello: bytes = b"EHLO") -> set[bytes]:
    """Give the keywords that are announced without TLS."""
    talk = Talk(kind).skips().says(hello + b" client.example")
    return {line[4:].split()[0] for line in talk.unheard().splitlines()}


# SMTPUTF8; RFC 6531.


def test_a_utf8_address_gets_mail_as_any_other() -> None:
    """``用户@例子.测试``: the domain is one of ours under its A-label."""
    talk = Talk().greeted().says(b"MAIL FROM:" + UTF8_PATH + b" SMTPUTF8").hears(b"250 2.1.0")

    talk.says(b"RCPT TO:<" + "用户@例子.测试".encode() + b">", b"DATA", b"x", b".")

    talk.hears(b"250 2.1.5", b"354", b"250 2.0.0")
    [(envelope, _)] = talk.intake.taken
    assert envelope.recipients[0].address == CHINESE
    assert envelope.sender == CHINESE
    assert envelope.utf8
    assert envelope.protocol == "UTF8SMTP"


def test_a_utf8_recipient_needs_the_parameter() -> None:
    """RFC 6531 section 3.5."""
    talk = Talk().greeted().says(b"MAIL FROM:<x@a.example>").skips()

    talk.says(b"RCPT TO:" + UTF8_PATH).hears(b"553 5.6.7")


def test_octets_that_are_no_utf8_are_bad_syntax() -> None:
    """And no fault of ours."""
    talk = Talk().greeted().says(b"MAIL FROM:<> SMTPUTF8").skips()

    talk.says(b"RCPT TO:<\xff\xfe@test.com>").hears(b"501 5.5.4")


def test_vrfy_takes_the_parameter() -> None:
    """RFC 6531 section 3.7.4.2."""
    Talk().greeted().says("VRFY 用户 SMTPUTF8".encode()).hears(b"252 ")


# CHUNKING and BINARYMIME; RFC 3030.


def chunking(mail: bytes = b"MAIL FROM:<x@a.example>") -> Talk:
    """Get to the point where BDAT is next."""
    talk = Talk().greeted().says(mail, b"RCPT TO:<bob@test.com>")
    return talk.hears(b"250 2.1.0", b"250 2.1.5")


def test_a_message_in_one_chunk() -> None:
    """What Postfix and Exchange send."""
    talk = chunking().sends(b"BDAT 14 LAST\r\nSubject: x\r\n\r\n")

    talk.hears(b"250 2.0.0 OK, stored as")
    assert talk.intake.taken[0][1] == b"Subject: x\r\n\r\n"


def test_a_message_in_many_chunks() -> None:
    """Dots mean nothing here, and CR and LF may be in different chunks."""
    talk = chunking().sends(b"BDAT 4\r\n.\r\n.BDAT 1\r\n\rBDAT 3\r\n\n..BDAT 0 LAST\r\nNOOP\r\n")

    talk.hears(b"250 2.0.0 4", b"250 2.0.0 1", b"250 2.0.0 3", b"250 2.0.0 OK", b"250 2.0.0")
    assert talk.intake.taken[0][1] == b".\r\n.\r\n..\r\n"


def test_octets_of_a_refused_chunk_are_not_run_as_commands() -> None:
    """Nobody said MAIL: the chunk is read all the same."""
    talk = Talk().greeted().sends(b"BDAT 6 LAST\r\nQUIT\r\nNOOP\r\n")

    talk.hears(b"503 5.5.1", b"250 2.0.0")


@pytest.mark.parametrize(
    "line", [b"BDAT x", b"BDAT -1", b"BDAT 1 MORE", b"BDAT 99999999999999999999"]
)
def test_a_chunk_of_unknown_size_ends_the_session(line: bytes) -> None:
    """Nobody can tell where its octets end, so none of them may become a command."""
    talk = chunking().says(line, b"MAIL FROM:<evil@a.example>")

    talk.hears(b"501 5.5.4")
    assert talk.transport.closed


@pytest.mark.parametrize("line", [b"BDAT 6 LAST\n", b"bdat " + b" " * 5000 + b"6 LAST\r\n"])
def test_a_chunk_behind_a_bad_line_is_not_run(line: bytes) -> None:
    """It ends in LF or is too long: what follows is content all the same."""
    talk = chunking().sends(line + b"QUIT\r\n").hears(b"501 5.5.4")

    assert talk.transport.closed


@pytest.mark.parametrize("line", [b"DATA", b"RCPT TO:<alice@test.com>", b"MAIL FROM:<>"])
def test_between_chunks_there_is_no_other_message(line: bytes) -> None:
    """RFC 3030 section 2: DATA and BDAT do not mix."""
    talk = chunking().sends(b"BDAT 1\r\nx").skips()

    talk.says(line).hears(b"503 5.5.1")


def test_rset_forgets_the_chunks() -> None:
    """And gives their memory back."""
    talk = chunking().sends(b"BDAT 100\r\n" + b"x" * 100).skips()
    assert talk.room.used == 100

    talk.says(b"RSET").hears(b"250").says(b"BDAT 0 LAST").hears(b"503 5.5.1")

    assert talk.room.used == 0
    assert talk.intake.taken == []


def test_a_lost_connection_forgets_the_chunks() -> None:
    """Half a message is no message."""
    talk = chunking().sends(b"BDAT 100\r\n" + b"x" * 100).hangs_up()

    assert talk.room.used == 0
    assert talk.intake.taken == []


def test_too_many_octets_are_refused_and_read() -> None:
    """The rest of the message is refused, too, and nothing of it runs."""
    talk = Talk(settings=SmtpSettings(largest_message=10)).with_recipient()

    talk.sends(b"BDAT 8\r\n12345678BDAT 6\r\nNOOP\r\nBDAT 6 LAST\r\nQUIT\r\nNOOP\r\n")

    talk.hears(b"250 2.0.0 8", b"552 5.3.4", b"503 5.5.1", b"250 2.0.0")
    assert talk.room.used == 0


@pytest.mark.parametrize("bad", [b"a\nb", b"a\rb", b"a\0b", b"ab\r"])
def test_bare_line_ends_need_binarymime(bad: bytes) -> None:
    """The same rule as for DATA."""
    chunking().sends(b"BDAT %d LAST\r\n%b" % (len(bad), bad)).hears(b"550 5.6.11")


def test_submission_repairs_chunks_too_if_told_so() -> None:
    """Also where CR and LF come in two chunks."""
    settings = SmtpSettings(submission_line_ends=LineEnds.REPAIR)
    talk = Talk(Kind.SUBMISSION, settings=settings).logged_in()
    talk.says(b"MAIL FROM:<alice@test.com>", b"RCPT TO:<bob@test.com>").skips()

    talk.sends(b"BDAT 2\r\na\rBDAT 4 LAST\r\n\nb\nc").hears(b"250 2.0.0 2", b"250 2.0.0 OK")

    assert talk.intake.taken[0][1] == b"a\r\nb\r\nc\r\n"


def test_binary_content_is_taken_as_it_is() -> None:
    """The intake turns it into lines."""
    talk = chunking(b"MAIL FROM:<x@a.example> BODY=BINARYMIME")

    talk.sends(b"BDAT 5 LAST\r\n\0\r\n\n\r").hears(b"250 2.0.0 OK")

    [(envelope, content)] = talk.intake.taken
    assert content == b"\0\r\n\n\r"
    assert envelope.body is Body.BINARY


def test_binary_content_does_not_come_by_data() -> None:
    """RFC 3030 section 3."""
    chunking(b"MAIL FROM:<x@a.example> BODY=BINARYMIME").says(b"DATA").hears(b"503 5.5.1")


CHUNKED = (
    b"EHLO client.example\r\nMAIL FROM:<>\r\nRCPT TO:<bob@test.com>\r\nBDAT 12\r\nSubject: x\r\n"
    b"BDAT 3\r\n\r\n.BDAT 2 LAST\r\n\r\nBDAT 6\r\nQUIT\r\nMAIL FROM:<>\r\n"
    b"RCPT TO:<bob@test.com>\r\nDATA\r\n..\r\n.\r\nNOOP\r\nQUIT\r\n"
)


def replies_to(segments: list[bytes]) -> tuple[bytes, list[bytes]]:
    """Play a session in segments; give all replies and all stored contents."""
    talk = Talk()
    for segment in segments:
        talk.sends(segment)
    return talk.transport.written, [content for _, content in talk.intake.taken]


@given(st.lists(st.integers(1, len(CHUNKED) - 1), max_size=40))
def test_any_split_of_a_chunked_session_gives_the_same_replies(cuts: list[int]) -> None:
    """However the network cuts it."""
    places = [0, *sorted(cuts), len(CHUNKED)]

    answers, stored = replies_to([CHUNKED[a:b] for a, b in pairwise(places)])

    assert (answers, stored) == replies_to([CHUNKED])
    assert stored == [b"Subject: x\r\n\r\n.\r\n", b".\r\n"]


@given(st.binary(max_size=300), st.lists(st.integers(0, 300), max_size=8))
def test_chunks_of_any_size_make_the_same_message(content: bytes, cuts: list[int]) -> None:
    """Binary content comes in octet for octet."""
    places = [0, *sorted(min(cut, len(content)) for cut in cuts), len(content)]
    talk = chunking(b"MAIL FROM:<x@a.example> BODY=BINARYMIME")

    for a, b in pairwise(places):
        talk.sends(b"BDAT %d\r\n" % (b - a) + content[a:b])
    talk.says(b"BDAT 0 LAST")

    assert talk.intake.taken[0][1] == content


# DSN; RFC 3461.


def submitting() -> Talk:
    """Log in."""
    return Talk(Kind.SUBMISSION).logged_in()


def test_dsn_parameters_stay_with_the_recipient() -> None:
    """For the reports."""
    talk = submitting().says(b"MAIL FROM:<alice@test.com> RET=hdrs ENVID=QQ+2B314")
    talk.says(b"RCPT TO:<bob@test.com> NOTIFY=success,DELAY ORCPT=rfc822;Bob+40test.com")
    talk.says(b"DATA", b"x", b".").hears(b"250 2.1.0", b"250 2.1.5", b"354", b"250 2.0.0")

    [(envelope, _)] = talk.intake.taken
    assert envelope.returns is Return.HEADERS
    assert envelope.identifier == "QQ+314"
    assert envelope.recipients[0].notify == {Notify.SUCCESS, Notify.DELAY}
    assert envelope.recipients[0].original == "rfc822;Bob@test.com"


@pytest.mark.parametrize(
    "parameter",
    [
        b"RET",
        b"RET=HALF",
        b"ENVID",
        b"ENVID=+2b",
        b"ENVID=a+",
        b"ENVID=a+0A",
        b"ENVID=a+85",
        b"ENVID=" + b"x" * 101,
    ],
)
def test_bad_dsn_parameters_of_mail_are_refused(parameter: bytes) -> None:
    """501, and nothing is begun."""
    submitting().says(b"MAIL FROM:<alice@test.com> " + parameter).hears(b"501 5.5.4")


@pytest.mark.parametrize(
    "parameter",
    [
        b"NOTIFY",
        b"NOTIFY=NEVER,SUCCESS",
        b"NOTIFY=SOMETIMES",
        b"NOTIFY=SUCCESS,",
        b"ORCPT=bob",
        b"ORCPT=rfc822;",
        b"ORCPT=;bob",
        b"ORCPT=rfc822;a+0D",
        b"ORCPT=rfc822;a+9B",
        b"ORCPT=rfc822;" + b"x" * 500,
    ],
)
def test_bad_dsn_parameters_of_rcpt_are_refused(parameter: bytes) -> None:
    """501, and the recipient is not added."""
    talk = submitting().says(b"MAIL FROM:<alice@test.com>").skips()

    talk.says(b"RCPT TO:<bob@test.com> " + parameter, b"DATA").hears(b"501 5.5.4", b"503 5.5.1")


def test_dsn_is_offered_where_reports_can_be_made() -> None:
    """A report for another server's user would have to leave this one."""
    assert b"DSN" in ehlo_lines(Kind.SUBMISSION)
    assert b"DSN" not in ehlo_lines(Kind.SMTP)


def test_without_ehlo_there_are_no_parameters() -> None:
    """RFC 5321 section 4.1.1.1: HELO offers none."""
    talk = Talk().says(b"HELO client.example").skips()

    talk.says(b"MAIL FROM:<x@a.example> SIZE=10").hears(b"555 5.5.4")


# DELIVERBY; RFC 2852.


def test_a_deadline_is_kept_with_the_message() -> None:
    """Delivery is at once, so it is met."""
    talk = chunking(b"MAIL FROM:<x@a.example> BY=120;R").says(b"DATA", b"x", b".")

    talk.hears(b"354", b"250 2.0.0")
    deadline = talk.intake.taken[0][0].deliver_by
    assert deadline is not None
    assert timedelta(0) < deadline.until - datetime.now(UTC) <= timedelta(seconds=120)
    assert deadline.returns
    assert not deadline.trace


@pytest.mark.parametrize("value", [b"", b"=", b"=5", b"=0;R", b"=-1;R", b"=1;X", b"=9999999999;N"])
def test_bad_deadlines_are_refused(value: bytes) -> None:
    """RFC 2852 section 4: ``R`` needs a time to come."""
    Talk().greeted().says(b"MAIL FROM:<x@a.example> BY" + value).hears(b"501 5.5.4")


def test_a_message_that_came_too_late_goes_back() -> None:
    """Its sender wanted it back at that time."""
    talk = chunking(b"MAIL FROM:<x@a.example> BY=5;R")
    session = talk.protocol._session  # noqa: SLF001 - nobody waits five seconds
    assert session.parameters.deliver_by is not None
    past = session.parameters.deliver_by._replace(until=datetime(2020, 1, 1, tzinfo=UTC))
    session.parameters = session.parameters._replace(deliver_by=past)

    talk.says(b"DATA", b"x", b".").hears(b"354", b"554 5.4.7")

    assert talk.intake.taken == []
    assert session.errors == 1


# LIMITS; RFC 9422.


def test_the_limit_of_recipients_is_announced() -> None:
    """A client need not find out."""
    talk = Talk(settings=SmtpSettings(most_recipients=123)).skips().says(b"EHLO a")

    assert b"250-LIMITS RCPTMAX=123\r\n" in talk.unheard()


# LMTP; RFC 2033.


class OneIsFull(MemoryIntake):
    """Takes mail for all but bob."""

    async def accept(self, envelope: Envelope, content: IContent) -> Receipt:
        if any(one.address.local == "bob" for one in envelope.recipients):
            raise MailboxFull
        return await super().accept(envelope, content)


class OneBreaks(MemoryIntake):
    """Has a fault that shows with bob alone; together it is too full."""

    async def accept(self, envelope: Envelope, content: IContent) -> Receipt:
        if len(envelope.recipients) > 1:
            raise MailboxFull
        if envelope.recipients[0].address.local == "bob":
            raise RuntimeError("a fault of ours")
        return await super().accept(envelope, content)


def lmtp(*recipients: bytes) -> Talk:
    """Get to the point where DATA is next."""
    talk = Talk(Kind.LMTP).says(b"LHLO mx.example", b"MAIL FROM:<x@a.example>").skips()
    for recipient in recipients:
        talk.says(b"RCPT TO:<" + recipient + b">").skips()
    return talk


def test_lmtp_is_spoken_with_lhlo_only() -> None:
    """RFC 2033 section 4.1; and LHLO belongs to LMTP."""
    Talk(Kind.LMTP).skips().says(b"EHLO a", b"HELO a").hears(b"502", b"502")
    Talk(Kind.SMTP).skips().says(b"LHLO a").hears(b"502")


def test_lmtp_answers_for_each_recipient() -> None:
    """RFC 2033 section 4.2: as many replies as RCPT had a 250, also for the same one twice."""
    talk = lmtp(b"bob@test.com", b"nobody@test.com", b"alice@test.com", b"bob@test.com")

    talk.says(b"DATA", b"x", b".", b"NOOP")

    talk.hears(b"354", b"250 2.0.0", b"250 2.0.0", b"250 2.0.0", b"250 2.0.0 OK")
    [(envelope, _)] = talk.intake.taken
    assert envelope.protocol == "LMTP"
    assert len(envelope.recipients) == 2


@pytest.mark.parametrize("by", ["DATA", "BDAT"])
def test_lmtp_one_full_mailbox_keeps_nobody_else_waiting(by: str) -> None:
    """The others have the message, and the client tries bob again."""
    talk = lmtp(b"alice@test.com", b"bob@test.com")
    talk.factory.house = replace(talk.factory.house, intake=(intake := OneIsFull()))
    talk.protocol._session.house = talk.factory.house  # noqa: SLF001 - as if made with it
    octets = b"DATA\r\nx\r\n.\r\n" if by == "DATA" else b"BDAT 3 LAST\r\nx\r\n"

    talk.sends(octets)

    assert talk.unheard().removeprefix(b"354 Go ahead, end with CRLF.CRLF\r\n").startswith(b"250 ")
    assert talk.unheard().splitlines()[-1].startswith(b"452 4.2.2")
    assert [str(one.recipients[0].address) for one, _ in intake.taken] == ["alice@test.com"]


def test_lmtp_a_fault_of_ours_with_one_recipient_is_nobody_elses() -> None:
    """Who has the message is told so: a second try would be a second copy."""
    talk = lmtp(b"alice@test.com", b"bob@test.com")
    intake = OneBreaks()
    talk.protocol._session.house = replace(talk.factory.house, intake=intake)  # noqa: SLF001 - as if made with it

    talk.says(b"DATA", b"x", b".").hears(b"354", b"250 2.0.0", b"451 4.3.0")

    assert [str(one.recipients[0].address) for one, _ in intake.taken] == ["alice@test.com"]


class AliceIsFull(MemoryIntake):
    """Takes mail for all but alice."""

    async def accept(self, envelope: Envelope, content: IContent) -> Receipt:
        if any(one.address.local == "alice" for one in envelope.recipients):
            raise MailboxFull
        return await super().accept(envelope, content)


def test_lmtp_one_by_one_each_mailbox_gets_one_copy() -> None:
    """Also where it was named twice, as when all go together."""
    talk = lmtp(b"bob@test.com", b"BOB@test.com", b"alice@test.com")
    intake = AliceIsFull()
    talk.protocol._session.house = replace(talk.factory.house, intake=intake)  # noqa: SLF001 - as if made with it

    talk.says(b"DATA", b"x", b".").hears(b"354", b"250 2.0.0", b"250 2.0.0", b"452 4.2.2")

    assert len(intake.taken) == 1


class OutOfOrder(MemoryIntake):
    """Counts how often it was asked for nothing."""

    asked = 0

    async def accept(self, envelope: Envelope, content: IContent) -> Receipt:
        self.asked += 1
        return await super().accept(envelope, content)


@pytest.mark.parametrize("trouble", [StorageFailed, StorageFull, TooBusy])
def test_lmtp_a_storage_that_fails_is_asked_once(trouble: type[MailError]) -> None:
    """A second try could be a second copy, and would last as long as the first."""
    talk = lmtp(b"alice@test.com", b"bob@test.com")
    intake = OutOfOrder(trouble=trouble())
    talk.protocol._session.house = replace(talk.factory.house, intake=intake)  # noqa: SLF001 - as if made with it

    talk.says(b"DATA", b"x", b".").hears(b"354", b"45", b"45")

    assert intake.asked == 1


def test_lmtp_only_the_last_chunk_is_answered_for_each_recipient() -> None:
    """RFC 2033 section 4.3: else the client would take a reply for that of its next command."""
    talk = lmtp(b"alice@test.com", b"bob@test.com")

    talk.sends(b"BDAT 3\r\na\nb").hears(b"550 5.6.11")
    talk.sends(b"BDAT 1 LAST\r\nxNOOP\r\n").hears(b"503 5.5.1", b"250 2.0.0 OK")


def test_lmtp_refuses_for_each_recipient() -> None:
    """A bare LF concerns all of them."""
    talk = lmtp(b"alice@test.com", b"bob@test.com").says(b"DATA", b"a\nb", b".", b"NOOP")

    talk.hears(b"354", b"550 5.6.11", b"550 5.6.11", b"250 2.0.0")


def test_lmtp_is_no_relay() -> None:
    """It takes mail for our mailboxes only."""
    lmtp().says(b"RCPT TO:<x@other.example>").hears(b"550 5.7.1")


def test_lmtp_knows_no_login() -> None:
    """The server in front has done all that."""
    lmtp().says(b"RSET", b"AUTH PLAIN AGEAYg==").hears(b"250", b"502")
    assert b"AUTH" not in ehlo_lines(Kind.LMTP, b"LHLO")
