"""Logins by SMTP; RFC 4954, RFC 4616, RFC 5802, RFC 6409."""

import base64

import pytest
from twisted.logger import formatEvent

from mailsvc.auth.sasl import LONGEST_RESPONSE
from mailsvc.config.settings import (
    Kind,
    LimitSettings,
    LoginSettings,
    Relay,
    SmtpSettings,
    WithoutTls,
)
from mailsvc.config.units import Rate
from mailsvc.errors import StorageFailed, TooBusy
from tests.support.pop3_talk import logs
from tests.support.scram_client import ScramClient
from tests.support.smtp_talk import PASSWORD, Talk

PLAIN = base64.b64encode(b"\0alice@test.com\0" + PASSWORD)
WRONG = base64.b64encode(b"\0alice@test.com\0wrong")
NAME = base64.b64encode(b"alice@test.com")
SECRET = base64.b64encode(PASSWORD)


def submission(login: LoginSettings | None = None, limits: LimitSettings | None = None) -> Talk:
    """Start a conversation on the submission port, past EHLO."""
    settings = SmtpSettings(tarpit=0)
    return Talk(Kind.SUBMISSION, login=login, limits=limits, settings=settings).greeted()


def challenge(talk: Talk) -> bytes:
    """Hear a challenge."""
    code, _, octets = talk.unheard().removesuffix(b"\r\n").partition(b" ")
    assert code == b"334"
    talk.skips()
    return base64.b64decode(octets, validate=True)


def test_ehlo_names_what_can_be_used_here() -> None:
    """Strongest first; without TLS there is nothing to bind a login to."""
    talk = Talk(Kind.SUBMISSION).says(b"EHLO client.example")

    assert b"\r\n250-AUTH SCRAM-SHA-256 PLAIN LOGIN\r\n" in talk.unheard()
    talk.skips().says(b"AUTH SCRAM-SHA-256-PLUS").hears(b"504 5.5.4")


@pytest.mark.parametrize("at_once", [True, False])
def test_scram_says_no_password(at_once: bool) -> None:  # noqa: FBT001 - a test's case
    """The server proves itself before the end: RFC 4954 section 4, RFC 5802 section 5."""
    talk, client = submission(), ScramClient("alice@test.com", PASSWORD)
    first = base64.b64encode(client.first)
    if at_once:
        talk.says(b"AUTH SCRAM-SHA-256 " + first)
    else:
        talk.says(b"auth scram-sha-256").hears(b"334 ").says(first)

    talk.says(base64.b64encode(client.final(challenge(talk))))

    assert challenge(talk) == client.server_final
    talk.says(b"").hears(b"235 2.7.0").says(b"MAIL FROM:<alice@test.com>").hears(b"250 2.1.0")
    assert talk.passwords.checked == []


@pytest.mark.parametrize("name", ["alice@test.com", "nobody@test.com"])
def test_a_wrong_proof_gets_the_reply_of_a_wrong_password(name: str) -> None:
    """And so does the proof of somebody who does not exist."""
    talk, client = submission(), ScramClient(name, b"wrong")
    talk.says(b"AUTH SCRAM-SHA-256 " + base64.b64encode(client.first))

    talk.says(base64.b64encode(client.final(challenge(talk))))

    assert talk.unheard() == b"535 5.7.8 User name or password is wrong\r\n"


@pytest.mark.parametrize("after", [0, 1, 2])
def test_a_star_cancels_scram(after: int) -> None:
    """At each step, also when the proof was right; then nobody is logged in."""
    talk, client = submission(), ScramClient("alice@test.com", PASSWORD)
    talk.says(b"AUTH SCRAM-SHA-256").hears(b"334 ")
    if after > 0:
        talk.says(base64.b64encode(client.first))
    if after > 1:
        talk.says(base64.b64encode(client.final(challenge(talk))))

    talk.skips().says(b"*").hears(b"501 5.7.0").says(b"MAIL FROM:<alice@test.com>")
    talk.hears(b"530 5.7.0")
    assert talk.left == []


