"""RFC 1939, section by section: its own examples, exact to the octet where it fixes them."""

import re
from collections.abc import Callable

import pytest

from mailsvc.model.ids import AccountId
from tests.support.pop3_talk import PASSWORD, PostOffice, Talk


def message(octets: int, subject: str) -> bytes:
    """Write a message of so many octets."""
    start = f"Subject: {subject}\r\n\r\n".encode()
    return start + b"x" * (octets - len(start) - 2) + b"\r\n"


FIRST, SECOND = message(120, "first"), message(200, "second")
ALL_COMMANDS = ["CAPA", "STAT", "LIST", "LIST 1", "UIDL", "UIDL 1", "RETR 1", "TOP 1 0"]
ALL_COMMANDS += ["DELE 1", "RSET", "NOOP", "QUIT"]


@pytest.fixture
def office() -> PostOffice:
    """The maildrop of the RFC's examples: 2 messages (320 octets)."""
    office = PostOffice()
    office.add(b"mrose", FIRST, SECOND)
    return office


@pytest.fixture
def talk(office: PostOffice) -> Talk:
    """The user has logged in."""
    return office.log_in(b"mrose")


def mail_of(office: PostOffice, number: int = 1) -> list[bytes]:
    """Tell what an account has."""
    return office.maildrops.mail_of(office.accounts.by_number[AccountId(number)])


def octets_of(talk: Talk, command: bytes) -> bytes:
    """Send a command and give everything that comes back, as on the wire."""
    before = len(talk.all_heard)
    talk.says(command)
    answer = talk.all_heard[before:]
    talk.hears(*answer.split(b"\r\n")[:-1])
    return answer


class TestSection3BasicOperation:
    """Commands, replies, multi-line replies."""

    @pytest.mark.parametrize("case", [str.upper, str.lower, str.capitalize])
    def test_every_verb_may_be_in_any_case(
        self, office: PostOffice, case: Callable[[str], str]
    ) -> None:
        """``CAPA``, ``capa`` and ``Capa`` are one command."""
        talk = office.connect().hears(b"+OK")
        for line in ("USER mrose", f"PASS {PASSWORD.decode()}", *ALL_COMMANDS):
            verb, space, arguments = line.partition(" ")
            talk.says(f"{case(verb)}{space}{arguments}".encode()).hears(b"+OK")
            if verb in ("CAPA", "RETR", "TOP") or line in ("LIST", "UIDL"):
                talk.rest_of_text()

    def test_a_text_ends_with_a_dot_on_a_line_of_its_own(self, talk: Talk) -> None:
        """CRLF.CRLF; nothing stands behind it."""
        assert octets_of(talk, b"RETR 1") == b"+OK 120 octets\r\n" + FIRST + b".\r\n"

    def test_lines_that_begin_with_a_dot_get_one_more(self, office: PostOffice) -> None:
        """Byte-stuffing: those lines and no others, the first line and the last one, too."""
        office.add(b"dots", b".\r\n..\r\n.\r\n.a\r\na.\r\n a.b\r\n\r\n.\r\n")
        answer = octets_of(office.log_in(b"dots"), b"RETR 1")
        stuffed = b"..\r\n...\r\n..\r\n..a\r\na.\r\n a.b\r\n\r\n..\r\n"
        assert answer == b"+OK 29 octets\r\n" + stuffed + b".\r\n"

    @pytest.mark.parametrize("length", [998, 16_384, 1_000_000])
    def test_a_line_of_a_message_may_have_any_length(self, office: PostOffice, length: int) -> None:
        """It is neither folded nor cut."""
        line = b"." * length + b"\r\n"
        office.add(b"long", line)
        answer = octets_of(office.log_in(b"long"), b"RETR 1")
        assert answer == b"+OK %d octets\r\n." % len(line) + line + b".\r\n"

    def test_what_is_unknown_or_out_of_place_is_an_error(self, office: PostOffice) -> None:
        """``-ERR``, and the session goes on."""
        office.connect().hears(b"+OK").follows(
            """
            C: FROB
            S: -ERR ...
            C: STAT
            S: -ERR ...
            C: QUIT
            S: +OK ...
            """
        )


