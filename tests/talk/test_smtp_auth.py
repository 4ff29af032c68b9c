"""Logins by SMTP; RFC 4954, RFC 4616, RFC 6409."""

import base64

import pytest

from mailsvc.config.settings import Kind, LoginSettings, WithoutTls
from tests.support.smtp_talk import PASSWORD, Talk

PLAIN = base64.b64encode(b"\0alice@test.com\0" + PASSWORD)
WRONG = base64.b64encode(b"\0alice@test.com\0wrong")
NAME = base64.b64encode(b"alice@test.com")
SECRET = base64.b64encode(PASSWORD)


def submission(login: LoginSettings | None = None) -> Talk:
    """Start a conversation on the submission port, past EHLO."""
    return Talk(Kind.SUBMISSION, login=login).greeted()


def test_plain_with_its_first_response() -> None:
    """What most clients do; the Received field says ESMTPA then (RFC 3848)."""
    talk = submission().says(b"AUTH PLAIN " + PLAIN).hears(b"235 2.7.0")

    talk.says(b"MAIL FROM:<alice@test.com>", b"RCPT TO:<bob@test.com>", b"DATA", b"hi", b".")

    talk.hears(b"250 2.1.0", b"250 2.1.5", b"354 ", b"250 2.0.0")
    [(envelope, _)] = talk.intake.taken
    assert envelope.protocol == "ESMTPA"
    assert envelope.login == talk.directory.accounts["alice@test.com"]


def test_plain_after_a_challenge() -> None:
    """RFC 4954 section 4: an empty challenge, then the response on a line of its own."""
    submission().says(b"AUTH PLAIN").hears(b"334 ").says(PLAIN).hears(b"235 2.7.0")


def test_login_asks_for_name_and_password() -> None:
    """The old mechanism of Outlook."""
    talk = submission().says(b"AUTH LOGIN").hears(b"334 VXNlcm5hbWU6")
    talk.says(NAME).hears(b"334 UGFzc3dvcmQ6").says(SECRET).hears(b"235 2.7.0")


def test_login_takes_the_name_with_the_command() -> None:
    """Some clients send the name at once."""
    talk = submission().says(b"AUTH LOGIN " + NAME).hears(b"334 UGFzc3dvcmQ6")
    talk.says(SECRET).hears(b"235 2.7.0")


@pytest.mark.parametrize("start", [[b"AUTH PLAIN"], [b"AUTH LOGIN"], [b"AUTH LOGIN", NAME]])
def test_a_star_cancels(start: list[bytes]) -> None:
    """RFC 4954 section 4; the session goes on."""
    talk = submission()
    for line in start:
        talk.says(line).skips()

    talk.says(b"*").hears(b"501 5.7.0").says(b"NOOP").hears(b"250 2.0.0")


@pytest.mark.parametrize(
    ("line", "reply"),
    [
        (b"AUTH", b"501 5.5.4"),
        (b"AUTH PLAIN not~base64", b"501 5.5.2"),
        (b"AUTH PLAIN =", b"501 5.5.2"),
        (b"AUTH PLAIN " + base64.b64encode(b"one\0two"), b"501 5.5.2"),
        (b"AUTH PLAIN " + base64.b64encode(b"a\0b\0c\0d"), b"501 5.5.2"),
        (b"AUTH PLAIN " + PLAIN[:-1], b"501 5.5.2"),
        (b"AUTH PLAIN a b", b"501 5.5.4"),
        (b"AUTH CRAM-MD5", b"504 5.5.4"),
        (b"AUTH PLAIN " + base64.b64encode(b"bob@test.com\0alice@test.com\0" + PASSWORD), b"535 "),
    ],
)
def test_bad_responses_are_answered(line: bytes, reply: bytes) -> None:
    """Stock ESMTP drops the connection on most of them, and ignores a foreign authzid."""
    talk = submission().says(line).hears(reply)

    talk.says(b"NOOP").hears(b"250 2.0.0")


