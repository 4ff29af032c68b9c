"""
What stock ``twisted.mail.pop3`` does wrong, row by row, and where it is tested here.

The first column is the row of the table of measured defects. Stock Twisted fails each of
these tests; most of them stand with the command that they are about.
"""

from pathlib import Path

import pytest
from twisted.mail import pop3
from zope.interface.verify import verifyObject

from tests.support.pop3_talk import PASSWORD, PostOffice

ROWS = {
    "CAPA": ("authorization", "test_only_the_truth_is_told"),
    "APOP": ("authorization", "test_what_is_not_told_is_not_there"),
    "SASL": ("authorization", "test_what_is_not_told_is_not_there"),
    "USER/PASS: spaces": ("authorization", "test_a_password_may_have_spaces_at_any_place"),
    "USER/PASS: twice": ("authorization", "test_a_second_login_is_refused"),
    "USER/PASS: order": ("authorization", "test_commands_behind_the_password_wait"),
    "USER/PASS: lost line": ("authorization", "test_while_the_password_is_checked"),
    "Lock in use": ("authorization", "test_a_maildrop_in_use_is_told_so"),
    "DELE": ("transaction", "test_only_numbers_of_messages_are_taken"),
    "DELE: repeated": ("transaction", "test_a_second_time_is_an_error"),
    "Deleted in STAT": ("transaction", "test_deleted_messages_do_not_count"),
    "Deleted in LIST, UIDL": ("transaction", "test_deleted_messages_are_left_out"),
    "RETR of an empty message": ("transaction", "test_an_empty_message_is_a_message"),
    "RETR dot-stuffing": ("stock_defects", "test_mail_cannot_forge_replies"),
    "RETR dot-stuffing: edges": ("any_mail", "test_all_mail_comes_octet_for_octet"),
    "CRLF storage": ("transaction", "test_a_message_comes_octet_for_octet"),
    "TOP": ("stock_defects", "test_top_shows_lines_of_any_length"),
    "LAST, RPOP": ("authorization", "test_what_is_not_told_is_not_there"),
    "QUIT: outcome": ("update", "test_the_answer_waits_for_the_commit"),
    "QUIT: fault": ("update", "test_a_failed_removal_is_told"),
    "Bad arguments": ("transaction", "test_a_wrong_line_is_an_error_and_no_more"),
    "Pipelined error while busy": (
        "pipelining",
        "test_an_error_in_a_group_costs_the_others_nothing",
    ),
    "Blocked queue": ("pipelining", "test_who_asks_for_much_and_reads_nothing_waits"),
    "Bad command limit": ("transaction", "test_who_says_nothing_right_is_sent_away"),
    "Time-out: length": ("update", "test_an_autologout"),
    "Time-out: stalled reader": ("transaction", "test_a_reader_that_stops_is_cut_off"),
    "Long line": ("transaction", "test_a_long_line_is_refused_and_no_more"),
    "Nagle": ("authorization", "test_small_replies_leave_at_once"),
    "Listings without back-pressure": ("transaction", "test_the_writes_of_a_long_list_are_bounded"),
}


@pytest.mark.parametrize(("module", "test"), ROWS.values(), ids=ROWS)
def test_each_row_has_its_test(module: str, test: str) -> None:
    """The table tells the truth."""
    source = Path(__file__).with_name(f"test_pop3_{module}.py").read_text(encoding="utf-8")
    assert f"def {test}(" in source


def test_mail_cannot_forge_replies() -> None:
    """
    Stock Twisted stuffs dots piece by piece of 16 KiB.

    A line end at 16383 and a dot at 16384 end its RETR early; the next line of the mail is
    then taken for the answer to the client's next command.
    """
    content = b"x" * 16382 + b"\r\n" + b".\r\n+OK 0 0\r\n" + b"y\r\n" * 10
    office = PostOffice()
    office.add(b"alice", content)

    talk = office.log_in()

    assert talk.asks(b"RETR 1") == content
    talk.says(b"STAT").hears_exactly(b"+OK 1 %d" % len(content)).hears_nothing()


def test_top_shows_lines_of_any_length() -> None:
    """Stock Twisted ends TOP at a line of more than 16 KiB: 6 octets of 40,019 come."""
    content = b"\r\n" + b"z" * 40_000 + b"\r\nlast line"
    office = PostOffice()
    office.add(b"alice", content)

    assert office.log_in().asks(b"TOP 1 9") == content + b"\r\n"


def test_the_first_line_may_be_a_dot() -> None:
    """Stock Twisted does not stuff it, and the message is over before it began."""
    office = PostOffice()
    office.add(b"alice", b".\r\nmore\r\n")

    talk = office.log_in().says(b"RETR 1").hears(b"+OK 9")
    talk.hears_exactly(b"..", b"more", b".").hears_nothing()


def test_it_is_still_one_of_twisteds() -> None:
    """Code for Twisted's POP3 servers finds what it expects."""
    office = PostOffice()
    factory = office.factory

    assert verifyObject(pop3.IServerFactory, factory)
    assert isinstance(factory.buildProtocol(None), pop3.POP3)
    assert factory.cap_IMPLEMENTATION() == "mailsvc"
    assert factory.cap_EXPIRE() is None  # type: ignore[func-returns-value]  # None: never
    assert not factory.perUserExpiration()
    assert not factory.perUserLoginDelay()
    assert factory.cap_LOGIN_DELAY() == 0


def test_a_session_that_says_everything_at_once_is_released() -> None:
    """Stock Twisted has no lease; one that it had would be lost here."""
    office = PostOffice()
    account = office.add(b"alice", b"x\r\n")

    for _ in range(3):
        talk = office.connect().says(b"USER alice", b"PASS " + PASSWORD, b"USER alice")
        talk.loses_its_line()

    assert not office.maildrops.is_taken(account)