class TestSection4Authorization:
    """From the greeting to the open maildrop."""

    def test_the_server_speaks_first(self, office: PostOffice) -> None:
        """One line that begins with ``+OK``."""
        office.connect().hears(b"+OK ").hears_nothing()

    def test_a_maildrop_is_opened_for_one_client(self, office: PostOffice) -> None:
        """The others may log in anew, or quit."""
        first = office.log_in(b"mrose").says(b"DELE 1").hears(b"+OK")

        second = office.connect().hears(b"+OK").says(b"USER mrose", b"PASS " + PASSWORD)
        second.hears(b"+OK", b"-ERR").says(b"QUIT").hears(b"+OK").is_hung_up_on()

        first.says(b"STAT").hears_exactly(b"+OK 1 200")

    def test_messages_are_numbered_from_1_in_decimal(self, office: PostOffice) -> None:
        """Numbers without leading zeros, signs or fractions."""
        office.add(b"many", *[b"x\r\n"] * 12)
        listed = office.log_in(b"many").asks(b"LIST").splitlines()
        assert listed == [b"%d 3" % number for number in range(1, 13)]

    def test_quit_without_a_login_removes_nothing(self, office: PostOffice) -> None:
        """There is no UPDATE state without a TRANSACTION state."""
        office.connect().hears(b"+OK").says(b"QUIT").hears(b"+OK").is_hung_up_on()
        assert mail_of(office) == [FIRST, SECOND]


class TestSection5Transaction:
    """STAT, LIST, RETR, DELE, NOOP and RSET."""

    def test_stat(self, talk: Talk) -> None:
        """The drop listing: two numbers and nothing behind them."""
        talk.follows(
            """
            C: STAT
            S: +OK 2 320
            """
        )

    def test_list(self, talk: Talk) -> None:
        """The scan listing: number and octets, for all or for one."""
        talk.follows(
            """
            C: LIST
            S: +OK 2 messages (320 octets)
            S: 1 120
            S: 2 200
            S: .
            C: LIST 2
            S: +OK 2 200
            C: LIST 3
            S: -ERR ...
            """
        )

    def test_retr(self, talk: Talk) -> None:
        """The message and a dot."""
        assert octets_of(talk, b"RETR 1") == b"+OK 120 octets\r\n" + FIRST + b".\r\n"

    def test_dele(self, talk: Talk) -> None:
        """Once; a second time is an error."""
        talk.follows(
            """
            C: DELE 1
            S: +OK ...
            C: DELE 2
            S: +OK ...
            C: DELE 2
            S: -ERR ...
            """
        )

    def test_noop(self, talk: Talk) -> None:
        """Nothing but ``+OK``."""
        talk.follows(
            """
            C: NOOP
            S: +OK ...
            """
        )

    def test_rset(self, talk: Talk) -> None:
        """What was marked is there again."""
        talk.follows(
            """
            C: DELE 1
            S: +OK ...
            C: STAT
            S: +OK 1 200
            C: RSET
            S: +OK ...
            C: STAT
            S: +OK 2 320
            """
        )

    def test_no_command_shows_a_message_that_is_marked(self, talk: Talk) -> None:
        """And the number of the other one stays as it was."""
        talk.follows(
            """
            C: DELE 1
            S: +OK ...
            C: STAT
            S: +OK 1 200
            C: LIST
            S: +OK 1 messages (200 octets)
            S: 2 200
            S: .
            C: LIST 1
            S: -ERR ...
            C: UIDL 1
            S: -ERR ...
            C: RETR 1
            S: -ERR ...
            C: TOP 1 0
            S: -ERR ...
            C: DELE 1
            S: -ERR ...
            C: LIST 2
            S: +OK 2 200
            """
        )
        assert [line.split()[0] for line in talk.asks(b"UIDL").splitlines()] == [b"2"]

    def test_the_last_message_may_go_too(self, talk: Talk) -> None:
        """Then the listings are empty, and are still listings."""
        talk.follows(
            """
            C: DELE 2
            S: +OK ...
            C: DELE 1
            S: +OK ...
            C: STAT
            S: +OK 0 0
            C: LIST
            S: +OK 0 messages (0 octets)
            S: .
            C: UIDL
            S: +OK 0 messages (0 octets)
            S: .
            """
        )


