"""Logins to the real daemon: clients that we did not write, channel binding, guessing."""

import re
import sqlite3
import ssl
from base64 import b64decode, b64encode
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from poplib import POP3, error_proto
from smtplib import SMTP, SMTPServerDisconnected
from typing import Any

import pytest

from tests.support.daemon import Daemon, MakeDaemon, installed, run, wait_until
from tests.support.scram_client import ScramClient

ALICE, BOB = "alice@test.com", "bob@test.com"
TEXT = f"From: {ALICE}\nTo: {BOB}\nSubject: hello\n\nhello\n"


def connect(daemon: Daemon, ip: str = "127.0.0.1") -> SMTP:
    """Connect to the submission port from an address, past EHLO."""
    port = daemon.ports["submission"]
    client = SMTP("127.0.0.1", port, timeout=30, source_address=(ip, 0))
    client.ehlo("client.example")
    return client


def has_scram(daemon: Daemon, address: str) -> bool:
    """Tell whether a user has keys for SCRAM."""
    query = "select scram from credential join account on account.id = account_id where address = ?"
    with sqlite3.connect(daemon.database) as database:
        [(scram,)] = database.execute(query, [address])
    database.close()
    return scram is not None and scram.startswith("SCRAM-SHA-256$100000:")


def forget_scram(daemon: Daemon) -> None:
    """Make all accounts as old as those of a version without SCRAM."""
    with sqlite3.connect(daemon.database) as database:
        database.execute("update credential set scram = null")
    database.close()


def say(client: SMTP, line: str) -> tuple[int, bytes]:
    """Say a line; hear the code, and the challenge decoded."""
    code, text = client.docmd(line)
    return code, b64decode(text) if code == 334 else text


def try_scram(daemon: Daemon, password: str) -> int:
    """Log in as Alice on a connection of its own; gives the code of the last reply."""
    with connect(daemon) as client:
        return log_in_by_scram(client, "SCRAM-SHA-256", ScramClient(ALICE, password.encode()))[0]


def log_in_by_scram(client: SMTP, mechanism: str, scram: ScramClient) -> tuple[int, bytes]:
    """Log in; gives the last reply."""
    code, challenge = say(client, f"AUTH {mechanism} {b64encode(scram.first).decode()}")
    assert code == 334
    code, last = say(client, b64encode(scram.final(challenge)).decode())
    if code != 334:
        return code, last
    assert last == scram.server_final
    return say(client, "")


@pytest.mark.parametrize("how", ["plain", "login", "scram-sha-256"])
def test_msmtp_logs_in(daemon: Daemon, how: str) -> None:
    """With GNU SASL's idea of SCRAM."""
    msmtp = installed("msmtp")
    options = ["--host=127.0.0.1", f"--port={daemon.ports['submission']}", "--tls=off"]
    options += [f"--auth={how}", f"--user={ALICE}", f"--from={ALICE}", "--file=/dev/null"]
    options += [f"--passwordeval=echo {daemon.passwords['alice']}"]

    ended = run([msmtp, *options, BOB], given=TEXT)

    assert (ended.status, ended.errors) == (0, "")
    collector = daemon.pop3("bob")
    assert collector.stat()[0] == 1
    collector.quit()


@pytest.mark.parametrize("how", ["PLAIN", "LOGIN", "*"])
def test_curl_logs_in(daemon: Daemon, tmp_path: Path, how: str) -> None:
    """With what it is told to use, or what it likes best."""
    curl = installed("curl")
    letter = tmp_path / "letter.eml"
    letter.write_text(TEXT)
    options = [f"smtp://127.0.0.1:{daemon.ports['submission']}", "--mail-from", ALICE]
    options += ["--mail-rcpt", BOB, "--crlf", "--upload-file", str(letter)]
    options += ["--user", f"{ALICE}:{daemon.passwords['alice']}", "--login-options", f"AUTH={how}"]

    ended = run([curl, "-sS", *options])

    assert (ended.status, ended.errors) == (0, "")


def test_swaks_is_told_what_is_wrong(daemon: Daemon) -> None:
    """A wrong password, in words."""
    swaks = installed("swaks")
    options = ["--server", f"127.0.0.1:{daemon.ports['submission']}", "--to", BOB]
    options += ["--auth", "PLAIN", "--auth-user", ALICE, "--auth-password", "wrong"]

    ended = run([swaks, *options])

    assert "535 5.7.8 User name or password is wrong" in ended.output


def test_the_first_login_with_a_password_makes_keys_for_scram(daemon: Daemon) -> None:
    """Users of an older version need no new password; POP3 does it, too."""
    forget_scram(daemon)
    daemon.stop()
    daemon.start()
    password = daemon.passwords["alice"]
    assert try_scram(daemon, password) == 535

    daemon.submission("alice").quit()
    wait_until(lambda: has_scram(daemon, ALICE), "keys for Alice")
    assert try_scram(daemon, password) == 235

    # Not sooner: keys are made when the threads have nothing else to do.
    daemon.pop3("bob").quit()
    wait_until(lambda: has_scram(daemon, BOB), "keys for Bob")