@pytest.mark.parametrize(
    ("first", "reply"),
    [
        (b"=", b"501 5.5.2 That is no response of this way to log in"),
        (base64.b64encode(b"n,,m=x,n=alice,r=abc"), b"501 5.5.2 "),
        (base64.b64encode(b"p=tls-unique,,n=alice,r=abc"), b"535 5.7.8 The login is bound to"),
        (base64.b64encode(b"n,a=bob,n=alice,r=abc"), b"535 5.7.8 User name or password"),
    ],
)
def test_bad_first_messages_of_scram_are_answered(first: bytes, reply: bytes) -> None:
    """The session goes on."""
    talk = submission().says(b"AUTH SCRAM-SHA-256 " + first).hears(reply)

    talk.says(b"NOOP").hears(b"250 2.0.0")


def test_bad_last_messages_of_scram_are_answered() -> None:
    """The login is over then: the next line is a command."""
    talk, client = submission(), ScramClient("alice@test.com", PASSWORD)
    first = b"AUTH SCRAM-SHA-256 " + base64.b64encode(client.first)

    talk.says(first).hears(b"334 ").says(b"no base64!").hears(b"501 5.5.2 That is not base64")
    talk.says(first).hears(b"334 ").says(b"").hears(b"501 5.5.2").says(b"NOOP").hears(b"250 2.0.0")
    talk.says(first)
    talk.says(base64.b64encode(client.final(challenge(talk)))).hears(b"334 ")
    talk.says(b"bW9yZQ==").hears(b"501 5.5.2").says(b"NOOP").hears(b"250 2.0.0")


def test_a_response_may_be_long_but_not_endless() -> None:
    """RFC 4954 section 4: 12,288 octets with CRLF."""
    talk = submission().says(b"AUTH PLAIN").hears(b"334 ")
    talk.says(b"A" * (LONGEST_RESPONSE - 4)).hears(b"501 5.5.2")

    talk.says(b"AUTH PLAIN").hears(b"334 ").says(b"A" * LONGEST_RESPONSE).hears(b"500 5.5.6")
    talk.says(b"NOOP").hears(b"250 2.0.0")


@pytest.mark.parametrize("trouble", [TooBusy(), StorageFailed()])
def test_what_cannot_be_checked_now_is_put_off(trouble: Exception) -> None:
    """A mail program asks for no other password then; RFC 4954 section 6."""
    talk = submission()
    talk.passwords.trouble = trouble

    talk.says(b"AUTH PLAIN " + PLAIN).hears(b"454 4.7.0 ")
    talk.passwords.trouble = None
    talk.says(b"AUTH PLAIN " + PLAIN).hears(b"235 2.7.0")


def test_a_failed_login_is_told_with_the_address() -> None:
    """However the user wrote it: whoever looks for it in the log finds it."""
    with logs() as heard:
        submission().says(b"AUTH PLAIN " + base64.b64encode(b"\0alice\0wrong")).hears(b"535")

    [told] = [formatEvent(one) for one in heard]
    assert told.startswith("login as 'alice@test.com' from 127.0.0.1 failed")


def test_guessing_is_held_up() -> None:
    """``login.failures_per_client``: then not even the right password is looked at."""
    login = LoginSettings(most_failures=5, failures_per_client=Rate(3, 3600.0))
    talk = submission(login, LimitSettings(exempt=()))
    for _ in range(3):
        talk.says(b"AUTH PLAIN " + WRONG).hears(b"535 5.7.8")

    talk.says(b"AUTH PLAIN " + PLAIN)
    talk.hears(b"454 4.7.0 Too many failed logins; try again in 20 minutes")
    talk.says(b"AUTH PLAIN " + PLAIN).hears(b"421 4.7.0")
    assert PASSWORD not in talk.passwords.checked


def test_this_machine_is_not_held_up_as_a_client() -> None:
    """``limits.exempt``: a webmail server is many users."""
    talk = submission(LoginSettings(most_failures=9, failures_per_client=Rate(1, 3600.0)))
    for _ in range(3):
        talk.says(b"AUTH PLAIN " + WRONG).hears(b"535 5.7.8")

    talk.says(b"AUTH PLAIN " + PLAIN).hears(b"235 2.7.0")


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
    """A user learns that the server does not send there, where it does not."""
    talk = Talk(Kind.SUBMISSION).logged_in()
    talk.factory.house.relay = Relay.NOBODY
    talk.says(b"MAIL FROM:<alice@test.com>").skips()

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