class TestSection6Update:
    """QUIT, the only way to remove anything."""

    def test_quit_removes_what_is_marked_and_no_more(self, office: PostOffice, talk: Talk) -> None:
        """The next session sees the rest, numbered from 1."""
        talk.follows(
            """
            C: DELE 1
            S: +OK ...
            C: QUIT
            S: +OK ...
            """
        ).is_hung_up_on()
        office.log_in(b"mrose").follows(
            """
            C: LIST
            S: +OK 1 messages (200 octets)
            S: 1 200
            S: .
            """
        )

    def test_nothing_goes_before_quit(self, office: PostOffice, talk: Talk) -> None:
        """A marked message is in the maildrop until the UPDATE state."""
        talk.says(b"DELE 1", b"DELE 2").hears(b"+OK", b"+OK")
        assert mail_of(office) == [FIRST, SECOND]

    def test_reading_is_not_removing(self, office: PostOffice, talk: Talk) -> None:
        """Not even of every message."""
        talk.asks(b"RETR 1")
        talk.asks(b"RETR 2")
        talk.says(b"QUIT").hears(b"+OK")
        assert mail_of(office) == [FIRST, SECOND]


class TestSection7Optional:
    """TOP, UIDL, USER and PASS; there is no APOP."""

    def test_top(self, office: PostOffice) -> None:
        """The header, the blank line, and so many lines of the body as were asked for."""
        office.add(b"bob", b"To: bob\r\nSubject: hi\r\n\r\none\r\n.two\r\nthree\r\n")
        office.log_in(b"bob").follows(
            """
            C: TOP 1 2
            S: +OK ...
            S: To: bob
            S: Subject: hi
            S:
            S: one
            S: ..two
            S: .
            C: TOP 1 0
            S: +OK ...
            S: To: bob
            S: Subject: hi
            S:
            S: .
            C: TOP 100 3
            S: -ERR ...
            """
        )

    def test_top_of_more_lines_than_there_are_is_the_whole_message(self, talk: Talk) -> None:
        """As RETR, to the octet."""
        for lines in (b"1", b"9999999999", b"9" * 240):
            assert talk.asks(b"TOP 1 " + lines) == FIRST

    def test_uidl(self, talk: Talk) -> None:
        """A name for all or for one."""
        one, two = (line.split()[1].decode() for line in talk.asks(b"UIDL").splitlines())
        talk.follows(
            f"""
            C: UIDL
            S: +OK ...
            S: 1 {one}
            S: 2 {two}
            S: .
            C: UIDL 2
            S: +OK 2 {two}
            C: UIDL 3
            S: -ERR ...
            """
        )

    def test_a_name_stays_over_sessions(self, office: PostOffice, talk: Talk) -> None:
        """With another number, and after a session that did not reach UPDATE, too."""
        names = [line.split()[1] for line in talk.asks(b"UIDL").splitlines()]
        talk.says(b"DELE 2").hears(b"+OK").loses_its_line()
        again = office.log_in(b"mrose")
        assert [line.split()[1] for line in again.asks(b"UIDL").splitlines()] == names
        again.says(b"DELE 1", b"QUIT").hears(b"+OK", b"+OK")

        assert office.log_in(b"mrose").asks(b"UIDL") == b"1 " + names[1] + b"\r\n"

    def test_two_messages_that_are_alike_have_two_names(self, office: PostOffice) -> None:
        """Of 1 to 70 octets from 0x21 to 0x7E, and never that of one that was removed."""
        office.add(b"twin", *[b"Message-ID: <same@test.com>\r\n\r\n"] * 3)
        names = set[bytes]()
        for _ in range(3):
            talk = office.log_in(b"twin")
            names |= {line.split()[1] for line in talk.asks(b"UIDL").splitlines()}
            talk.says(b"DELE 1", b"DELE 2", b"DELE 3", b"QUIT").hears(*[b"+OK"] * 4)
            account = office.accounts.by_number[AccountId(2)]
            office.maildrops.fill(account, *[b"Message-ID: <same@test.com>\r\n\r\n"] * 3)

        assert len(names) == 9
        assert all(re.fullmatch(rb"[!-~]{1,70}", name) for name in names)

    def test_user_and_pass(self, office: PostOffice) -> None:
        """Whether there is such a mailbox is not told before the password."""
        office.connect().hears(b"+OK").follows(
            f"""
            C: USER frated
            S: +OK ...
            C: PASS secret
            S: -ERR [AUTH] User name or password is wrong
            C: USER mrose
            S: +OK ...
            C: PASS {PASSWORD.decode()}
            S: +OK ...
            C: STAT
            S: +OK 2 320
            """
        )

    def test_there_is_no_apop(self, office: PostOffice) -> None:
        """Nor a timestamp in the greeting, which would promise it."""
        talk = office.connect()
        assert b"<" not in talk.next_line()
        talk.says(b"APOP mrose c4c9334bac560ecc979e58001b3e22fb").hears(b"-ERR")


