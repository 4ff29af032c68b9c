"""The TRANSACTION state; RFC 1939 sections 5 and 7."""

import pytest
from twisted.logger import LogLevel, formatEvent

from mailsvc.errors import StorageFailed
from mailsvc.model.ids import AccountId
from tests.support.pop3_talk import PostOffice, Talk, faults, logs

ONE = b"Subject: one\r\n\r\nline 1\r\nline 2\r\nline 3\r\n"
TWO = b"Subject: two\r\n\r\n.dot\r\n..dots\r\n.\r\nend\r\n"
THREE = b"\r\nonly a body\r\n"


@pytest.fixture
def office() -> PostOffice:
    """Alice has three messages."""
    office = PostOffice()
    office.add(b"alice", ONE, TWO, THREE)
    return office


@pytest.fixture
def talk(office: PostOffice) -> Talk:
    """Alice has logged in."""
    return office.log_in()


class TestStat:
    """STAT."""

    def test_it_counts(self, talk: Talk) -> None:
        """Messages and octets, as they will be sent before dot-stuffing."""
        octets = len(ONE + TWO + THREE)
        talk.says(b"STAT").hears_exactly(b"+OK 3 %d" % octets)

    def test_deleted_messages_do_not_count(self, talk: Talk) -> None:
        """Stock Twisted goes on counting them."""
        talk.says(b"DELE 2", b"STAT").hears(b"+OK").hears_exactly(b"+OK 2 %d" % len(ONE + THREE))


class TestList:
    """LIST."""

    def test_it_lists_all(self, talk: Talk) -> None:
        """Number and octets."""
        assert talk.asks(b"LIST") == b"1 %d\r\n2 %d\r\n3 %d\r\n" % (len(ONE), len(TWO), len(THREE))

    def test_it_tells_of_one(self, talk: Talk) -> None:
        """In one line."""
        talk.says(b"LIST 2").hears_exactly(b"+OK 2 %d" % len(TWO)).hears_nothing()

    def test_deleted_messages_are_left_out(self, talk: Talk) -> None:
        """The others keep their numbers; stock Twisted lists ``2 0``."""
        talk.says(b"DELE 2").hears(b"+OK")
        assert talk.asks(b"LIST") == b"1 %d\r\n3 %d\r\n" % (len(ONE), len(THREE))
        talk.says(b"LIST 2").hears(b"-ERR").says(b"LIST 3").hears(b"+OK 3 ")

    def test_an_empty_maildrop_has_an_empty_list(self, office: PostOffice) -> None:
        """+OK and a dot."""
        office.add(b"bob")
        talk = office.log_in(b"bob")
        assert talk.asks(b"LIST") == talk.asks(b"UIDL") == b""
        talk.says(b"STAT").hears_exactly(b"+OK 0 0")

    def test_a_long_list_lets_others_in_between(self, office: PostOffice) -> None:
        """Nobody waits for the listing of a maildrop of 2,500 messages."""
        office.add(b"bob", *[b"x\r\n"] * 2500)
        talk = office.log_in(b"bob").says(b"DELE 1", b"DELE 1500").hears(b"+OK", b"+OK")
        before = len(talk.transport.writes)

        listed = talk.asks(b"LIST").splitlines()
        names = talk.asks(b"UIDL").splitlines()

        numbers = [n for n in range(1, 2501) if n not in (1, 1500)]
        assert listed == [b"%d 3" % n for n in numbers]
        assert [int(name.split()[0]) for name in names] == numbers
        assert len(talk.transport.writes) - before == 8
        talk.says(b"STAT").hears(b"+OK 2498")

    def test_the_writes_of_a_long_list_are_bounded(self, office: PostOffice) -> None:
        """Stock Twisted writes the whole listing, whoever reads it or not."""
        office.add(b"bob", *[b"x\r\n"] * 5000)
        talk = office.log_in(b"bob")
        talk.transport.full = True

        talk.says(b"LIST", b"UIDL", b"STAT")
        assert talk.all_heard.count(b"\r\n") < 1100

        talk.transport.drain()
        office.turn()
        assert len(talk.rest_of_list()) == 5000


class TestUidl:
    """UIDL."""

    def test_names_are_unique_and_stay(self, office: PostOffice, talk: Talk) -> None:
        """A client knows next time what it has fetched."""
        before = talk.asks(b"UIDL")
        names = [line.split()[1] for line in before.splitlines()]
        assert len(set(names)) == 3
        assert all(0 < len(name) <= 70 and name.isascii() for name in names)
        talk.says(b"DELE 1", b"QUIT").hears(b"+OK", b"+OK")

        after = office.log_in().asks(b"UIDL")

        assert [line.split()[1] for line in after.splitlines()] == names[1:]

    def test_it_tells_of_one(self, talk: Talk) -> None:
        """In one line, the same as in the list."""
        second = talk.asks(b"UIDL").splitlines()[1]
        talk.says(b"UIDL 2").hears_exactly(b"+OK " + second).hears_nothing()

    def test_deleted_messages_are_left_out(self, talk: Talk) -> None:
        """Stock Twisted shows them."""
        talk.says(b"DELE 1").hears(b"+OK")
        assert talk.asks(b"UIDL").startswith(b"2 ")
        talk.says(b"UIDL 1").hears(b"-ERR")