def test_wrong_passwords_end_the_session() -> None:
    """Three, and the client must connect anew; the text does not tell who exists."""
    nobody = base64.b64encode(b"\0nobody@test.com\0wrong")
    talk = submission(LoginSettings(most_failures=3))
    talk.says(b"AUTH PLAIN " + WRONG)
    first = talk.unheard()
    talk.skips().says(b"AUTH PLAIN " + nobody)

    assert talk.unheard() == first == b"535 5.7.8 User name or password is wrong\r\n"
    talk.skips().says(b"AUTH PLAIN " + WRONG).hears(b"421 4.7.0")
    assert talk.transport.closed


def test_a_second_login_is_refused() -> None:
    """RFC 4954 section 4."""
    talk = Talk(Kind.SUBMISSION).logged_in()

    talk.says(b"AUTH PLAIN " + PLAIN).hears(b"503 5.5.1")


def test_no_login_in_the_middle_of_a_message() -> None:
    """Stock ESMTP swaps the user between MAIL and RCPT."""
    talk = Talk(Kind.SUBMISSION).logged_in().says(b"MAIL FROM:<alice@test.com>").skips()

    talk.says(b"AUTH PLAIN " + PLAIN).hears(b"503 5.5.1")


def test_submission_wants_a_login() -> None:
    """RFC 6409 section 4.3."""
    submission().says(b"MAIL FROM:<alice@test.com>").hears(b"530 5.7.0")


def test_a_user_sends_under_the_own_address_only() -> None:
    """RFC 6409 section 6.1."""
    talk = Talk(Kind.SUBMISSION).logged_in()

    talk.says(b"MAIL FROM:<bob@test.com>").hears(b"550 5.7.1")
    talk.says(b"MAIL FROM:<Alice@Test.com>").hears(b"250 2.1.0")


def test_mail_for_other_domains_gets_a_clear_no() -> None:
    """A user learns that the server does not send there."""
    talk = Talk(Kind.SUBMISSION).logged_in().says(b"MAIL FROM:<alice@test.com>").skips()

    talk.says(b"RCPT TO:<x@other.example>").hears(b"550 5.7.1 This server delivers to its own")


def test_a_disabled_user_is_not_let_in() -> None:
    """The password is right, the account is off; told with a code of RFC 4954 section 6."""
    line = base64.b64encode(b"\0carol@test.com\0" + PASSWORD)

    submission().says(b"AUTH PLAIN " + line).hears(b"535 5.7.0")


def test_the_login_ends_with_the_session() -> None:
    """Stock ESMTP forgets to log out whom it has logged in first."""
    talk = Talk(Kind.SUBMISSION).logged_in().says(b"QUIT").hears(b"221 ")

    assert [str(account.address) for account in talk.left] == ["alice@test.com"]


def test_commands_behind_a_slow_login_wait_for_it() -> None:
    """Stock ESMTP runs them as nobody meanwhile."""
    talk = submission()
    talk.directory.held = []
    talk.says(b"AUTH PLAIN " + PLAIN, b"MAIL FROM:<alice@test.com>").hears()

    while talk.directory.held:
        talk.directory.held.pop(0).callback(None)

    talk.hears(b"235 2.7.0", b"250 2.1.0")


@pytest.mark.parametrize(
    ("rule", "ip", "reply"),
    [
        (WithoutTls.NEVER, "127.0.0.1", b"538 "),
        (WithoutTls.LOOPBACK, "127.0.0.1", b"235 "),
        (WithoutTls.LOOPBACK, "::1", b"235 "),
        (WithoutTls.LOOPBACK, "192.0.2.7", b"538 "),
        (WithoutTls.ALWAYS, "192.0.2.7", b"235 "),
    ],
)
def test_who_may_log_in_without_tls(rule: WithoutTls, ip: str, reply: bytes) -> None:
    """``login.without_tls`` in config.yaml."""
    talk = Talk(Kind.SUBMISSION, login=LoginSettings(without_tls=rule), ip=ip).greeted()

    talk.says(b"AUTH PLAIN " + PLAIN).hears(reply)