class TestSection8Scaling:
    """Mail that is left on the server."""

    def test_a_client_that_leaves_its_mail_sees_what_is_new(self, office: PostOffice) -> None:
        """By names alone; old mail is not fetched twice."""
        office.add(b"keeper", b"old\r\n")
        seen = set(_names(office.log_in(b"keeper")))
        office.maildrops.fill(office.accounts.by_number[AccountId(2)], b"new\r\n")

        talk = office.log_in(b"keeper")
        listed = [line.split() for line in talk.asks(b"UIDL").splitlines()]
        new = [number for number, name in listed if name not in seen]

        assert [talk.asks(b"RETR " + number) for number in new] == [b"new\r\n"]


def _names(talk: Talk) -> list[bytes]:
    """Read all mail, give its names and quit."""
    listed = [line.split() for line in talk.asks(b"UIDL").splitlines()]
    for number, _ in listed:
        talk.asks(b"RETR " + number)
    talk.says(b"QUIT").hears(b"+OK")
    return [name for _, name in listed]


class TestSection10Example:
    """The example session."""

    def test_it_is_said_here_as_there(self, office: PostOffice) -> None:
        """To the octet, but for APOP and free texts."""
        office.connect().hears(b"+OK").follows(
            f"""
            C: USER mrose
            S: +OK ...
            C: PASS {PASSWORD.decode()}
            S: +OK ...
            C: STAT
            S: +OK 2 320
            C: LIST
            S: +OK 2 messages (320 octets)
            S: 1 120
            S: 2 200
            S: .
            C: RETR 1
            S: +OK 120 octets
            S: Subject: first
            S:
            S: {"x" * 100}
            S: .
            C: DELE 1
            S: +OK ...
            C: RETR 2
            S: +OK 200 octets
            S: Subject: second
            S:
            S: {"x" * 179}
            S: .
            C: DELE 2
            S: +OK ...
            C: QUIT
            S: +OK ...
            """
        ).is_hung_up_on()
        assert mail_of(office) == []


class TestSection11MessageFormat:
    """What counts as an octet of a message."""

    @pytest.mark.parametrize(
        ("content", "octets"),
        [
            (b"", 0),
            (b"\r\n", 2),
            (b"a\r\n", 3),
            (b".\r\n", 3),
            (b"..\r\n.\r\n", 7),
            (b"\xc3\xbc\r\n", 4),
            (b"\0\r\n", 3),
        ],
    )
    @pytest.mark.parametrize("inline", [0, 1000])
    def test_octets_are_counted_before_stuffing(
        self, content: bytes, octets: int, inline: int
    ) -> None:
        """A line end is two; the dots of the transport and the last line are none."""
        office = PostOffice(inline=inline, chunk=2)
        office.add(b"alice", content)
        talk = office.log_in()
        talk.says(b"STAT").hears_exactly(b"+OK 1 %d" % octets)
        talk.says(b"LIST 1").hears_exactly(b"+OK 1 %d" % octets)
        assert octets_of(talk, b"RETR 1").startswith(b"+OK %d octets\r\n" % octets)
        assert talk.asks(b"RETR 1") == content