class TestRetr:
    """RETR."""

    @pytest.mark.parametrize(("number", "content"), [(1, ONE), (2, TWO), (3, THREE)])
    def test_a_message_comes_octet_for_octet(self, talk: Talk, number: int, content: bytes) -> None:
        """Dots included; as many octets as LIST told."""
        assert talk.asks(b"RETR %d" % number) == content
        talk.says(b"LIST %d" % number).hears_exactly(b"+OK %d %d" % (number, len(content)))

    def test_a_small_message_is_one_write(self, talk: Talk) -> None:
        """Stock Twisted's first write waits for the client's ACK."""
        before = len(talk.transport.writes)
        talk.says(b"RETR 1")
        assert len(talk.transport.writes) == before + 1

    def test_an_empty_message_is_a_message(self, office: PostOffice) -> None:
        """Stock Twisted says ``-ERR message deleted``."""
        office.add(b"bob", b"")
        talk = office.log_in(b"bob").says(b"LIST 1").hears(b"+OK 1 0").says(b"RETR 1")
        talk.hears(b"+OK 0").hears_exactly(b".").hears_nothing()

    def test_a_deleted_message_does_not_come(self, talk: Talk) -> None:
        """RFC 1939 section 5: any reference to it is an error."""
        talk.says(b"DELE 1", b"RETR 1", b"TOP 1 0").hears(b"+OK", b"-ERR", b"-ERR")

    def test_fetching_removes_nothing(self, office: PostOffice, talk: Talk) -> None:
        """EXPIRE NEVER."""
        talk.asks(b"RETR 1")
        talk.says(b"QUIT").hears(b"+OK")
        office.log_in().says(b"STAT").hears(b"+OK 3 ")

    def test_a_last_line_without_crlf_gets_one(self, office: PostOffice) -> None:
        """The final dot stands on a line of its own."""
        office.add(b"bob", b"no end")
        talk = office.log_in(b"bob").says(b"RETR 1").hears(b"+OK")
        talk.hears_exactly(b"no end", b".").hears_nothing()

    def test_a_message_removed_elsewhere_is_not_there(self, office: PostOffice, talk: Talk) -> None:
        """The web has removed it meanwhile; the session goes on."""
        office.maildrops.remove(office.accounts.by_number[AccountId(1)], 2)
        talk.says(b"RETR 2").hears(b"-ERR no such message")
        assert talk.asks(b"RETR 3") == THREE

    def test_a_fault_in_reading_ahead_is_not_the_clients(
        self, office: PostOffice, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Its reply has been sent; it goes on and gets all its mail."""
        office.add(b"bob", *[ONE] * 20)
        talk = office.log_in(b"bob")

        def fail(*_: object) -> None:
            raise RuntimeError

        monkeypatch.setattr(office.maildrops, "glance", fail)
        with logs() as heard:
            for number in range(1, 21):
                assert talk.asks(b"RETR %d" % number) == ONE

        assert [event["log_failure"].type for event in faults(heard)] == [RuntimeError]
        talk.says(b"QUIT").hears(b"+OK")


class TestALargeMessage:
    """It comes in chunks and is never whole in memory."""

    @pytest.fixture
    def office(self) -> PostOffice:
        """Alice has one small and one large message; a chunk has 100 octets."""
        office = PostOffice(inline=100, chunk=100)
        office.add(b"alice", ONE, b"Subject: big\r\n\r\n" + b".0123456\r\n" * 1000)
        return office

    def test_it_comes_octet_for_octet(self, talk: Talk) -> None:
        """Whatever stands at the edges of its chunks."""
        content = b"Subject: big\r\n\r\n" + b".0123456\r\n" * 1000
        assert talk.asks(b"RETR 2") == content
        assert talk.asks(b"TOP 2 500") == content[: 16 + 500 * 10]
        talk.says(b"STAT").hears(b"+OK 2 ")

    def test_a_last_line_without_crlf_gets_one(self, office: PostOffice) -> None:
        """As in a small message."""
        office.add(b"bob", b"x" * 250)
        talk = office.log_in(b"bob").says(b"RETR 1", b"NOOP").hears(b"+OK 250")
        talk.hears_exactly(b"x" * 250, b".").hears(b"+OK").hears_nothing()

    def test_top_fetches_no_more_than_it_needs(self, office: PostOffice, talk: Talk) -> None:
        """A chunk behind the last line that was asked for stays in the database."""
        office.maildrops.faults.clear()
        assert talk.asks(b"TOP 2 0") == b"Subject: big\r\n\r\n"
        assert talk.asks(b"TOP 2 8") == b"Subject: big\r\n\r\n" + b".0123456\r\n" * 8

    def test_a_slow_reader_gets_it_slowly(self, talk: Talk) -> None:
        """The next chunk is fetched when the last one has gone."""
        talk.transport.full = True
        talk.says(b"RETR 2")
        assert len(talk.all_heard) < 1000

        talk.transport.drain()
        talk.office.turn()

        assert talk.rest_of_list()[-1] == b"..0123456"

    def test_a_reader_that_stops_is_cut_off(self, office: PostOffice, talk: Talk) -> None:
        """Stock Twisted keeps the session and its maildrop for ever."""
        talk.transport.full = True
        talk.says(b"RETR 2").waits(121).is_hung_up_on()
        office.log_in()

    def test_a_fault_before_the_first_octet_is_told(self, office: PostOffice, talk: Talk) -> None:
        """And the session goes on."""
        office.maildrops.faults["read_chunk"] = StorageFailed()
        talk.says(b"RETR 2").hears(b"-ERR [SYS/TEMP]")
        assert talk.asks(b"RETR 1") == ONE

    def test_a_fault_in_the_middle_breaks_the_connection(
        self, office: PostOffice, talk: Talk
    ) -> None:
        """No client takes a part of a message for the whole: there is no final dot."""
        talk.transport.full = True
        talk.says(b"RETR 2")
        office.maildrops.faults["read_chunk"] = StorageFailed()
        with logs() as heard:
            talk.transport.drain()
            office.turn()

        assert not talk.all_heard.endswith(b".\r\n")
        talk.is_hung_up_on()
        assert len(faults(heard)) == 1
        office.log_in()


class TestTop:
    """TOP."""

    @pytest.mark.parametrize("lines", range(5))
    def test_it_shows_the_header_and_some_lines(self, talk: Talk, lines: int) -> None:
        """Header, empty line, and as many lines of the body as there are."""
        body = [b"line 1\r\n", b"line 2\r\n", b"line 3\r\n"]
        header = b"Subject: one\r\n\r\n"
        assert talk.asks(b"TOP 1 %d" % lines) == header + b"".join(body[:lines])

    def test_the_message_behind_it_is_not_read_again(self, office: PostOffice, talk: Talk) -> None:
        """Many clients look at the header first."""
        for number, content in enumerate((ONE, TWO, THREE), 1):
            talk.asks(b"TOP %d 0" % number)
            assert talk.asks(b"RETR %d" % number) == content

        assert office.maildrops.reads == [3]

    def test_dots_are_stuffed(self, talk: Talk) -> None:
        """As in RETR."""
        assert talk.asks(b"TOP 2 3") == b"Subject: two\r\n\r\n.dot\r\n..dots\r\n.\r\n"

    @pytest.mark.parametrize(
        "line",
        [
            b"TOP",
            b"TOP 1",
            b"TOP 1 ",
            b"TOP 1 -1",
            b"TOP 1 x",
            b"TOP 0 1",
            b"TOP 1 1 1",
            b"TOP 1  1",
        ],
    )
    def test_other_arguments_are_refused(self, talk: Talk, line: bytes) -> None:
        """Stock Twisted hangs up at ``TOP 1``."""
        talk.says(line).hears(b"-ERR").hears_nothing().is_still_connected()


class TestDele:
    """DELE and RSET."""

    def test_a_second_time_is_an_error(self, talk: Talk) -> None:
        """RFC 1939 section 5; stock Twisted says +OK."""
        talk.says(b"DELE 1", b"DELE 1").hears(b"+OK", b"-ERR")

    def test_rset_takes_it_back(self, talk: Talk) -> None:
        """All messages are there again."""
        talk.says(b"DELE 1", b"DELE 3", b"STAT", b"RSET", b"STAT", b"RETR 3")
        talk.hears(b"+OK", b"+OK").hears_exactly(b"+OK 1 %d" % len(TWO))
        talk.hears(b"+OK").hears_exactly(b"+OK 3 %d" % len(ONE + TWO + THREE)).hears(b"+OK")

    def test_noop_does_nothing(self, talk: Talk) -> None:
        """+OK."""
        talk.says(b"NOOP").hears(b"+OK").hears_nothing()

    @pytest.mark.parametrize("verb", [b"DELE", b"RETR", b"LIST", b"UIDL"])
    @pytest.mark.parametrize(
        "number", [b"0", b"-1", b"+1", b"4", b"abc", b"1a", b"1.0", b"9" * 200, b"\xb9", b"0x1"]
    )
    def test_only_numbers_of_messages_are_taken(
        self, office: PostOffice, talk: Talk, verb: bytes, number: bytes
    ) -> None:
        """Stock Twisted deletes the last message at ``DELE 0`` and hangs up at ``DELE abc``."""
        talk.says(verb + b" " + number).hears(b"-ERR").hears_nothing().is_still_connected()
        talk.says(b"STAT", b"QUIT").hears(b"+OK 3 ", b"+OK")
        assert len(office.maildrops.mail_of(office.accounts.by_number[AccountId(1)])) == 3


class TestGrammar:
    """What is no command is refused, and nothing else happens; RFC 1939 section 3."""

    @pytest.mark.parametrize(
        "line",
        [
            b"",
            b" ",
            b" STAT",
            b"XYZZY",
            b"LAST",
            b"STAT 1",
            b"NOOP x",
            b"RSET 1",
            b"QUIT now",
            b"CAPA x",
            b"RETR",
            b"DELE",
            b"DELE ",
            b"LIST 1 2",
            b"LIST  1",
            b"DELE  1",
            b"STAT\0",
            b"\xff\xfe",
            b"ST\xc4T",
            b"STAT\t",
            b"\r",
            b"constructor",
            b"__class__",
        ],
    )
    def test_a_wrong_line_is_an_error_and_no_more(self, talk: Talk, line: bytes) -> None:
        """Stock Twisted hangs up at many of them."""
        talk.says(line, b"STAT").hears(b"-ERR", b"+OK 3 ").hears_nothing().is_still_connected()

    @pytest.mark.parametrize("line", [b"STAT ", b"NOOP  ", b"RETR 1 ", b"DELE 1  ", b"TOP 1 0 "])
    def test_spaces_at_the_end_are_forgiven(self, talk: Talk, line: bytes) -> None:
        """Some clients send them; stock Twisted hangs up at ``NOOP ``."""
        talk.says(line).hears(b"+OK")

    def test_a_bare_line_feed_ends_no_command(self, talk: Talk) -> None:
        """It is refused, and the line behind it is answered."""
        talk.sends(b"NOOP\nSTAT\r\n").hears(b"-ERR lines end in CRLF", b"+OK 3 ").hears_nothing()

    def test_a_line_may_have_255_octets(self, talk: Talk) -> None:
        """RFC 2449 section 4."""
        talk.says(b"NOOP" + b" " * 249).hears(b"+OK")
        talk.says(b"NOOP" + b" " * 250).hears(b"-ERR the line is too long")

    @pytest.mark.parametrize("length", [1_000, 16_385, 200_000])
    def test_a_long_line_is_refused_and_no_more(self, talk: Talk, length: int) -> None:
        """Stock Twisted hangs up without a word."""
        talk.says(b"x" * length, b"STAT").hears(b"-ERR the line is too long", b"+OK 3 ")
        talk.hears_nothing().is_still_connected()

    def test_a_line_without_an_end_fills_no_memory(self, talk: Talk) -> None:
        """However it comes."""
        for _ in range(300):
            talk.sends(b"x" * 1000)

        assert len(talk._protocol._dialogue._buffer) < 2000  # noqa: SLF001 - nobody else knows
        talk.says(b"", b"STAT").hears(b"-ERR the line is too long", b"+OK 3 ")

    def test_who_says_nothing_right_is_sent_away(self, talk: Talk) -> None:
        """Stock Twisted listens for ever."""
        with logs() as heard:
            for _ in range(19):
                talk.is_still_connected().says(b"XYZZY").hears(b"-ERR no such command")
            talk.says(b"XYZZY").hears(b"-ERR too many errors").is_hung_up_on()
        told = [formatEvent(one) for one in heard if one["log_level"] is LogLevel.info]
        assert "refused 127.0.0.1: too many errors" in told

    def test_a_right_command_wipes_the_slate(self, talk: Talk) -> None:
        """A client that asks for 100 deleted messages can still say QUIT."""
        for _ in range(50):
            talk.says(b"RETR 99", b"NOOP").hears(b"-ERR", b"+OK")
        talk.says(b"QUIT").hears(b"+OK")

    def test_our_bug_ends_no_session(self, office: PostOffice, talk: Talk) -> None:
        """It is logged, told, and the next command is answered."""
        office.maildrops.faults["read"] = RuntimeError("a bug")
        with logs() as heard:
            talk.says(b"RETR 1", b"RETR 1").hears(b"-ERR [SYS/TEMP]", b"+OK")
        assert len(faults(heard)) == 1
