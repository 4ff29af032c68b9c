"""RFC 2449: CAPA, the grammar of commands and replies, response codes; RFC 3206: their names."""

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mailsvc.auth.guard import HeldUp
from mailsvc.errors import StorageFailed, TooBusy
from mailsvc.model.account import Scope
from tests.support.pop3_talk import PASSWORD, PostOffice, Talk

# The grammar of section 3 and of section 9, without its CRLF.
_LEVEL = rb"[!-.0-\\^-~]+"
SINGLE_LINE = re.compile(rb"(\+OK|-ERR)( (\[%b(/%b)*\]( [ -~]*)?|[ -Z\\-~]*))?" % (_LEVEL, _LEVEL))
CAPABILITY = re.compile(rb"[!-\-/-~][!-~]*( [!-~]+)*")
LOGIN = (b"USER alice", b"PASS " + PASSWORD)


@pytest.fixture
def office() -> PostOffice:
    """Alice has one message."""
    office = PostOffice()
    office.add(b"alice", b"Subject: hello\r\n\r\nhello\r\n")
    return office


def capabilities(talk: Talk) -> list[bytes]:
    """Ask what the server can do."""
    return talk.says(b"CAPA").rest_of_list()


class TestSection3Grammar:
    """What a line may be."""

    @settings(max_examples=200)
    @given(
        st.sampled_from([(), (b"USER alice",), LOGIN]),
        st.sampled_from([b"USER", b"PASS", b"RETR", b"LIST", b"TOP", b"AUTH", b"LANG", b"STLS"])
        | st.binary(max_size=8),
        st.binary(max_size=300),
    )
    def test_every_reply_is_one_printable_line_of_512_octets_at_most(
        self,
        before: tuple[bytes, ...],
        verb: bytes,
        argument: bytes,
    ) -> None:
        """
        Whatever was said, and none of it comes back unchecked.

        A text that begins with ``[`` is a response code: we have said RESP-CODES.
        """
        office = PostOffice()
        office.add(b"alice")
        talk = office.connect().says(*before)
        told = len(talk.all_heard.splitlines())

        talk.sends((verb + b" " + argument).replace(b"\r\n", b"") + b"\r\n")

        first, *others = talk.all_heard.split(b"\r\n")[told:-1]
        for line in [first] if others and others[-1] == b"." else [first, *others]:
            assert len(line) + 2 <= 512
            assert SINGLE_LINE.fullmatch(line) or line == b"+ ", line

    @pytest.mark.parametrize("octets", [255, 256])
    def test_a_command_may_have_255_octets_with_its_crlf(
        self, office: PostOffice, octets: int
    ) -> None:
        """Of a longer line nothing is taken."""
        talk = office.connect().hears(b"+OK")

        talk.says(b"USER " + b"x" * (octets - len(b"USER \r\n")))

        talk.hears(b"+OK" if octets == 255 else b"-ERR the line is too long")

    @pytest.mark.parametrize("octets", [248, 1024, 1025])
    def test_a_password_may_be_as_long_as_it_was_allowed_to_be(
        self, office: PostOffice, octets: int
    ) -> None:
        """A server may take longer lines than it must."""
        talk = office.connect().hears(b"+OK").says(b"USER alice").hears(b"+OK")

        talk.says(b"PASS " + b"x" * octets)

        talk.hears(b"-ERR the line is too long" if octets > 1024 else b"-ERR [AUTH]")

    def test_every_text_is_of_lines_of_512_octets(self, office: PostOffice) -> None:
        """Those that we write ourselves: capabilities and listings."""
        talk = office.log_in()
        for command in (b"CAPA", b"LIST", b"UIDL"):
            assert all(len(line) + 2 <= 512 for line in talk.says(command).rest_of_list())


class TestSection5Capa:
    """The list of capabilities."""

    def test_it_is_a_text_of_one_capability_a_line(self, office: PostOffice) -> None:
        """A tag and its parameters, one space between two; each tag once."""
        for talk in (office.connect().hears(b"+OK"), office.log_in()):
            told = capabilities(talk)
            assert all(CAPABILITY.fullmatch(line) for line in told), told
            assert len({line.split()[0] for line in told}) == len(told)

    def test_it_may_be_asked_at_any_time(self, office: PostOffice) -> None:
        """Before and after the login, and it changes no state."""
        talk = office.connect().hears(b"+OK").says(b"USER alice").hears(b"+OK")
        assert b"USER" in capabilities(talk)
        talk.says(*LOGIN).hears(b"+OK", b"+OK").says(b"DELE 1").hears(b"+OK")
        assert b"UIDL" in capabilities(talk)
        talk.says(b"STAT").hears_exactly(b"+OK 0 0")

    def test_what_is_announced_for_later_is_told_before_the_login(self, office: PostOffice) -> None:
        """Section 5: a client need not ask again, but for what depends on the state."""
        talk = office.connect().hears(b"+OK")
        before = capabilities(talk)
        talk.says(*LOGIN).hears(b"+OK", b"+OK")

        assert {b"TOP", b"UIDL", b"RESP-CODES", b"PIPELINING"} <= set(before)
        assert set(capabilities(talk)) <= set(before)

    def test_what_is_announced_is_there(self, office: PostOffice) -> None:
        """TOP, UIDL, USER: none of them is ``-ERR no such command``."""
        talk = office.log_in()
        talk.says(b"UIDL 1", b"TOP 1 0").hears(b"+OK", b"+OK")