def test_a_new_password_works_with_scram_at_once(daemon: Daemon) -> None:
    """And the old one does not."""
    done = daemon.mailctl("user", "passwd", "alice", "--password-stdin", given="brand new pass")
    assert done.status == 0

    assert try_scram(daemon, daemon.passwords["alice"]) == 535
    assert try_scram(daemon, "brand new pass") == 235


def test_a_login_is_bound_to_its_tls_connection(daemon: Daemon) -> None:
    """SCRAM-SHA-256-PLUS with the certificate that the client sees; RFC 5929 section 4."""
    client = connect(daemon)
    assert "SCRAM-SHA-256-PLUS" not in client.esmtp_features["auth"]
    trusting = ssl.create_default_context()
    trusting.check_hostname = False
    trusting.verify_mode = ssl.CERT_NONE
    client.starttls(context=trusting)
    client.ehlo("client.example")
    offered = client.esmtp_features["auth"].split()
    assert offered == ["SCRAM-SHA-256-PLUS", "SCRAM-SHA-256", "PLAIN", "LOGIN"]
    socket: Any = client.sock
    seen = sha256(socket.getpeercert(binary_form=True)).digest()
    password = daemon.passwords["alice"].encode()

    bound = ("p=tls-server-end-point,,", seen)
    for (header, binding), mechanism, code in (
        ((bound[0], sha256(b"his").digest()), "SCRAM-SHA-256-PLUS", 535),
        (bound, "SCRAM-SHA-256-PLUS", 235),
    ):
        scram = ScramClient(ALICE, password, header=header, bound=binding)
        assert log_in_by_scram(client, mechanism, scram)[0] == code
    client.quit()


def _guess_by_smtp(daemon: Daemon, password: str, ip: str = "127.0.0.1") -> str:
    # smtplib's own login tries one password in several ways.
    said = b64encode(f"\0{ALICE}\0{password}".encode()).decode()
    with connect(daemon, ip) as client:
        code, text = client.docmd(f"AUTH PLAIN {said}")
    return "in" if code == 235 else f"{code} {text.decode()}"


def _guess_by_pop3(daemon: Daemon, password: str) -> str:
    client = POP3("127.0.0.1", daemon.ports["pop3"], timeout=30)
    try:
        client.user(ALICE)
        client.pass_(password)
    except error_proto as error:
        return str(error)
    finally:
        client.close()
    return "in"


Guess = Callable[[Daemon, str], str]


@pytest.mark.parametrize(
    ("guess", "wrong", "held_up"),
    [
        (_guess_by_smtp, "535 5.7.8", "454 4.7.0 Too many failed logins"),
        (_guess_by_pop3, "[AUTH]", "[SYS/TEMP] Too many failed logins"),
    ],
)
def test_guessing_is_held_up(
    make_daemon: MakeDaemon, guess: Guess, wrong: str, held_up: str
) -> None:
    """After some failures not even the right password is looked at, by any front end."""
    settings = {"limits": {"exempt": []}, "login": {"failures_per_client": "5/1h"}}
    daemon = make_daemon(settings=settings).start()
    for number in range(5):
        assert wrong in guess(daemon, f"guess {number}")

    right = daemon.passwords["alice"]
    assert held_up in guess(daemon, right)
    assert "Too many failed logins" in _guess_by_smtp(daemon, right)
    assert "Too many failed logins" in _guess_by_pop3(daemon, right)
    daemon.stop()  # it writes the log out
    log = "".join(path.read_text() for path in (daemon.state / "log").iterdir())
    assert re.search(r"login.*alice@test\.com.*127\.0\.0\.1", log)
    assert "guess 1" not in log
    assert right not in log


def test_a_user_is_not_locked_out_by_guessers(make_daemon: MakeDaemon) -> None:
    """A network where the user has logged in has the account's limit for itself."""
    daemon = make_daemon(settings={"login": {"failures_per_account": "5/1h"}}).start()
    right, elsewhere = daemon.passwords["alice"], "127.0.0.2"
    assert _guess_by_smtp(daemon, right) == "in"
    for number in range(5):
        assert "535" in _guess_by_smtp(daemon, f"guess {number}", elsewhere)
    assert "454" in _guess_by_smtp(daemon, right, elsewhere)

    assert _guess_by_smtp(daemon, right) == "in"
    for number in range(5):
        assert "535" in _guess_by_smtp(daemon, f"guess {number}")
    assert "454" in _guess_by_smtp(daemon, right)


def test_three_wrong_passwords_end_the_connection(daemon: Daemon) -> None:
    """``login.most_failures``."""
    client = connect(daemon)
    wrong = b64encode(b"\0alice@test.com\0wrong").decode()
    codes = [client.docmd(f"AUTH PLAIN {wrong}")[0] for _ in range(3)]

    assert codes == [535, 535, 421]
    with pytest.raises(SMTPServerDisconnected):
        client.docmd("NOOP")
