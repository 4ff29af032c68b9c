"""A hard letter through clients that we did not write, octet for octet."""

import mailbox
from pathlib import Path
from poplib import POP3

import pytest

from tests.support.daemon import Daemon, installed, run
from tests.support.letters import ATTACHMENT, SUBJECT, check_letter, check_parts, letter

ALICE, BOB = "alice@test.com", "bob@test.com"
LETTER = letter(ALICE, BOB)


@pytest.fixture
def letter_file(tmp_path: Path) -> Path:
    """Put the letter into a file."""
    path = tmp_path / "letter.eml"
    path.write_bytes(LETTER)
    return path


def send_by_smtplib(daemon: Daemon) -> None:
    """Let Alice send the letter to Bob."""
    client = daemon.submission("alice")
    assert client.sendmail(ALICE, [BOB], LETTER) == {}
    client.quit()


def collect_by_poplib(daemon: Daemon) -> bytes:
    """Let Bob collect his only message and remove it."""
    client: POP3 = daemon.pop3("bob")
    assert client.stat()[0] == 1
    lines = client.retr(1)[1]
    client.dele(1)
    client.quit()
    return b"\r\n".join(lines) + b"\r\n"


def test_smtplib_sends_and_poplib_collects(daemon: Daemon) -> None:
    """Python's own clients carry a letter through the service without a change."""
    send_by_smtplib(daemon)

    check_letter(collect_by_poplib(daemon), LETTER)


def test_curl_sends_and_curl_collects(daemon: Daemon, letter_file: Path, tmp_path: Path) -> None:
    """Curl needs no option but addresses and password."""
    curl = installed("curl")
    collected = tmp_path / "collected.eml"
    send = [f"smtp://127.0.0.1:{daemon.ports['submission']}", "--mail-from", ALICE]
    send += ["--mail-rcpt", BOB, "--upload-file", str(letter_file)]
    collect = [f"pop3://127.0.0.1:{daemon.ports['pop3']}/1", "--output", str(collected)]

    for user, arguments in (("alice", send), ("bob", collect)):
        login = f"{user}@test.com:{daemon.passwords[user]}"
        ended = run([curl, "-sS", "--user", login, *arguments])
        assert (ended.status, ended.errors) == (0, "")

    check_letter(collected.read_bytes(), LETTER)


@pytest.mark.parametrize("mechanism", ["PLAIN", "LOGIN"])
def test_swaks_sends(daemon: Daemon, letter_file: Path, mechanism: str) -> None:
    """The tool that administrators test with logs in both ways and sends."""
    swaks = installed("swaks")
    letter_file.write_bytes(LETTER.removesuffix(b"\r\n"))  # it adds a line end of its own
    options = ["--server", f"127.0.0.1:{daemon.ports['submission']}", "--pipeline"]
    options += ["--auth", mechanism, "--auth-user", ALICE]
    options += ["--auth-password", daemon.passwords["alice"]]
    options += ["--from", ALICE, "--to", BOB, "--data", f"@{letter_file}"]

    ended = run([swaks, *options])

    assert ended.status == 0, ended.output + ended.errors
    check_letter(collect_by_poplib(daemon), LETTER)


def test_msmtp_sends(daemon: Daemon, letter_file: Path) -> None:
    """The usual stand-in for sendmail hands a letter over."""
    msmtp = installed("msmtp")
    options = ["--host=127.0.0.1", f"--port={daemon.ports['submission']}", "--tls=off"]
    options += ["--set-date-header=off", "--set-msgid-header=off", "--set-from-header=off"]
    options += ["--auth=plain", f"--user={ALICE}", f"--from={ALICE}", "--file=/dev/null"]
    options += [f"--passwordeval=echo {daemon.passwords['alice']}"]

    # It takes lines that end in LF, as sendmail does.
    text = letter_file.read_bytes().replace(b"\r\n", b"\n").decode()
    ended = run([msmtp, *options, BOB], given=text)

    assert (ended.status, ended.errors) == (0, "")
    check_letter(collect_by_poplib(daemon), LETTER)


def test_mutt_sends(daemon: Daemon, tmp_path: Path) -> None:
    """A mail program that people type into sends a Chinese subject and an attachment."""
    mutt = installed("mutt")
    attachment = tmp_path / "attachment.bin"
    attachment.write_bytes(ATTACHMENT)
    login = f"alice%40test.com:{daemon.passwords['alice']}"
    settings = tmp_path / "muttrc"
    settings.write_text(
        f'set smtp_url = "smtp://{login}@127.0.0.1:{daemon.ports["submission"]}"\n'
        f"set from = {ALICE}\nset copy = no\nset ssl_force_tls = no\nset ssl_starttls = no\n"
        "set smtp_authenticators = plain\nset charset = utf-8\nset config_charset = utf-8\n"
    )

    ended = run(
        [mutt, "-n", "-F", str(settings), "-s", SUBJECT, "-a", str(attachment), "--", BOB],
        given="Hello\n",
        environment={"LC_ALL": "C.UTF-8", "HOME": str(tmp_path)},
    )

    assert (ended.status, ended.errors) == (0, "")
    check_parts(collect_by_poplib(daemon))


def test_mpop_collects(daemon: Daemon, tmp_path: Path) -> None:
    """A collector with pipelining empties the maildrop into a Maildir."""
    mpop = installed("mpop")
    for _ in range(3):
        send_by_smtplib(daemon)
    folder = tmp_path / "Maildir"
    mailbox.Maildir(folder).close()
    config = tmp_path / "mpoprc"
    config.write_text(
        f"account default\nhost 127.0.0.1\nport {daemon.ports['pop3']}\nuser {BOB}\n"
        f"password {daemon.passwords['bob']}\nauth user\ntls off\nkeep off\n"
        f"received_header off\ndelivery maildir {folder}\nuidls_file {tmp_path}/uidls\n"
    )
    config.chmod(0o600)

    ended = run([mpop, "--file", str(config)])

    assert (ended.status, ended.errors) == (0, "")
    found = [path.read_bytes() for path in (folder / "new").iterdir()]
    assert len(found) == 3
    for octets in found:
        check_letter(octets.replace(b"\n", b"\r\n"), LETTER)
    client = daemon.pop3("bob")
    assert client.stat() == (0, 0)
    client.quit()