class TestSection6Pipelining:
    """Many commands in one segment, or each octet in one of its own."""

    SESSION = (*LOGIN, b"STAT", b"LIST 1", b"XYZZY", b"RETR 1", b"DELE 1", b"RETR 1", b"QUIT")

    def test_each_octet_may_come_alone(self, office: PostOffice) -> None:
        """The client hears what it hears when all come together."""
        together = office.connect().says(*self.SESSION).is_hung_up_on().all_heard
        again = PostOffice()
        again.add(b"alice", b"Subject: hello\r\n\r\nhello\r\n")
        alone = again.connect()
        for octet in b"".join(line + b"\r\n" for line in self.SESSION):
            alone.sends(bytes([octet]))

        assert alone.all_heard == together

    def test_an_error_does_not_flush_the_pipeline(self, office: PostOffice) -> None:
        """Each command has its own answer; section 6.6."""
        talk = office.connect().hears(b"+OK").says(*self.SESSION)
        talk.hears(b"+OK", b"+OK", b"+OK 1 25", b"+OK 1 25", b"-ERR")
        assert talk.hears_text() == b"Subject: hello\r\n\r\nhello\r\n"
        talk.hears(b"+OK", b"-ERR", b"+OK").is_hung_up_on()


class TestRfc3206:
    """What went wrong, for a program that reads it."""

    def login(self, office: PostOffice) -> Talk:
        """Log in, with the right password."""
        return office.connect().hears(b"+OK").says(*LOGIN).hears(b"+OK")

    def test_auth_is_about_the_credentials(self, office: PostOffice) -> None:
        """Section 5: the program asks its user for another password."""
        talk = office.connect().hears(b"+OK").says(b"USER alice", b"PASS wrong")
        talk.hears(b"+OK", b"-ERR [AUTH] ")

    def test_auth_is_about_what_the_account_may_do(self, office: PostOffice) -> None:
        """Section 5: policy counts too."""
        office.add(b"carol", scopes=(Scope.SMTP,))
        talk = office.connect().hears(b"+OK").says(b"USER carol", b"PASS " + PASSWORD)
        talk.hears(b"+OK", b"-ERR [AUTH] ")

    @pytest.mark.parametrize("fault", [StorageFailed(), TooBusy(), RuntimeError("a bug")])
    def test_sys_temp_passes(self, office: PostOffice, fault: Exception) -> None:
        """Section 4: the same password again, later; whatever had failed."""
        office.maildrops.faults["open"] = fault
        self.login(office).hears(b"-ERR [SYS/TEMP] ")
        self.login(office).hears(b"+OK")

    def test_a_guesser_is_told_nothing_of_the_password(self, office: PostOffice) -> None:
        """It is not looked at, so it is not wrong."""
        office.checker.fault = HeldUp()
        self.login(office).hears(b"-ERR [SYS/TEMP] ")

    @pytest.mark.parametrize("method", ["read", "read_chunk", "expunge"])
    def test_sys_temp_comes_after_the_login_too(self, method: str) -> None:
        """For RETR and QUIT; nothing is removed."""
        office = PostOffice(inline=0 if method == "read_chunk" else 100, chunk=10)
        account = office.add(b"alice", b"some mail\r\n")
        office.maildrops.faults[method] = StorageFailed()
        talk = office.log_in()
        if method == "expunge":
            talk.says(b"DELE 1").hears(b"+OK").says(b"QUIT").hears(b"-ERR [SYS/TEMP] ")
        else:
            talk.says(b"RETR 1").hears(b"-ERR [SYS/TEMP] ").says(b"QUIT").hears(b"+OK")
        assert len(office.maildrops.mail_of(account)) == 1

    def test_in_use_is_no_wrong_password(self, office: PostOffice) -> None:
        """RFC 2449 section 8.1.1."""
        office.log_in()
        self.login(office).hears(b"-ERR [IN-USE] ")
